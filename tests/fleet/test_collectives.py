"""Several collectives: an operator asks in each of which she is a member, and hears what comes back."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.client.session.transfer import export_session, import_session
from mcshell.errors import ConversationError, UsageError
from mcshell.wire.credentials import load_verifier
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)
AGENTS = Path(__file__).parents[1] / "agents_for_tests"
ALL = ("both1", "eu1")


@pytest.fixture(scope="module")
def eu() -> str:
    """The other collective."""
    return f"eu{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory, eu: str) -> Iterator[Fleet]:
    """A node of both collectives, one of the other alone, one of the main one alone; bob is of that, too."""
    folder = tmp_path_factory.mktemp(f"collectives-{broker.kind}")
    who = ("alice", "carol", "bob")
    names = dict.fromkeys(("both1", "eu1", "main1"), Node())
    allow = "".join(f"allow\tcert={name}\t*\t*\t*\n" for name in who)
    policies = {"default": f"policy default deny\n{allow}"}
    own = f'agents = ["{AGENTS}"]\n'
    with Fleet(
        broker, folder, names, policies=policies, operators=who, member=[eu], more=own
    ) as one:
        (folder / "policies" / "echo.approvals").write_text("*\tsay\t1\tcert=carol\n")
        of_main, of_eu = f'main = "{one.collective}"', f'main = "{eu}"'
        for name, old, new in (
            ("main1", f'member = ["{eu}"]', ""),
            ("bob", f'member = ["{eu}"]', ""),
            ("eu1", of_main, of_eu),
        ):
            path = folder / f"{name}.toml"
            path.write_text(path.read_text().replace(old, new))
        for name in who:
            with (folder / f"{name}.toml").open("a") as file:
                file.write(f"[node]\n{own}")
        one.start()
        yield one


@pytest.fixture
def alice(fleet: Fleet) -> Iterator[Client]:
    """An operator of both."""
    with fleet.client() as client:
        yield client


def asked_until_found(client: Client, names: set[str], **where: str) -> None:
    """Ask who is there until these have answered in time, as they may not on a busy machine; and no other."""

    def found() -> set[str]:
        answered = set(client.discover(fresh=True, **where).sender)
        assert answered <= names
        return answered

    assert wait_until(lambda: found() == names, 60)


@pytest.mark.parametrize("via", ["broadcast", "direct", "queue"])
def test_each_way_to_ask(alice: Client, eu: str, via: str) -> None:
    """Those of the collective that is asked answer, and are heard."""
    asked_until_found(alice, set(ALL), collective=eu)
    whom = {} if via == "broadcast" else {"nodes": ALL}
    replies = alice.rpc("rpcutil", "ping", via=via, timeout=60, collective=eu, **whom)
    assert [(row.sender, row.state) for row in replies.rows()] == [(one, "ok") for one in ALL]
    asked_until_found(alice, {"both1", "main1"})
    assert not alice.junk


def test_a_conversation(alice: Client, eu: str) -> None:
    """Its turns come back from there; here the node says no."""
    with pytest.raises(ConversationError, match=r"converse\.policy") as denied:
        alice.open("eu1", "echo", collective=eu, timeout=60)
    assert denied.value.state == "denied"


def test_a_job(alice: Client, eu: str) -> None:
    """It lives on nodes of the other collective, and its runs are told here."""
    job = alice.jobs.submit("rpcutil", "ping", nodes=ALL, at="now", collective=eu)
    assert job.wait(60).stats["ok"] == len(ALL)
    later = alice.jobs.submit("rpcutil", "ping", nodes=ALL, at="+1h", collective=eu)
    assert later.wait_accepted(60)
    assert list(alice.jobs.list(later.job).sender) == list(ALL)
    assert alice.jobs.cancel(later).wait(60).stats["ok"] == len(ALL)
    assert {row.statusmsg for row in later.wait(60).rows()} == {"cancelled by cert=alice"}


def test_a_node_that_is_down_answers_a_later_process(fleet: Fleet, eu: str) -> None:
    """The session's queue in that collective waits, like the one in the main one."""
    fleet.kill9("eu1")
    with fleet.client(session="night") as client:
        asked = client.rpc("rpcutil", "ping", via="queue", nodes=["eu1"], collective=eu, wait=False)
        assert wait_until(lambda: not client.session.store.unconfirmed_count(0.0), 30)
    fleet.start("eu1")
    with fleet.client(session="night") as client:
        assert wait_until(lambda: client.replies(asked.requestid).stats["ok"] == 1, 60)


def test_a_session_that_moves(fleet: Fleet, eu: str) -> None:
    """Its former holder takes nothing more from any of its queues."""
    older = fleet.client(state="here", session="roaming")
    path = export_session(fleet.folder / "here", "roaming", fleet.folder / "roaming.mcs")
    import_session(
        fleet.folder / "there", load_verifier(older.settings.pki), path, lambda *_: False
    )
    with fleet.client(state="there", session="roaming") as newer:
        assert wait_until(lambda: not older.session.holds, 30)
        for collective, nodes in ((eu, ALL), (None, ("both1", "main1"))):
            asked = newer.rpc(
                "rpcutil", "ping", via="queue", nodes=nodes, collective=collective, timeout=60
            )
            assert asked.stats["ok"] == len(nodes)
        assert older.session.store.reply_count() == 0
        older.close()


def test_a_proposal(fleet: Fleet, alice: Client, eu: str) -> None:
    """It is brought, shown, approved and done where its nodes are."""
    with fleet.client("carol") as carol:
        asked = {"nodes": ["eu1"], "inputs": {"value": "x"}}
        made = alice.approvals.propose("echo", "say", collective=eu, **asked)
        assert made.digest in [one.digest for one in carol.approvals.statuses()]
        approved = carol.approvals.approve(made.digest)
        assert approved.replies is not None
        assert approved.replies.wait(60).stats["ok"] == 1
    assert alice.approvals.run(made.digest, timeout=60).wait(60).stats["ok"] == 1


def test_where_nothing_would_be_heard_nothing_is_sent(fleet: Fleet, eu: str) -> None:
    """Nodes would do it, and no reply would come to the session that asked."""
    asked = {"nodes": list(ALL), "collective": eu, "inputs": {"value": "x"}}
    with fleet.client("bob") as bob:
        for ask in (bob.rpc, bob.approvals.propose, bob.jobs.submit):
            with pytest.raises(UsageError, match=f"member names {fleet.collective}$"):
                ask("echo", "say", **asked)
        with pytest.raises(UsageError, match="would not be heard"):
            bob.open("eu1", "echo", collective=eu)
    assert not [line for line in fleet.audit("eu1") if line.get("caller") == "cert=bob"]


def test_at_the_command_line(fleet: Fleet, eu: str, tmp_path: Path) -> None:
    """`-T` asks there; one that is none of the operator's is a line, and exit code 64."""
    state = {"MCSHELL_STATE": str(tmp_path)}
    told = fleet.cli("ping", "-T", eu, "--json", **state)
    assert [row["sender"] for row in json.loads(told.stdout)] == list(ALL)
    told = fleet.cli("inventory", "-T", eu, "--json", **state)
    assert [row["sender"] for row in json.loads(told.stdout)] == list(ALL), told.stderr
    told = fleet.cli("inventory", "eu1", "-T", eu, "--json", **state)
    assert '"collectives": ["' + eu in " ".join(told.stdout.split()), told.stdout
    told = fleet.cli("inventory", "--dm", "inventory", "-T", eu, "--json", **state)
    assert [row["sender"] for row in json.loads(told.stdout)] == list(ALL)
    told = fleet.cli("pki", "publish", "-T", eu, "--pki", "pki", "--json", **state)
    assert [(row["sender"], row["state"]) for row in json.loads(told.stdout)] == [
        (name, "ok") for name in ALL
    ]
    told = fleet.cli("ping", "-T", "asia", **state)
    assert (told.returncode, len(told.stderr.splitlines())) == (64, 1)
