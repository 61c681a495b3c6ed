"""A fleet goes to another broker in the middle of its work, and the move is killed on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.outstanding import Outstanding

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = [pytest.mark.activemq, pytest.mark.timeout(300)]


def test_all_runs_once_at_the_new_broker(
    activemq: Broker, embedded: Broker, tmp_path: Path
) -> None:
    """Killed over a pool's request and over a reply, and run again: nothing is lost or runs twice."""
    story = Outstanding(tmp_path, activemq, count=8)
    try:
        story.ask()
        words = ["--from", activemq.url, "--to", embedded.url]
        for phase, number in (("sent", 3), ("confirmed", 3), ("confirmed", 14)):
            story.die(phase, number, *words, listing="")
        code, rows, said = story.move(*words, listing="")
        assert code == 0, said
        assert rows
        assert story.move(*words, listing="")[:2] == (0, {})
        story.go_over([embedded.url])
        story.check(doubted=2)
    finally:
        story.fleet.stop()
