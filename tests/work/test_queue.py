"""via=queue on real daemons: what a node does with work that comes over its queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.peers.workbench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker


@pytest.fixture
def bench(embedded: Broker, tmp_path: Path) -> Iterator[Bench]:
    """A bench without nodes on the embedded broker."""
    with Bench(embedded, tmp_path) as one:
        yield one


def test_queued_request_runs_in_a_process_of_its_own(bench: Bench, tmp_path: Path) -> None:
    """A queued request is received, runs in a shim and is answered, in this order."""
    daemon = bench.start()
    mark = tmp_path / "marks"
    request = bench.ask("once", {"file": str(mark), "text": "hello"})
    reply = bench.final(request)
    assert reply.state is State.OK
    assert reply.data["text"] == "hello"
    assert reply.data["pid"] != daemon.pid
    assert bench.states(request) == ["received", "running", "ok"]
    assert mark.read_text() == f"{request} hello\n"
