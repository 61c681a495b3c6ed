"""Each security plugin, serializer and connector: six calls, and a mixed fleet in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mcollective.interop.calls import SIX
from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import Pair
from tests.mcollective.interop.test_client import asked, rows_of
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from tests.mcollective.interop.network import Network

pytestmark = [pytest.mark.timeout(300)]
COUNT = 3
DISCOVERY = "2"
"""Seconds that the real client waits for who is there, on a machine with much to do."""
PAIRS = [
    Pair("ssl", "marshal"),
    Pair("ssl", "yaml"),
    Pair("aes", "marshal"),
    Pair("aes", "yaml"),
]


def on_each(
    some: Iterable[tuple[str, Pair]], often: Collection[tuple[str, Pair]] = ()
) -> pytest.MarkDecorator:
    """A test for each broker and pair, with the broker's mark; those that are not `often` are soak, if any is."""
    return pytest.mark.parametrize(
        ("kind", "pair"),
        [
            pytest.param(
                kind,
                pair,
                marks=[
                    getattr(pytest.mark, kind),
                    *([pytest.mark.soak] if often and (kind, pair) not in often else []),
                ],
                id=f"{kind}-{pair}",
            )
            for kind, pair in some
        ],
    )


ALL = [("activemq", pair) for pair in PAIRS] + [("rabbitmq", pair) for pair in (Pair(), *PAIRS)]
OFTEN = [*((kind, pair) for kind, pair in ALL if kind == "activemq"), ("rabbitmq", Pair())]


@on_each(ALL, OFTEN)
def test_six_calls(
    kind: str,
    pair: Pair,
    networks: Callable[..., Network],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Six calls of our client and six of the real one get the same; so do ours of our own nodes."""
    network = networks(kind, pair, COUNT)
    try:
        six_calls(network, pair, tmp_path_factory.mktemp("beside"))
    finally:
        network.stop()  # the next one's nodes have the same names


def six_calls(network: Network, pair: Pair, folder: Path) -> None:
    """As the real client has them; all are asked at once, and mco waits its whole time for who is there."""
    everybody = {"node0001", "node0002", "node0003", "ours0001"}
    with fleet_beside(network.broker, folder, network, 1) as fleet:
        lines = [(*call.words("node"), "-j", "--dt", DISCOVERY) for call in SIX]
        theirs = network.many(lines)
        with fleet.client() as client:
            for call, answer in zip(SIX, theirs, strict=True):
                assert rows_of(answer), (call, answer.err)
                assert asked(client, call, pair.security) == rows_of(answer), call
            fleet.start()
            rows = client.rpc("rpcutil", "ping", nodes=["ours0001", "node0001"]).rows()
            assert {row.sender: row.trust for row in rows} == {
                "ours0001": "mcs",
                "node0001": pair.security,
            }
        ping = ("rpc", "rpcutil", "ping", "-j", "--dt", DISCOVERY)
        assert wait_until(lambda: set(rows_of(network.mco(*ping))) == everybody, 60)
