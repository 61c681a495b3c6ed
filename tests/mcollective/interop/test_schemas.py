"""A mixed fleet whose nodes have agents of one name and two schemas: each is asked by its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import InputError, UsageError
from mcshell.message import State
from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import Pair
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Row
    from tests.mcollective.interop.network import Network
    from tests.peers.fleet import Fleet

pytestmark = [pytest.mark.timeout(300)]
NAMED_OTHERWISE = Path(__file__).with_name("named_otherwise")
THEIRS, OURS = "node0001", "ours0001"


@pytest.fixture(scope="module")
def network(networks: Callable[..., Network]) -> Network:
    """A real node with agents package and service, whose inputs are called as the agents are."""
    return networks("activemq", Pair(), 1, plugins=[NAMED_OTHERWISE])


@pytest.fixture(scope="module")
def fleet(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A node of ours with the agents that ship; before the right DDLs lies one of another version."""
    folder = tmp_path_factory.mktemp("schemas")
    with fleet_beside(network.broker, folder, network, 1) as fleet:
        earlier = folder / "earlier" / "mcollective" / "agent"
        earlier.mkdir(parents=True)
        text = (NAMED_OTHERWISE / "mcollective" / "agent" / "package.ddl").read_text()
        earlier.joinpath("package.ddl").write_text(
            text.replace("4.9.0", "1.1.0").replace("input :package", "input :pkg")
        )
        config = fleet.config.read_text()
        fleet.config.write_text(config.replace('libdir = ["', f'libdir = ["{folder}/earlier", "'))
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def client(fleet: Fleet) -> Iterator[Client]:
    """Its operator, who has learnt which versions there are."""
    with fleet.client() as client:

        def told() -> bool:
            client.discover()
            found = client.known.schemas(client.settings.collective.main, "package")
            return {name: version for name, (_trust, version) in found.items()} == {
                THEIRS: "4.9.0",
                OURS: client.ddls.get("package").version,
            }

        assert wait_until(told, 60)
        yield client


def asked(client: Client, agent: str, action: str, **inputs: object) -> dict[str, Row]:
    """The rows of a call, by sender."""
    rows = {row.sender: row for row in client.rpc(agent, action, **inputs).rows()}
    assert rows.keys() == {THEIRS, OURS}
    return rows


def test_both_are_asked_each_by_its_own_schema(client: Client) -> None:
    """Inputs of which each is one kind's name for the same reach both, each with its own."""
    rows = asked(client, "package", "status", name="bash", package="bash")
    assert (rows[THEIRS].state, rows[OURS].state) == (State.OK, State.OK)
    assert rows[THEIRS].trust == "psk"
    assert rows[THEIRS].data["took"] == ["package"]
    assert rows[THEIRS].data["ensure"] == "bash-1.0"
    assert rows[OURS].data["installed"] is True
    rows = asked(client, "service", "status", name="nothing.service", service="nothing")
    assert rows[THEIRS].data["status"] == "nothing runs"
    assert rows[OURS].statuscode in (
        0,
        1,
    )  # its agent was asked, whether the machine has units or not


def test_inputs_of_one_kind_go_to_that_kind(client: Client) -> None:
    """The others are rows that say which input they do not have, and in which version."""
    rows = asked(client, "package", "status", name="bash")
    assert (rows[OURS].state, rows[THEIRS].state) == (State.OK, State.SILENT)
    assert "not sent: package.status has no input 'name'" in rows[THEIRS].statusmsg
    assert "4.9.0" in rows[THEIRS].statusmsg
    rows = asked(client, "package", "status", package="bash")
    assert (rows[OURS].state, rows[THEIRS].state) == (State.SILENT, State.OK)
    assert "has no input 'package'" in rows[OURS].statusmsg
    rows = asked(client, "package", "count")
    assert (rows[THEIRS].data["output"], rows[OURS].state) == (17, State.SILENT)
    assert "has no action 'count'" in rows[OURS].statusmsg


def test_an_input_that_would_be_missed_is_not_left_out(client: Client) -> None:
    """What changes the meaning goes only to those that know it."""
    rows = asked(client, "package", "update", name="bash", package="bash", held=True)
    assert (rows[OURS].state, rows[THEIRS].state) == (State.SILENT, State.OK)
    assert rows[THEIRS].data["took"] == ["held", "package"]


def test_what_fits_nobody_is_refused_before_anything_is_sent(client: Client) -> None:
    """A slip in a name, a value that no schema takes, an input of a version that nobody has."""
    before = len(client.requests())
    with pytest.raises(InputError, match="has no input 'nmae'"):
        client.rpc("package", "status", nmae="bash")
    with pytest.raises(InputError, match=r"input (package|name)"):
        client.rpc("package", "status", package="a;b", name="a;b")
    with pytest.raises(InputError, match="has no input 'pkg'"):
        client.rpc("package", "status", pkg="bash")
    with pytest.raises(InputError, match="has no input 'name'"):
        client.rpc("package", "status", name="bash", identities=[THEIRS])
    with pytest.raises(UsageError, match="via=queue asks all alike"):
        client.rpc("package", "status", name="bash", package="bash", via="queue")
    assert len(client.requests()) == before


def test_batches_and_failures_count_those_that_are_asked(client: Client) -> None:
    """Who is not asked is no canary and no failure."""
    rows = asked(client, "package", "status", name="bash", canary=1, max_failures=1)
    assert (rows[OURS].state, rows[THEIRS].state) == (State.OK, State.SILENT)


def test_a_line_names_hosts_that_nobody_knows(fleet: Fleet) -> None:
    """From a state that knows nothing, hosts named by hand are located first, and asked by their own."""
    words = ["rpc", "package", "status", "package=bash", "name=bash", "-I", THEIRS, "-I", OURS]
    done = fleet.cli(*words, "-j", MCSHELL_STATE=str(fleet.folder / "fresh"))
    assert done.returncode in (0, 5), done.stderr
    replies = {one["sender"]: one for one in json.loads(done.stdout)["replies"]}
    assert {name: one["state"] for name, one in replies.items()} == {OURS: "ok", THEIRS: "ok"}
    kept = fleet.cli("replies", "-j", MCSHELL_STATE=str(fleet.folder / "fresh"))
    assert json.loads(kept.stdout)["replies"] == json.loads(done.stdout)["replies"]


def test_the_row_keeps_its_reason(fleet: Fleet, client: Client) -> None:
    """`explain`, the ledger and the exit code say that it was not sent, and why."""
    done = fleet.cli("rpc", "package", "status", "name=bash", "-y")
    assert done.returncode == 5
    assert "has no input 'name'" in done.stdout + done.stderr
    assert f"not sent to {THEIRS}" in done.stdout + done.stderr
    replies = client.rpc("package", "status", name="bash")
    (entry,) = (one for one in replies.entries() if one.sender == THEIRS)
    assert (entry.sent, entry.state) == (None, State.SILENT)
    causes = client.causes(THEIRS, replies.requestid)
    assert any("has no input 'name'" in f"{one.cause} {one.evidence}" for one in causes)


def test_agents_and_doc_show_both(fleet: Fleet) -> None:
    """`agents` has a row for each schema, `doc` the inputs of each."""
    rows = json.loads(fleet.cli("agents", "-j").stdout)
    versions = [row["version"] for row in rows if row["agent"] == "package"]
    assert versions[1:] == ["1.1.0", "4.9.0"]
    rows = json.loads(fleet.cli("doc", "package.status", "-j").stdout)
    names = [row["name"] for row in rows if row["kind"] == "input"]
    assert names == ["name", "pkg", "package"]
