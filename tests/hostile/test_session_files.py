"""A session file is evidence, not truth: what nobody signed is neither asked again nor handed on.

Each forgery is a change to a genuine file of alice's, as whoever got hold of a copy could make it.
It is brought in by `mcshell session import`, and used as one would: attach, retry, edit, resume.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.message import Reply, State
from mcshell.wire.documents.envelope import seal_reply
from mcshell.wire.documents.signatures import Signer
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = [pytest.mark.timeout(300), pytest.mark.soak]

ALLOWED = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
PLAN = "plan: patch\nsteps:\n  - step: one\n    ask: rpcutil.ping\n    nodes: web1\n"
EVIL = json.dumps({"argv": ["touch", "PWNED"]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Genuine:
    """The fleet, and a file with a request that ghost has not answered, two jobs and a plan.

    An edit is of one revision alone: `job` is for the forgery of it, `other` for the honest file.
    """

    fleet: Fleet
    path: Path
    request: str
    job: str
    other: str

    def cli(self, state: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A line of alice's on another machine."""
        return self.fleet.cli(*words, MCSHELL_STATE=str(self.fleet.folder / state))

    def asked(self) -> set[tuple[str, str, str, str]]:
        """What ran so far, and where: node, request, agent, action."""
        return {
            (name, event["requestid"], event["agent"], event["action"])
            for name in self.fleet.names
            for event in self.fleet.audit(name)
            if event["event"] in ("accepted", "started") and event["agent"] != "discovery"
        }


@pytest.fixture(scope="module")
def genuine(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Genuine]:
    """Two nodes; alice may all, eve nothing."""
    folder = tmp_path_factory.mktemp("files")
    with Fleet(
        embedded,
        folder,
        {"web1": Node(), "web2": Node()},
        policies={"default": ALLOWED, "exec": ALLOWED},
        operators=("alice", "eve"),
    ) as fleet:
        fleet.authority.issue("ghost", "node", out=folder)
        fleet.start()
        (folder / "plan.yaml").write_text(PLAN)
        with fleet.client(session="friday") as alice:
            alice.plans.run(folder / "plan.yaml")
            jobs = [alice.jobs.submit("rpcutil", "ping", at="+1h", nodes="web1") for _ in "12"]
            assert all(job.wait_accepted(30) for job in jobs)
            asked = alice.rpc("rpcutil", "ping", nodes=["web1", "ghost"], timeout=30)
            assert (asked.stats["ok"], asked.stats["silent"]) == (1, 1)
        done = fleet.cli("session", "export", "friday", str(folder / "friday.mcs"))
        assert done.returncode == 0, done.stderr
        yield Genuine(
            fleet=fleet,
            path=folder / "friday.mcs",
            request=asked.requestid,
            job=str(jobs[0].job),
            other=str(jobs[1].job),
        )


def _another(genuine: Genuine, by: str, request: str) -> tuple[bytes, str, str]:
    """A request of exec, signed by `by` as if it were alice's."""
    signer = Signer.load(genuine.fleet.folder / f"{by}.pem", genuine.fleet.folder / f"{by}.key")
    with sqlite3.connect(genuine.path) as db:
        query = "SELECT body FROM outgoing WHERE request=? AND sender='ghost'"
        ((body,),) = db.execute(query, (request,))
    db.close()
    evil = {**json.loads(body), "agent": "exec", "action": "run", "data": json.loads(EVIL)}
    forged = json.dumps({**evil, "identity": "web1"}, separators=(",", ":")).encode()
    return forged, signer.sign(forged), signer.certificate


def _sql(*lines: str) -> Callable[[Genuine, sqlite3.Connection], None]:
    def change(genuine: Genuine, db: sqlite3.Connection) -> None:
        for line in lines:
            db.execute(line.format(request=genuine.request, job=genuine.job, evil=EVIL))

    return change


def _signed_by_eve(*, confirmed: bool) -> Callable[[Genuine, sqlite3.Connection], None]:
    def change(genuine: Genuine, db: sqlite3.Connection) -> None:
        body, signature, certificate = _another(genuine, "eve", genuine.request)
        _certified(db, certificate)
        db.execute(
            "UPDATE outgoing SET body=?, signature=?, confirmed=?, destination=replace("
            "destination, 'ghost', 'web1'), certificate=(SELECT id FROM certificates WHERE text=?) "
            "WHERE request=? AND sender='ghost'",
            (body, signature, 1.0 if confirmed else None, certificate, genuine.request),
        )
        _sql(*AS_EXEC)(genuine, db)

    return change


def _of_version_1(genuine: Genuine, db: sqlite3.Connection) -> None:
    """What version 1 left unsent is signed anew by today's client: not what only looks like it."""
    body, signature, _ = _another(genuine, "eve", genuine.request)
    body = body.replace(b'{"v":2,', b'{"v":1,', 1)
    db.execute(
        "UPDATE outgoing SET body=?, signature=?, confirmed=NULL, destination=replace("
        "destination, 'ghost', 'web1') WHERE request=? AND sender='ghost'",
        (body, signature, genuine.request),
    )
    _sql(*AS_EXEC)(genuine, db)


def _answered_by(signer: str, **other: Any) -> Callable[[Genuine, sqlite3.Connection], None]:
    def change(genuine: Genuine, db: sqlite3.Connection) -> None:
        """Ghost never answered; here it says that all is well."""
        reply = Reply(
            **{
                "requestid": genuine.request,
                "sender": "ghost",
                "sequence": 2,
                "statuscode": 0,
                "statusmsg": "FORGED",
                "data": {"pong": 1},
                "created": 1.0,
                "state": State.OK,
                "digest": "ab" * 32,
                **other,
            }
        )
        folder = genuine.fleet.folder
        sealed = seal_reply(reply, Signer.load(folder / f"{signer}.pem", folder / f"{signer}.key"))
        _certified(db, sealed.headers["mcs-certificate"])
        db.execute(
            "INSERT INTO replies (request, sender, sequence, kept, body, signature, certificate, "
            "trust) VALUES (?,'ghost',2,strftime('%s','now'),?,?,"
            "(SELECT id FROM certificates WHERE text=?),'mcs')",
            (
                genuine.request,
                sealed.body,
                sealed.headers["mcs-signature"],
                sealed.headers["mcs-certificate"],
            ),
        )

    return change


def _certified(db: sqlite3.Connection, certificate: str) -> None:
    db.execute("INSERT OR IGNORE INTO certificates (text) VALUES (?)", (certificate,))


AS_EXEC = (
    "UPDATE requests SET agent='exec', action='run', data='{evil}' WHERE id='{request}'",
    "DELETE FROM targets WHERE request='{request}' AND sender='web1'",
    "UPDATE targets SET sender='web1', state='silent' WHERE request='{request}' AND sender='ghost'",
)
SILENT = "UPDATE targets SET state='silent', sequence=NULL, statuscode=NULL, done=NULL"
FORGERIES: dict[str, Callable[[Genuine, sqlite3.Connection], None]] = {
    "another action, without what was signed": _sql(
        "DELETE FROM outgoing",
        "DELETE FROM replies",
        "UPDATE requests SET agent='exec', action='run', data='{evil}'",
        SILENT,
    ),
    "another action beside what was signed": _sql(
        "DELETE FROM replies",
        "UPDATE requests SET agent='exec', action='run', data='{evil}'",
        SILENT,
    ),
    "other inputs beside what was signed": _sql(
        "UPDATE requests SET agent='rpcutil', action='get_fact', data='{{\"fact\": \"os\"}}'"
    ),
    "another target": _sql(
        "UPDATE targets SET sender='web2' WHERE request='{request}' AND sender='ghost'"
    ),
    "another target, unsent": _sql(
        "UPDATE targets SET sender='web2' WHERE request='{request}' AND sender='ghost'",
        "UPDATE outgoing SET sender='web2', confirmed=NULL, destination=replace(destination, "
        "'ghost', 'web2') WHERE request='{request}' AND sender='ghost'",
    ),
    "signed by eve": _signed_by_eve(confirmed=True),
    "signed by eve, unsent": _signed_by_eve(confirmed=False),
    "of version 1, unsent": _of_version_1,
    "a request more": _sql(
        "INSERT INTO requests (id, agent, action, via, collective, created, expires, filter, data)"
        " SELECT '" + "ab" * 16 + "', 'exec', 'run', via, collective, created+1, expires, filter, "
        "'{evil}' FROM requests WHERE id='{request}'",
        "INSERT INTO targets (request, sender, place, state) VALUES ('"
        + "ab" * 16
        + "', 'web1', 0, 'silent')",
        "INSERT INTO counts VALUES ('" + "ab" * 16 + "', 'silent', 1)",
    ),
    "a judgement": _sql(
        "UPDATE targets SET state='ok', reason='FORGED', statuscode=0, statusmsg='FORGED' "
        "WHERE request='{request}' AND sender='ghost'"
    ),
    "an answer by an operator": _answered_by("eve"),
    "an answer by another node": _answered_by("web2"),
    "an answer to something else": _answered_by("ghost"),
    "another job's document": _sql(
        "UPDATE jobs SET body=CAST(replace(replace(CAST(body AS TEXT), 'rpcutil', 'exec'), "
        "'\"ping\"', '\"run\"') AS BLOB)"
    ),
    "another plan": _sql(
        "UPDATE plans SET state='open', body=CAST(replace(CAST(body AS TEXT), 'rpcutil', 'exec')"
        " AS BLOB)"
    ),
    "other waves of the plan": _sql(
        "DELETE FROM requests WHERE id!='{request}' AND agent='rpcutil'",
        "UPDATE plans SET state='open', waves=replace(waves, 'web1', 'web2')",
    ),
}
RETRY = ("retry", "--session", "friday", "-t", "2")
RESUME = ("plan", "resume", "--session", "friday")
EDIT = ("job", "edit", "{job}", "--at", "+2h", "--session", "friday")
USE = {"another job's document": (RETRY, EDIT), "another plan": (RESUME,)}
"""What is said on the new machine; by default an attempt at each of retry and plan resume."""


@pytest.mark.parametrize("name", FORGERIES)
def test_what_nobody_signed_is_not_done(genuine: Genuine, name: str) -> None:
    """No node is asked what its author has not signed for it, whatever alice says on the new machine."""
    path = genuine.fleet.folder / f"forged-{list(FORGERIES).index(name)}.mcs"
    shutil.copy(genuine.path, path)
    with sqlite3.connect(path) as db:
        FORGERIES[name](genuine, db)
    db.close()
    state = f"state-{path.stem}"
    before = genuine.asked()
    shown = bring_in_and_use(genuine, state, path, USE.get(name, (RETRY, RESUME)))
    ran = {(node, agent, action) for node, _id, agent, action in genuine.asked() - before}
    assert not [one for one in ran if one[1] != "job" and one[1:] != ("rpcutil", "ping")], shown
    assert not [one for one in ran if one[0] == "web2" and one[1] != "job"], shown
    assert not list(genuine.fleet.folder.rglob("PWNED"))
    assert "FORGED" not in shown
    if EDIT in USE.get(name, ()):
        with genuine.fleet.client(state="state-asking") as alice:
            (job,) = [one for one in alice.jobs.rows() if one["job"] == genuine.job]
        assert (job["agent"], job["action"]) == ("rpcutil", "ping")
    handed_on(genuine, state)


def bring_in_and_use(
    genuine: Genuine, state: str, path: Path, lines: tuple[tuple[str, ...], ...]
) -> str:
    """Import a file and say each line; what alice sees of the request that ghost did not answer."""
    genuine.cli(state, "session", "import", str(path))
    for line in lines:
        words = [word.format(job=genuine.job) for word in line]
        done = genuine.cli(state, *words)
        assert "Traceback" not in done.stderr, done.stderr
    shown = genuine.cli(state, "replies", genuine.request, "--session", "friday", "--json")
    return shown.stdout


def handed_on(genuine: Genuine, state: str) -> None:
    """What is exported again has nothing of exec that alice has not signed."""
    path = genuine.fleet.folder / f"{state}-again.mcs"
    genuine.cli(state, "session", "export", "friday", str(path))
    if path.exists():
        with sqlite3.connect(path) as db:
            query = "SELECT count(*) FROM outgoing WHERE CAST(body AS TEXT) LIKE '%\"exec\"%'"
            assert db.execute(query).fetchone() == (0,)
        db.close()


def test_the_untampered_file_is_used(genuine: Genuine) -> None:
    """The twin of them all: retry asks ghost again, an edit moves the job, the plan is done."""
    path = genuine.fleet.folder / "honest.mcs"
    shutil.copy(genuine.path, path)
    state = "state-honest"
    done = genuine.cli(state, "session", "import", str(path))
    assert done.returncode == 0, done.stderr + done.stdout
    again = genuine.cli(state, "retry", "--session", "friday", "-t", "2", "--json")
    assert [row["sender"] for row in json.loads(again.stdout)["replies"]] == ["ghost"]
    edited = genuine.cli(state, "job", "edit", genuine.other, "--at", "+2h", "--session", "friday")
    assert edited.returncode == 0, edited.stderr


def test_there_are_ten_of_them() -> None:
    """As of each other kind of document."""
    assert len(FORGERIES) >= 10
