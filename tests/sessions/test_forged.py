"""A session file is evidence, not truth: what nothing signed proves is shown, and goes nowhere."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mcshell.client.session.transfer import export_session
from mcshell.client.store.bodies import BESIDE
from mcshell.client.store.unverified import UNVERIFIED
from mcshell.errors import UsageError
from mcshell.message import State
from tests.peers.fleet import Fleet, Node

from .conftest import NAMES
from .test_moving import bring_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.session.transfer import ImportReport
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)

EVIL = json.dumps({"argv": ["rm", "-rf", "/srv/customers"]})
AS_ALICE = "UPDATE meta SET value='cert=alice' WHERE key='caller';"
EVIL_REQUEST = f"UPDATE requests SET agent='exec', action='run', data='{EVIL}';"
NO_REPLIES = (
    "DELETE FROM replies; UPDATE targets SET state='silent', reason='no answer', sequence=NULL,"
    " statuscode=NULL, statusmsg=NULL, worker='', done=NULL, received=NULL; DELETE FROM counts;"
    " INSERT INTO counts SELECT id, 'silent', 3 FROM requests;"
)


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Nodes n1, n2 and n3; alice may all, exec too, and eve may look."""
    policies = {
        "default": "policy default deny\nallow\tcert=alice\t*\t*\t*\nallow\tcert=eve\tping\t*\t*\n",
        "exec": "policy default deny\nallow\tcert=alice\t*\t*\t*\n",
    }
    nodes = {name: Node() for name in NAMES}
    folder = tmp_path_factory.mktemp("forged")
    with Fleet(embedded, folder, nodes, policies=policies, operators=("alice", "eve")) as running:
        running.start()
        yield running


def exported(fleet: Fleet, state: str, operator: str, **more: object) -> Path:
    """A session of an operator's who has pinged all three, as a file."""
    with fleet.client(operator, state=state, session="friday") as client:
        asked = {"timeout": 30, **more}
        if more.get("via") != "broadcast":
            asked["nodes"] = NAMES
        assert client.rpc("rpcutil", "ping", **asked).stats["ok"] == len(NAMES)
    return export_session(fleet.folder / state, "friday", fleet.folder / f"{state}.mcs")


def forge(path: Path, script: str) -> Path:
    """Change the file as its author could."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)
        db.commit()
    return path


def refused_by_alice(fleet: Fleet, state: str, path: Path) -> ImportReport:
    """Alice brings it in and asks for a retry: it is refused, and no node runs anything for her."""
    report = bring_in(fleet, state, path)
    with fleet.client(state=state, session=report.name) as alice:
        with pytest.raises(UsageError, match="retry: "):
            alice.again()
        assert "exec" not in {e.get("agent") for name in NAMES for e in fleet.audit(name)}
    return report


@pytest.mark.parametrize(
    "script",
    [
        AS_ALICE + EVIL_REQUEST + NO_REPLIES + "DELETE FROM outgoing;",
        AS_ALICE + EVIL_REQUEST + NO_REPLIES,
        AS_ALICE + EVIL_REQUEST + "DELETE FROM outgoing;",
        AS_ALICE + EVIL_REQUEST,
    ],
    ids=["nothing signed", "eve's bytes", "eve's replies", "eve's bytes and replies"],
)
def test_a_file_of_eves_in_alices_name(fleet: Fleet, state: str, script: str) -> None:
    """What eve has asked, told as alice's: it is shown as unverified, and not asked again."""
    path = forge(exported(fleet, state, "eve"), script)
    refused_by_alice(fleet, f"{state}-b", path)
    with fleet.client(state=f"{state}-b", session="friday") as alice:
        ((record, _counts),) = alice.requests()
        assert (record.agent, record.action) == (UNVERIFIED, UNVERIFIED)
        assert {row.sender for row in alice.replies().rows()} == set(NAMES)
        again = export_session(
            fleet.folder / f"{state}-b", "friday", fleet.folder / f"{state}-b.mcs"
        )
    with closing(sqlite3.connect(again)) as db:
        for table in ("requests", "targets", "replies"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


@pytest.mark.parametrize("via", ["direct", "queue", "broadcast"])
def test_the_label_of_alices_own_request(fleet: Fleet, state: str, via: str) -> None:
    """What was asked is read from what alice signed, whatever the file says of it."""
    path = exported(fleet, state, "alice", via=via)
    forge(path, EVIL_REQUEST)
    report = bring_in(fleet, f"{state}-b", path)
    assert (report.unverified, report.refused.total()) == (0, 0)
    with fleet.client(state=f"{state}-b", session="friday") as alice:
        ((record, _counts),) = alice.requests()
        assert (record.agent, record.action, record.data) == ("rpcutil", "ping", {})
        assert alice.replies().stats["ok"] == len(NAMES)


def test_targets_that_alice_never_had(fleet: Fleet, state: str) -> None:
    """Who stands in the file alone is silent, and is not asked when the others are asked again."""
    path = exported(fleet, state, "alice", via="direct")
    forge(
        path,
        "DELETE FROM outgoing WHERE sender='n2'; DELETE FROM replies WHERE sender IN ('n2', 'n3');",
    )
    bring_in(fleet, f"{state}-b", path)
    with fleet.client(state=f"{state}-b", session="friday") as alice:
        rows = {row.sender: row.state for row in alice.replies().rows()}
        assert rows == {"n1": State.OK, "n2": State.SILENT, "n3": State.SILENT}
        assert alice.again().names == ["n3"]


def test_a_verdict_that_the_replies_do_not_bear_out(fleet: Fleet, state: str) -> None:
    """That n1 failed, and n2 is silent, is not so: their replies are in the file."""
    path = forge(
        exported(fleet, state, "alice"),
        "UPDATE targets SET state='failed', statuscode=1, statusmsg='no' WHERE sender='n1';"
        "UPDATE targets SET state='silent', reason='gone', sequence=NULL WHERE sender='n2';",
    )
    bring_in(fleet, f"{state}-b", path)
    with fleet.client(state=f"{state}-b", session="friday") as alice:
        assert alice.replies().stats["ok"] == len(NAMES)


def test_a_reply_to_another_question(fleet: Fleet, state: str) -> None:
    """Alice's own replies, moved to another request of hers, are refused: they answer another."""
    with fleet.client(state=state, session="friday") as alice:
        first = alice.rpc("rpcutil", "ping", nodes=NAMES, timeout=30).requestid
        second = alice.rpc("rpcutil", "get_fact", fact="os", nodes=NAMES, timeout=30).requestid
    path = export_session(fleet.folder / state, "friday", fleet.folder / f"{state}.mcs")
    forge(
        path,
        f"DELETE FROM replies WHERE request='{second}';"
        f"UPDATE replies SET request='{second}' WHERE request='{first}';",
    )
    report = bring_in(fleet, f"{state}-b", path)
    assert dict(report.refused) == {"reply: wrong_sender": 3}
    with fleet.client(state=f"{state}-b", session="friday") as alice:
        assert alice.replies(second).stats["silent"] == len(NAMES)


def test_replies_that_are_said_to_be_elsewhere(fleet: Fleet, state: str) -> None:
    """What a row says to be beside its file is read there, and proved as any other: nothing comes in."""
    path = forge(exported(fleet, state, "alice"), f"UPDATE replies SET body=x'{64:026x}';")
    path.with_name(f"{path.name}{BESIDE}").write_bytes(b"x" * 1000)
    report = bring_in(fleet, f"{state}-b", path)
    assert dict(report.refused) == {"reply: not_json": 3}
    with fleet.client(state=f"{state}-b", session="friday") as alice:
        assert alice.replies().stats["silent"] == len(NAMES)


def test_a_job_that_nobody_signed(fleet: Fleet, state: str) -> None:
    """The document of a job comes from its signed bytes; the file's own column is not looked at."""
    with fleet.client(state=state, session="friday") as alice:
        job = alice.jobs.submit("package", "status", inputs={"name": "bash"}, at="+1h", nodes=NAMES)
        assert job.wait_accepted(30)
        honest = alice.jobs.document(job)
    path = export_session(fleet.folder / state, "friday", fleet.folder / f"{state}.mcs")
    with closing(sqlite3.connect(path)) as db:
        ((body,),) = db.execute("SELECT body FROM jobs")
        document = {**json.loads(body), "agent": "exec", "action": "run", "data": json.loads(EVIL)}
        db.execute("UPDATE jobs SET body=?", (json.dumps(document).encode(),))
        db.commit()
    bring_in(fleet, f"{state}-b", path)
    with fleet.client(state=f"{state}-b", session="friday") as alice:
        assert alice.jobs.document(job.job) == honest
        alice.jobs.cancel(job.job)


def test_what_another_has_asked_is_not_asked_again(fleet: Fleet, state: str) -> None:
    """Eve's session is hers: alice looks at it, and does not sign what eve has asked."""
    path = exported(fleet, state, "eve")
    bring_in(fleet, f"{state}-b", path)
    with fleet.client(state=f"{state}-b", session="mine") as alice:
        with closing(sqlite3.connect(path)) as db:
            ((request,),) = db.execute("SELECT id FROM requests")
        assert alice.replies(request).stats["ok"] == len(NAMES)
        with pytest.raises(UsageError, match="is one of cert=eve, not of cert=alice"):
            alice.again(request)
