"""Our client on a real MCollective network, beside the real `mco` in the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import NoTargets
from tests.mcollective.interop.calls import CALLS, Call, normal
from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.client.client import Client
    from tests.mcollective.interop.network import Answer, Network
    from tests.peers.fleet import Fleet

pytestmark = [pytest.mark.timeout(300)]
COUNT = 5


@pytest.fixture(scope="module")
def network(networks: Callable[..., Network]) -> Network:
    """Five real nodes on ActiveMQ under psk."""
    return networks("activemq", Pair(), COUNT)


@pytest.fixture(scope="module")
def operator(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An operator of ours, with no nodes of our own."""
    folder = tmp_path_factory.mktemp("operator")
    with fleet_beside(network.broker, folder, network, 0) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def client(operator: Fleet) -> Iterator[Client]:
    """The operator's connection."""
    with operator.client() as client:
        yield client


@pytest.fixture(scope="module")
def theirs(network: Network) -> dict[Call, Answer]:
    """What the real `mco -j` says to every call."""
    lines = [(*call.words("node"), "-j", "--dt", "1") for call in CALLS]
    return dict(zip(map(str, CALLS), network.many(lines), strict=True))


def rows_of(answer: Answer) -> dict[str, tuple[int, str, Any]]:
    """Sender → code, message and data, as `mco -j` gives them."""
    if not answer.out.strip():
        return {}
    return {
        row["sender"]: (row["statuscode"], row["statusmsg"], normal(row["data"]))
        for row in answer.json()
    }


def asked(client: Client, call: Call, trust: str = "psk") -> dict[str, tuple[int | None, str, Any]]:
    """The same of ours; nobody where nobody matches."""
    try:
        replies = call.ask(client, "node")
    except NoTargets:
        return {}
    rows = replies.rows()
    assert {row.trust for row in rows} <= {trust}
    return {row.sender: (row.statuscode, row.statusmsg, normal(dict(row.data))) for row in rows}


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_same_as_mco(call: Call, client: Client, theirs: dict[str, Answer]) -> None:
    """Our client gets from real nodes what the real client gets: senders, codes and data."""
    assert asked(client, call) == rows_of(theirs[str(call)])


def test_the_table_is_no_empty_one(theirs: dict[str, Answer]) -> None:
    """The real client did get answers to all but the two calls that nobody matches."""
    silent = [name for name, answer in theirs.items() if not rows_of(answer)]
    assert len(silent) == 2
    assert len(theirs) >= 40
