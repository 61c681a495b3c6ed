"""A reply that the broker does not take: RabbitMQ, with a limit of its own below `max_reply`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.message import State, Via
from tests.peers.brokers import RabbitMQ
from tests.peers.workbench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.timeout(300), pytest.mark.rabbitmq]
LIMIT = 200_000


class LimitedRabbitMQ(RabbitMQ):
    """One that takes only small messages."""

    def configure(self) -> None:
        """Write its files, with a line more."""
        super().configure()
        with (self.directory / "rabbitmq.conf").open("a") as conf:
            conf.write(f"max_message_size = {LIMIT}\n")


@pytest.fixture
def limited(tmp_path: Path, pki_dir: Path) -> Iterator[LimitedRabbitMQ]:
    """Such a broker, running."""
    broker = LimitedRabbitMQ(tmp_path / "broker", pki_dir)
    yield broker
    broker.stop()


def test_a_reply_too_large_for_the_broker_is_failed_and_says_so(
    limited: LimitedRabbitMQ, tmp_path: Path
) -> None:
    """Queued or interactive: a last word instead of none, and those beside it arrive whole."""
    with Bench(limited, tmp_path) as bench:
        bench.start()
        for via in (Via.QUEUE, Via.DIRECT):
            small = bench.ask("talk", {"bytes": LIMIT // 2}, via=via, ttl=120)
            if via is Via.DIRECT:  # one under way may be lost with the connection
                bench.final(small, 90)
            large = bench.ask("talk", {"bytes": LIMIT + 1000}, via=via, ttl=120)
            after = bench.ask("talk", {"bytes": LIMIT - 50_000}, via=via, ttl=120)
            reply = bench.final(large, 90)
            assert (reply.state, reply.statuscode) == (State.FAILED, 5), via
            assert "reply too large for the broker" in reply.statusmsg
            assert reply.statusmsg.endswith("it came out as ok")
            assert bench.final(small, 90).state is State.OK, via
            if via is Via.QUEUE:
                assert bench.final(after, 90).state is State.OK
