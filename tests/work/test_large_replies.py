"""A reply that the broker does not take: RabbitMQ, with a limit of its own below `max_reply`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.message import State, Via
from tests.peers.workbench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = [pytest.mark.timeout(300), pytest.mark.rabbitmq]
LIMIT = 200_000


def test_a_reply_too_large_for_the_broker_is_failed_and_says_so(
    fresh_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """Queued or interactive: a last word instead of none, and those beside it arrive whole."""
    broker = fresh_broker("rabbitmq")
    conf = broker.directory / "rabbitmq.conf"
    conf.write_text(f"{conf.read_text()}max_message_size = {LIMIT}\n")
    broker.restart()
    with Bench(broker, tmp_path) as bench:
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
