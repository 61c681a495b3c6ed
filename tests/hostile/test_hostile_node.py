"""A hostile node: it may say what it likes of a job; nothing of that is signed, or run by another."""

from __future__ import annotations

import json
import threading
import time
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import pytest

from mcshell.errors import UsageError
from mcshell.message import Reply, Request, State
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import read_request, seal_reply
from mcshell.wire.documents.signatures import Signer
from mcshell.wire.stomp.connector import Connector
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)

LIAR = "app01"
EXEC = {"exec": "policy default deny\nallow\tcert=alice\t*\t*\t*\n"}


class HostileNode:
    """A node with a good certificate that answers as `lie` makes of the job it was handed.

    It keeps each job's document, signature and certificate, as an honest one would.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._collective = fleet.collective
        cert, key = fleet.authority.issue_pem(LIAR, "node", renew=True)
        self._signer = Signer.from_pem(cert, key)
        self.others = {
            name: Signer.load(fleet.folder / f"{name}.pem", fleet.folder / f"{name}.key")
            for name in ("alice", "eve")
        }
        broker = fleet.broker
        self._link = Connector([broker.url], user=broker.user, passcode=broker.passcode)
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.jobs: dict[str, dict[str, str]] = {}
        self.edits: list[dict[str, Any]] = []
        self.lie: Callable[[dict[str, str]], dict[str, Any]] = dict
        self.log: dict[str, Any] = {}
        self.listed: Any = None

    def __enter__(self) -> Self:
        self._link.start()
        self._link.subscribe(destinations.broadcast(self._collective), self._inbox, ack="auto")
        for place in (destinations.node, destinations.work):
            self._link.subscribe(place(self._collective, LIAR), self._inbox, ack="auto")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._link.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                delivery = self._inbox.get(timeout=0.2)
            except Empty:
                continue
            request = read_request(delivery.body)
            if request.agent == "discovery":
                self._say(request, _PING)
            elif request.agent == "job":
                self._job(request)

    def _job(self, request: Request) -> None:
        if request.action == "submit":
            self.jobs[request.id] = dict(request.data)
            self._say(request, {}, State.RECEIVED)
        elif request.action == "edit":
            self.edits.append(json.loads(request.data["document"]))
            self._say(request, {})
        elif request.action == "forecast" or (request.action == "list" and self.listed is not None):
            what = {"forecast": "starts", "list": "jobs"}[request.action]
            self._say(request, {what: self.listed})
        elif request.action == "list":
            stands = [{**_STAND, "job": job} for job in self.jobs]
            self._say(request, {"jobs": stands, "more": 0})
        elif request.action == "show":
            job = str(request.data["job"])
            self._say(request, {**_STAND, "job": job, "data": {}, **self.lie(self.jobs[job])})

        elif request.action == "log":
            self._say(request, self.log)

    def _say(self, request: Request, data: dict[str, Any], state: State = State.OK) -> None:
        final = state is State.OK
        reply = Reply(
            requestid=request.id,
            sender=LIAR,
            sequence=2 if final else 0,
            statuscode=0 if final else None,
            statusmsg="OK",
            data=data,
            created=time.time(),
            state=state,
            digest=request.digest,
        )
        sealed = seal_reply(reply, self._signer)
        where = destinations.reply(request.collective, request.caller, request.session)
        self._link.send(where, sealed.body, sealed.headers)

    def signed(self, kept: dict[str, str], by: str, **changes: Any) -> dict[str, str]:
        """A changed document, signed as another operator could, or under the old signature."""
        body = json.dumps({**json.loads(kept["document"]), **changes})
        if by == "nobody":
            return {**kept, "document": body}
        signer = self._signer if by == LIAR else self.others[by]
        signature = signer.sign(body.encode())
        return {"document": body, "signature": signature, "certificate": signer.certificate}


_PING = {
    "facts": {},
    "classes": [],
    "agents": ["discovery", "job", "package", "exec"],
    "collectives": ["mcs"],
    "version": "1",
    "pools": [],
    "started": 1.0,
    "crl": None,
}
_STAND = {
    "revision": 1,
    "owner": "cert=alice",
    "name": "nightly",
    "agent": "package",
    "action": "status",
    "state": "scheduled",
    "next": 2e9,
    "last": None,
    "attempt": 0,
    "progress": "",
}
EVIL = {"agent": "exec", "action": "run", "data": {"argv": ["touch", "PWNED"]}}
LIES: dict[str, Callable[[HostileNode, dict[str, str]], dict[str, Any]]] = {
    "other inputs under the old signature": lambda node, kept: node.signed(kept, "nobody", **EVIL),
    "signed by the node": lambda node, kept: node.signed(kept, LIAR, **EVIL),
    "signed by the node as its author": lambda node, kept: node.signed(
        kept, LIAR, author=f"cert={LIAR}", **EVIL
    ),
    "eve's, in alice's name": lambda node, kept: node.signed(kept, "eve", **EVIL),
    "alice's own, of another id": lambda node, kept: node.signed(kept, "alice", id="ab" * 16),
    "without a signature": lambda _node, kept: {"document": kept["document"]},
    "as a plain object": lambda _node, kept: {"document": json.loads(kept["document"])},
    "no JSON": lambda _node, kept: {**kept, "document": "{"},
    "a duty without ids": lambda _node, kept: {
        **kept,
        "document": json.dumps({"v": 2, "kind": "duty", "rule": "{}", "duty": "x", "ids": {}}),
    },
    "an empty signature": lambda _node, kept: {**kept, "signature": ""},
}


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One honest node; alice may all, and exec there."""
    folder = tmp_path_factory.mktemp("liar")
    default = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
    policies = {"default": default, **EXEC}
    with Fleet(
        embedded, folder, {"db01": Node()}, policies=policies, operators=("alice", "eve")
    ) as fleet:
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def liar(fleet: Fleet) -> Iterator[HostileNode]:
    """The other node."""
    with HostileNode(fleet) as node:
        yield node


@pytest.fixture
def job(fleet: Fleet, liar: HostileNode) -> str:
    """A job of alice's that both have, handed in from a session of its own."""
    with fleet.client(session="one") as alice:
        nodes = [LIAR, "db01"]
        inputs = {"name": "bash"}
        replies = alice.jobs.submit("package", "status", inputs=inputs, at="+1h", nodes=nodes)
        assert replies.wait_accepted(30)
        return str(replies.job)


@pytest.mark.parametrize("name", LIES)
def test_what_a_node_makes_of_a_job_is_not_signed(
    fleet: Fleet, liar: HostileNode, job: str, name: str
) -> None:
    """From another session alice's edit refuses what her signature does not vouch for."""
    liar.lie = lambda kept: LIES[name](liar, kept)
    before = len(liar.edits)
    with fleet.client(session="two", state="state-two") as alice:
        with pytest.raises(UsageError, match=f"no node that answers has the job {job}; {LIAR}: "):
            alice.jobs.edit(job, nodes=[LIAR], at="+2s")
        (row,) = alice.jobs.show(job, nodes=[LIAR]).rows()
        assert row.data["document"] is None
        assert row.data["unverified"]
    assert len(liar.edits) == before


def test_among_the_honest_the_lie_is_passed_over(
    fleet: Fleet, liar: HostileNode, job: str, tmp_path: Path
) -> None:
    """Where an honest node shows the job too, that is what is edited, and runs, on both."""
    liar.lie = lambda kept: liar.signed(kept, "nobody", **EVIL)
    with fleet.client(session="two", state="state-three") as alice:
        shown = {row.sender: row.data for row in alice.jobs.show(job, nodes=[LIAR, "db01"]).rows()}
        assert shown["db01"]["document"]["author"] == "cert=alice"
        assert shown["db01"]["document"]["data"] == {"name": "bash"}
        assert shown["db01"]["unverified"] == ""
        assert "bad_signature" in shown[LIAR]["unverified"]
        edited = alice.jobs.edit(job, nodes=[LIAR, "db01"], at="+2s")
        assert edited.wait(30).stats["ok"] == 2
        assert liar.edits[-1]["agent"] == "package"
        assert liar.edits[-1]["data"] == {"name": "bash"}
        assert wait_until(lambda: _ran(fleet, "package"), 30)
    assert not _ran(fleet, "exec")


def test_the_job_of_another_is_asked_for(fleet: Fleet, liar: HostileNode, job: str) -> None:
    """What eve has signed is eve's: alice signs it as hers only once she was shown what would run."""
    liar.lie = lambda kept: liar.signed(kept, "eve", author="cert=eve", **EVIL)
    seen: list[str] = []

    def no(change: object) -> bool:
        seen.append(str(change))
        return False

    with fleet.client(session="two", state="state-four") as alice:
        for confirm in (None, no):
            with pytest.raises(UsageError, match="not confirmed"):
                alice.jobs.edit(job, nodes=[LIAR], at="+2s", confirm=confirm)
        (line,) = seen
        assert line.startswith(f'job {job[:8]}, revision 2: exec.run argv=["touch", "PWNED"]')
        assert line.endswith("; it is cert=eve's, and would run as cert=alice")


def _ran(fleet: Fleet, agent: str) -> bool:
    return any(e["event"] == "started" and e["agent"] == agent for e in fleet.audit("db01"))


_LOG = {"text": "A", "offset": 1, "state": "running", "run": "1", "progress": ""}
LOGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a text without an end": _LOG,
    "an offset that goes back": {**_LOG, "offset": -5},
    "an offset that is none": {**_LOG, "offset": "far"},
    "more than any file has": {**_LOG, "offset": 2**64 - 1},
    "no text": {**_LOG, "text": ["A"]},
    "no state": {**_LOG, "text": "", "state": None},
}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("follow", [False, True])
def test_what_a_node_says_of_a_log_has_an_end(
    fleet: Fleet, liar: HostileNode, job: str, name: str, *, follow: bool
) -> None:
    """A log whose pieces lead nowhere is refused in a line that names the node, after what it has shown."""
    liar.log = LOGS[name]
    with fleet.client(session="two", state="state-five") as alice:
        parts: list[str] = []
        with pytest.raises(UsageError, match=f"{LIAR}: its answer is none of job.log"):
            parts.extend(islice(alice.jobs.log(job, LIAR, follow=follow), 5))
        assert parts in ([], ["A"])


LISTED: dict[str, Any] = {
    "nothing that is told by name": [{}, 5, None],
    "no list": {"job": "x"},
    "times that are none": [{**_STAND, "job": "ab" * 16, "next": "soon", "start": "soon"}],
    "times beyond all clocks": [{**_STAND, "job": "ab" * 16, "next": 1e300, "start": 1e300}],
    "a job that is none": [{**_STAND, "job": ["x"]}],
    "a state that is none": [{**_STAND, "job": "ab" * 16, "state": {}, "why": []}],
}


@pytest.mark.parametrize("name", LISTED)
def test_what_a_node_lists_that_is_no_job_is_a_row_that_says_so(
    fleet: Fleet, liar: HostileNode, job: str, name: str
) -> None:
    """What honest nodes list is shown, and found by its first letters; the liar has a row that says so."""
    liar.listed = LISTED[name]
    try:
        with fleet.client(session="two", state="state-six") as alice:
            rows = alice.jobs.list(nodes=[LIAR, "db01"])
            assert job in set(rows[rows["sender"] == "db01"]["job"])
            assert "none of job.list" in rows[rows["sender"] == LIAR]["progress"].iloc[-1]
            starts = alice.jobs.forecast(within="2h", nodes=[LIAR, "db01"])
            assert job in set(starts[starts["sender"] == "db01"]["job"])
            assert "none of job.forecast" in starts[starts["sender"] == LIAR]["why"].iloc[-1]
            (shown,) = alice.jobs.show(job[:12], nodes=["db01"]).rows()
            assert shown.data["unverified"] == ""
        for verb in ("list", "forecast"):
            done = fleet.cli("job", verb, "-I", f"{LIAR},db01")
            assert job[:8] in done.stdout, done.stderr
    finally:
        liar.listed = None
