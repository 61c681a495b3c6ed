"""Our client on a real MCollective network, beside the real `mco` in the same run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import InputError, NoTargets, UsageError
from mcshell.message import State
from tests.mcollective.interop.calls import CALLS, Call, normal
from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import Pair
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.mcollective.interop.network import Answer, Network
    from tests.peers.fleet import Fleet

pytestmark = [pytest.mark.timeout(300)]
COUNT = 5
NAMES = {f"node{number:04d}" for number in range(1, COUNT + 1)}


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


def test_bytes(client: Client) -> None:
    """Bytes that are no text, over which the real client fails, come as they are."""
    rows = client.rpc("rig", "blob", bytes=1000, text=False).rows()
    assert {row.sender for row in rows} == NAMES
    assert {row.data["blob"] for row in rows} == {(bytes(range(256)) * 4)[:1000]}


def test_an_answer_with_objects_is_a_row_that_says_so(client: Client) -> None:
    """What Ruby alone can hold is not read: the node is no silent one, and its row says why."""
    asked = client.rpc("rig", "values", kind="objects", identities=["node0001", "node0002"])
    for replies in (asked, client.replies(asked.requestid)):
        assert [row.state for row in replies.rows()] == [State.FAILED] * 2
        assert {row.trust for row in replies.rows()} == {"psk"}
        for row in replies.rows():
            assert "its answer cannot be read here: an object" in row.statusmsg


def test_odd_inputs_are_refused_before_they_are_sent(client: Client) -> None:
    """What the agent's .ddl does not allow is refused here, with the DDL's words."""
    with pytest.raises(InputError, match="color"):
        client.rpc("rig", "echo", color="pink")
    with pytest.raises(UsageError, match="no action"):
        client.rpc("rig", "nothing")


def test_batches_stop_after_failures(client: Client) -> None:
    """--max-failures stops the batches on the old wire, too."""
    replies = client.rpc("rig", "work", code=1, batch=2, max_failures=1)
    stats = replies.stats
    assert (stats["failed"], stats["pending"]) == (2, 3)


def test_a_session_keeps_their_replies(operator: Fleet) -> None:
    """What nodes of MCollective's have said is read again by another process, numbers and all."""
    with operator.client(session="kept") as client:
        asked = client.rpc("rig", "values", kind="integers", identities=["node0001"])
        blob = client.rpc("rig", "blob", bytes=300, text=False, identities=["node0001"])
        ids = asked.requestid, blob.requestid
    with operator.client(session="kept") as client:
        (row,) = client.replies(ids[0]).rows()
        assert row.data["values"][-2:] == [-(2**80), 10**40]
        assert row.trust == "psk"
        (row,) = client.replies(ids[1]).rows()
        assert row.data["blob"] == (bytes(range(256)) * 2)[:300]
        (entry,) = client.replies(ids[0]).entries()
        assert entry.sent is not None
        assert entry.done is not None
    done = operator.cli("replies", ids[0], "--session", "kept", "-j")
    (reply,) = json.loads(done.stdout)["replies"]
    assert reply["trust"] == "psk"
    assert reply["data"]["values"][-1] == 10**40


def test_large_replies_stay_in_the_file(client: Client) -> None:
    """A reply of a megabyte is kept, and read when it is looked at."""
    rows = client.rpc("rig", "blob", bytes=1_000_000, identities=["node0002"]).rows()
    assert [len(row.data["blob"]) for row in rows] == [500_000]


def test_an_import_takes_no_words_that_nobody_can_verify(operator: Fleet, tmp_path: Path) -> None:
    """Replies of the old wire are refused by `session import`, and counted."""
    with operator.client(session="carried") as client:
        client.rpc("rpcutil", "ping", identities=["node0001"])
    copy = tmp_path / "carried.sqlite"
    assert operator.cli("session", "export", "carried", str(copy)).returncode == 0
    elsewhere = {"MCSHELL_STATE": str(tmp_path / "elsewhere")}
    done = operator.cli("session", "import", str(copy), "--session", "other", **elsewhere)
    assert done.returncode == 2
    assert "unsigned" in done.stdout + done.stderr


def test_a_node_that_matches_no_more_is_no_row(client: Client, network: Network) -> None:
    """Who lives and has other facts than it once told is no silent target; it is asked anew."""
    assert set(asked(client, Call("rpcutil", "ping", facts=("dc=ams",)))) == {
        "node0001",
        "node0004",
    }
    assert wait_until(lambda: not client.known.undescribed(main_of(client), 0.0), 60)
    path = network.folder / "node0004.facts.yaml"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "dc": "moved"}))
    try:
        rows = client.rpc("rpcutil", "ping", facts=["dc=ams"]).rows()
        assert [row.sender for row in rows] == ["node0001"]

        def told() -> bool:
            node = client.known.node(*described(client, "node0004"))
            return node is not None and node.facts["dc"] == "moved"

        assert wait_until(told, 60)
    finally:
        path.write_text(before)


def test_a_dead_node_is_a_row(client: Client, network: Network) -> None:
    """A node of MCollective's that has gone away is silent in the table, and explained."""
    assert wait_until(lambda: client.known.node(*described(client, "node0005")) is not None, 60)
    assert wait_until(lambda: not client.known.undescribed(main_of(client), 0.0), 60)
    network.stop_node("node0005")
    rows = {row.sender: row for row in client.rpc("rpcutil", "ping", facts=["city=Zürich"]).rows()}
    assert rows["node0005"].state is State.SILENT
    assert {row.state for name, row in rows.items() if name != "node0005"} == {State.OK}
    assert "no answer to a probe" in rows["node0005"].statusmsg
    causes = client.causes("node0005")
    assert causes


def main_of(client: Client) -> str:
    """The client's own collective."""
    return client.settings.collective.main


def described(client: Client, name: str) -> tuple[str, str]:
    """What `known.node` takes."""
    return main_of(client), name
