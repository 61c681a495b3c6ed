"""Made the files in `files/`, with the code of commit 67a4456; nothing else can run it.

Run: git worktree add OLD 67a4456 && PYTHONPATH=OLD python tests/migrations/make_files.py

Each file is written by a process of its own that is killed (-9) after its last commit, so that
this is only in the WAL. `expected.json` has what the code of then reads in a copy of each.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.client.jobstore import JobStore, KeptJob
from mcshell.client.known import Known, KnownNode
from mcshell.client.planstore import OK, STOPPED, Accepted, KeptPlan, PlanStore
from mcshell.client.rows import Outgoing, Record, Word
from mcshell.client.schema import VERSION as SESSION_VERSION
from mcshell.node.claims import Claims
from mcshell.node.database import VERSION as WORK_VERSION
from mcshell.node.rules import RuleRow
from mcshell.node.spool import Spool
from mcshell.node.work import End, Work
from mcshell.wire.announce import Registration, seal_registration
from mcshell.wire.envelope import CERTIFICATE, SIGNATURE, seal_reply, seal_request
from mcshell.wire.jobs import seal_job
from mcshell.wire.plans import plan_id, seal_plan
from mcshell.wire.rules import seal_rule
from mcshell.wire.security import Signer
from plain import plain

from mcshell.broker.store import Message
from mcshell.broker.store import Store as BrokerStore
from mcshell.client.session import Session
from mcshell.client.store import Store
from mcshell.message import (
    Filter,
    Job,
    Plan,
    Reply,
    Request,
    Rule,
    State,
    Step,
    Via,
    When,
    new_request_id,
)
from mcshell.node import work
from mcshell.node.jobs import JobRow
from mcshell.pki import Authority
from mcshell.supervisor.inventory import Heard, Inventory
from mcshell.wire import destinations

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = Path(__file__).parent / "files"
DAY = 86_400.0
NOW = float(int(time.time()))
REALM = "realm-of-the-fixtures"
WEB = [f"web{number}" for number in range(1, 11)]
FACTS = {"os": {"name": "Debian", "release": "13"}, "cpu": 4, "umlaut": "Zürich"}
FINAL = {State.OK: 0, State.FAILED: 1, State.DENIED: 1, State.INTERRUPTED: 5, State.EXPIRED: 5}


class Keys:
    """A CA, an operator and nodes."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.init(folder)
        self.alice = Signer.from_pem(*authority.issue_pem("alice", "operator"))
        self.nodes = {
            name: Signer.from_pem(*authority.issue_pem(name, "node")) for name in (*WEB, "stranger")
        }


# --- a session: Record, targets, Outgoing, Word, jobs, plans ----------------------------------


def record(via: Via, **more: Any) -> Record:
    """A request of the history."""
    values: dict[str, Any] = {
        "id": new_request_id(),
        "agent": "package",
        "action": "status",
        "via": via,
        "collective": "mcs",
        "created": NOW,
        "expires": NOW + 30 * DAY,
        "filter": Filter(fact=("os.name=Debian",), cls=("web",)),
        "data": {"name": "openssl", "force": True, "depth": 3},
    }
    return Record(**{**values, **more})


def outgoing(keys: Keys, asked: Record, target: str) -> Outgoing:
    """The signed bytes of a request to one target, or to all."""
    request = Request(
        asked.id,
        asked.agent,
        asked.action,
        "cert=alice",
        asked.collective,
        asked.via,
        "patch-friday",
        asked.created,
        asked.expires,
        asked.data,
        filter=asked.filter,
        identity=None if asked.via in (Via.BROADCAST, Via.POOL) else target,
        pool=asked.pool,
    )
    sealed = seal_request(request, keys.alice)
    to = destinations.work("mcs", target) if target != "*" else destinations.broadcast("mcs")
    head = sealed.headers
    return Outgoing(asked.id, target, to, sealed.body, head[SIGNATURE], head[CERTIFICATE])


def word(keys: Keys, asked: Record, name: str, state: State, **more: Any) -> Word:
    """What a node says about a request, as the receiver keeps it."""
    attempt, target = more.pop("attempt", 0), more.pop("target", name)
    number = {State.RECEIVED: 0, State.RUNNING: 1}.get(state, 2) + 3 * attempt
    code = FINAL.get(state)
    said = more.pop("said", state.value)
    data = {"version": "3.0.14", "number": 7, **more} if state is State.OK else more
    reply = Reply(asked.id, name, number, code, said, data, NOW + number, state)
    sealed = seal_reply(reply, keys.nodes[name])
    head = sealed.headers
    kept = NOW + 10 + number
    return Word(reply, kept, sealed.body, head[SIGNATURE], head[CERTIFICATE], target)


def session(folder: Path, keys: Keys) -> None:
    """A session with requests of every way and targets in every state."""
    opened = Session.open(folder, "cert=alice", "mcs", "patch-friday")
    store = opened.store
    every = record(Via.QUEUE)
    store.add(every, WEB, [outgoing(keys, every, name) for name in WEB])
    store.mark_sent(every.id, WEB[:9], NOW + 1)
    store.mark_confirmed([outgoing(keys, every, name) for name in WEB[:8]], NOW + 2)
    states = [State.RECEIVED, State.RUNNING, *FINAL]
    words = [word(keys, every, name, state) for name, state in zip(WEB, states, strict=False)]
    words.append(word(keys, every, "web8", State.OK, text="x" * 70_000))
    words.append(word(keys, every, "stranger", State.OK))
    store.enter(words, durable=True)
    store.enter([word(keys, every, "web3", State.OK, version="4")], durable=True)  # duplicate
    plain_ = record(Via.BROADCAST, action="checkupdates", data={})
    store.add(plain_, WEB[:4])
    store.add_outgoing([outgoing(keys, plain_, "*")])
    store.mark_sent(plain_.id, WEB[:4], NOW + 1)
    store.enter([word(keys, plain_, "web1", State.OK)], durable=False)
    silent = [(name, "no reply") for name in ("web2", "web3")]
    store.judge(plain_.id, silent, State.SILENT)
    store.enter([word(keys, plain_, "web2", State.OK)], durable=False)  # late
    direct = record(Via.DIRECT, agent="rpcutil", action="ping", filter=Filter(), data={})
    store.add(direct, WEB[:2], [outgoing(keys, direct, name) for name in WEB[:2]])
    store.enter([word(keys, direct, "web1", State.DENIED, said="not for you")], durable=False)
    pool = record(Via.POOL, agent="sms", action="send", pool="sms", data={"to": "+41"})
    store.add(pool, ["pool:sms"], [outgoing(keys, pool, "pool:sms")])
    store.enter([word(keys, pool, "web4", State.RUNNING, target="pool:sms")], durable=True)
    again = word(keys, pool, "web5", State.OK, attempt=1, target="pool:sms")
    store.enter([again], durable=True)
    over = record(Via.QUEUE, created=NOW - 9 * DAY, expires=NOW - DAY)
    store.add(over, ["web1", "web2"])
    store.lapse(NOW)
    jobs(store, keys)
    plans(store, keys)
    store.set_meta("told_rows", "17")
    store.close()  # all of that is in the file itself
    last = Store(opened.path)
    last.add(record(Via.QUEUE, action="last", filter=Filter()), ["web1"])


def jobs(store: Store, keys: Keys) -> None:
    """A job that recurs, with a run that its nodes have told of."""
    asked = record(Via.QUEUE, agent="job", action="submit", data={"name": "nightly"})
    store.add(asked, WEB[:3], [outgoing(keys, asked, name) for name in WEB[:3]])
    job = Job(
        asked.id,
        1,
        "cert=alice",
        "mcs",
        "patch-friday",
        "package",
        "update",
        NOW,
        {"name": "openssl"},
        "nightly",
        When(cron="0 3 * * *", tz="Europe/Zurich", splay=600.0, until=NOW + 90 * DAY),
    )
    book = JobStore(store)
    book.add(KeptJob(job.id, "nightly", seal_job(job, keys.alice).body, asked.id))
    run = record(Via.QUEUE)
    first = Reply(run.id, "web1", 1, None, "", {}, NOW, State.RUNNING, job=job.id, run="03:00")
    book.adopt(first, NOW)
    book.add_run(new_request_id(), job.id, "03:00+1")


def plans(store: Store, keys: Keys) -> None:
    """A plan under way, one that is through, and one that stopped and was let go on."""
    book = PlanStore(store)
    for number, state in enumerate(("open", OK, STOPPED)):
        steps = (
            Step("drain", "service", "stop", {"service": "nginx"}, nodes=tuple(WEB[:3])),
            Step("patch", "package", "update", gates=(("drain", "90%"),)),
        )
        made = Plan(f"patch-{number}", number + 1, "cert=alice", "mcs", NOW, steps)
        sealed = seal_plan(made, keys.alice)
        head = sealed.headers
        plan = KeptPlan(
            plan_id(sealed.body),
            made.name,
            made.revision,
            NOW + number,
            sealed.body,
            head[SIGNATURE],
            head[CERTIFICATE],
            {"drain": [("web1",), ("web2", "web3")], "patch": [tuple(WEB[:3])]},
        )
        book.add(plan)
        if state != "open":
            book.settle(plan.id, state, "" if state == OK else "web2 failed")
    failures = [Accepted("drain", name, "no such unit", "cert=alice", NOW) for name in WEB[1:3]]
    book.accept(plan.id, failures)


def read_session(folder: Path) -> dict[str, Any]:
    """What the code of then reads."""
    store = Store(folder / "sessions" / "patch-friday.sqlite")
    requests = store.requests()
    book = JobStore(store)
    found = {
        "meta": {key: store.meta(key) for key in ("caller", "collective", "address", "told_rows")},
        "requests": requests,
        "entries": {one.id: store.entries(one.id) for one, _counts in requests},
        "outgoing": {one.id: store.outgoing(one.id) for one, _counts in requests},
        "unconfirmed": store.unconfirmed(1000, NOW),
        "replies": store.words(),
        "latest": [store.latest(), store.reply_count()],
        "jobs": [[one, one.job, book.runs(one.id)] for one in book.all()],
        "plans": PlanStore(store).all(),
    }
    found = plain(found)
    store.close()
    return found


# --- a node's work ----------------------------------------------------------------------------


def item(number: int, **more: Any) -> Work:
    """A request in the spool."""
    values: dict[str, Any] = {
        "identity": "web1",
        "id": f"{number:032x}",
        "via": "queue",
        "collective": "mcs",
        "agent": "package",
        "action": "update",
        "caller": "cert=alice",
        "session": "patch-friday",
        "created": NOW,
        "expires": NOW + 30 * DAY,
        "due": NOW + number,
        "received": NOW + 1,
        "body": f'{{"number": {number}, "text": "Zürich"}}'.encode(),
        "signature": "c2lnbmF0dXJl",
        "certificate": "Y2VydGlmaWNhdGU=",
    }
    return Work(**{**values, **more})


def said(one: Work, sequence: int, to: str = "/queue/mcs.reply.alice.patch-friday") -> work.Word:
    """A word in the outbox."""
    body = f'{{"id": "{one.id}", "sequence": {sequence}}}'.encode()
    return work.Word(one.identity, one.id, sequence, to, body, "c2ln", "Y2VydA==")


def job(number: int, state: str, keys: Keys, **more: Any) -> JobRow:
    """A job on the node."""
    made = Job(
        f"{number:032x}", 1, "cert=alice", "mcs", "patch-friday", "package", "update", NOW, {}
    )
    sealed = seal_job(made, keys.alice)
    values: dict[str, Any] = {
        "identity": "web1",
        "id": made.id,
        "revision": 1,
        "owner": "cert=alice",
        "session": "patch-friday",
        "author": "cert=alice",
        "collective": "mcs",
        "name": f"job-{number}",
        "agent": "package",
        "action": "update",
        "body": sealed.body,
        "signature": sealed.headers[SIGNATURE],
        "certificate": "Y2VydGlmaWNhdGU=",
        "received": NOW,
        "state": state,
    }
    return JobRow(**{**values, **more})


def node_work(folder: Path, keys: Keys) -> None:
    """Rows in every state, an outbox, jobs of every kind, a rule, a tombstone."""
    path = folder / "node" / "work.sqlite"
    spool = Spool(path)
    ends = ("ok", "failed", "denied", "interrupted", "expired")
    rows = [item(number) for number in range(1, 10)]
    spool.admit(rows, [said(rows[0], 0)])
    spool.admit([item(10, state="cancelled", statusmsg="cancelled by cert=bob", ended=NOW)])
    spool.admit([item(11, kind="job", job=f"{101:032x}", run="2026-11-25T03:00")])
    spool.admit([item(12, identity="web2")])
    spool.start([one.key for one in rows[:7]], NOW + 3)
    spool.finish(
        [
            End(one.key, state, code, f"it is {state}", NOW + 4, said(one, 2))
            for one, state, code in zip(rows, ends, (0, 1, 1, 5, 5), strict=False)
        ],
        more=[said(rows[0], 1, to="")],
    )
    spool.again([rows[5].key], NOW + 60)
    spool.turn([item(13, via="pool", pool="sms", state="running", attempt=1)], [])
    spool.turn([item(14, via="pool", pool="sms", state="running", attempt=1)], [])
    spool.forsake("web1", NOW + 5)
    spool.turn([item(15, via="pool", pool="sms", state="running", attempt=1)], [])
    every = job(102, "scheduled", keys, run="2026-11-26T03:00", planned=NOW, due=NOW + 9, runs=3)
    duty = "ab" * 32
    spool.arrange(
        [
            job(101, "queued", keys, run="2026-11-25T03:00", runs=1, last=NOW, attempt=1),
            every,
            job(103, "waiting", keys, ends=NOW + DAY),
            job(104, "paused", keys, skips=2),
            *(
                job(105 + number, state, keys, ended=NOW, statusmsg=f"is {state}")
                for number, state in enumerate((*ends, "missed", "cancelled"))
            ),
        ],
        words=[said(item(101), 0)],
        awaits=[(job(103, "", keys).key, [(f"{101:032x}", "ok"), (f"{102:032x}", "done")])],
        rule=RuleRow("web1", "machine", "cert=alice", "base", 7, duty, f"{101:032x}", NOW),
    )
    rule = Rule("base", 7, "cert=alice", "mcs", NOW, NOW + DAY, Filter())
    sealed = seal_rule(rule, keys.alice)
    spool.arrange([job(120, "scheduled", keys, body=sealed.body, owner="", due=NOW + 5)])
    spool.jobs.met(job(103, "", keys).key, f"{102:032x}")
    spool.close()
    last = Spool(path)
    last.admit([item(16)])
    last.said([1])


def read_work(folder: Path) -> dict[str, Any]:
    """What the code of then reads."""
    spool = Spool(folder / "node" / "work.sqlite")
    numbers = (*range(1, 17), *range(101, 112), 120)
    keys = [("web1", f"{number:032x}") for number in numbers] + [("web2", f"{12:032x}")]
    spool.jobs.serve(["web1"])
    found = {
        "rows": [spool.get(key) for key in keys],
        "seen": [spool.seen(*key) for key in keys],
        "unsaid": spool.unsaid(),
        "counts": spool.counts("web1"),
        "due": [one.id for one in spool.due("web1", NOW + DAY, 100)],
        "runs": spool.runs_of(("web1", f"{101:032x}")),
        "jobs": [spool.jobs.get(key) for key in keys],
        "next": [one.id for one in spool.jobs.due(NOW + DAY, 100)],
        "awaits": [spool.jobs.awaits(key) for key in keys],
        "waiting for": spool.jobs.waiting_for(("web1", f"{101:032x}")),
        "rules": spool.rules.held("web1", "machine"),
        "rule": spool.rules.get("web1", "machine", "cert=alice", "base"),
    }
    found = plain(found)
    spool.close()
    return found


# --- the four that had no version -------------------------------------------------------------


def node_claims(folder: Path, _keys: Keys) -> None:
    """Claims of two identities, won and refused, and one that was prolonged."""
    path = folder / "node" / "claims.sqlite"
    claims = Claims(path)
    wanted = [(name, f"{n:032x}", NOW + 9000 * DAY) for name in ("web1", "web2") for n in range(9)]
    assert all(claims.claim_many(wanted, NOW))
    assert not claims.claim("web1", f"{1:032x}", NOW + 9999 * DAY, NOW)
    claims.close()
    last = Claims(path, synchronous="FULL")
    assert last.claim("web1", "last", NOW + 9000 * DAY, NOW)


def known(folder: Path, _keys: Keys) -> None:
    """Nodes of two realms and collectives, of our wire and of the old one, and surveys."""
    path = folder / "known.sqlite"
    for realm in (REALM, "another realm"):
        opened = Known(path, realm)
        nodes = [
            KnownNode(
                name,
                NOW - number,
                facts=FACTS,
                classes=frozenset({"web", "base"}),
                agents=frozenset({"package", "rpcutil"}),
                collectives=("mcs", "eu"),
                version="0.1.0",
                pools=("sms",),
                started=NOW - DAY,
                crl=3,
                interval=300.0,
                skew=0.25,
            )
            for number, name in enumerate(WEB)
        ]
        opened.learn("mcs", nodes)
        opened.learn("eu", nodes[:2])
        opened.learn("mcs", [KnownNode("old1", NOW, trust="psk", described=NOW - 5, facts=FACTS)])
        opened.learn("mcs", [KnownNode("old2", NOW, trust="ssl")])
        opened.survey("mcs", Filter(), NOW - 60)
        opened.survey("mcs", Filter(fact=("os.name=Debian",)), NOW - 30)
        opened.forget("web10")
        opened.close()
    last = Known(path, REALM)
    last.touch("mcs", ["web2"], NOW + 100)


def read_known(folder: Path) -> dict[str, Any]:
    """What the code of then reads."""
    found: dict[str, Any] = {}
    for realm in (REALM, "another realm"):
        opened = Known(folder / "known.sqlite", realm)
        found[realm] = plain(
            {
                "nodes": {name: opened.nodes(name) for name in ("mcs", "eu", "none")},
                "trusts": opened.trusts("mcs"),
                "undescribed": opened.undescribed("mcs", 0.0),
                "seen": opened.seen("mcs", ["web2", "web10"]),
                "surveyed": [
                    opened.surveyed("mcs", one, NOW - since)
                    for one in (Filter(), Filter(fact=("os.name=Debian",)), Filter(cls=("x",)))
                    for since in (20, 40, 90)
                ],
            }
        )
        opened.close()
    return found


def supervisor_inventory(folder: Path, keys: Keys) -> None:
    """Registrations of two collectives, one of them heard twice."""
    path = folder / "supervisor" / "inventory.sqlite"

    def heard(name: str, collective: str, at: float) -> Heard:
        one = Registration(
            name, at, 300.0, FACTS, ("web",), ("package",), ("mcs", "eu"), machine=f"m-{name}"
        )
        sealed = seal_registration(one, keys.nodes[name])
        head = sealed.headers
        return Heard(collective, one, at + 1, sealed.body, head[SIGNATURE], head[CERTIFICATE])

    inventory = Inventory(path, REALM)
    inventory.keep([heard(name, "mcs", NOW) for name in WEB])
    inventory.keep([heard(name, "eu", NOW - 10) for name in WEB[:3]])
    inventory.close()
    last = Inventory(path, REALM)
    last.keep([heard("web4", "mcs", NOW + 50)])


def read_inventory(folder: Path) -> dict[str, Any]:
    """What the code of then reads."""
    inventory = Inventory(folder / "supervisor" / "inventory.sqlite", REALM)
    found = plain(
        {"all": list(inventory.all()), "page": inventory.page("mcs", "web3", 3 * 2000)},
    )
    inventory.close()
    return found


def broker_messages(folder: Path, _keys: Keys) -> None:
    """Persistent messages of several queues, with and without expiry, tried and dead ones."""
    store = BrokerStore(folder / "broker")

    def message(number: int, queue: str, **more: Any) -> Message:
        head = f"MESSAGE\ndestination:{queue}\nx-mcs-number:{number}\npersistent:true\n".encode()
        body = f'{{"number": {number}}}'.encode() + bytes(range(number % 256)) + b"x" * number
        return Message(number, queue, head, body, **{"expires": 0.0, **more})

    messages = [
        message(number, f"/queue/mcs.{kind}", expires=expires)
        for number, (kind, expires) in enumerate(
            [
                (kind, expires)
                for kind in ("work.web1", "work.web2", "pool.sms", "reply.alice.patch-friday")
                for expires in (0.0, NOW + 180 * DAY, NOW - 5)
            ],
            1000,
        )
    ]
    for one in (*messages, message(2000, "/queue/DLQ"), message(3000, "/queue/gone")):
        store.put(one)
    store.commit()
    for one in messages[:2]:
        one.tries = 2
        store.tried(one)
    store.delete(message(3000, "/queue/gone"))
    store.close()
    last = BrokerStore(folder / "broker")
    last.put(message(4000, "/queue/mcs.work.web1"))
    last.commit()


def read_broker(folder: Path) -> list[Any]:
    """What the code of then reads."""
    store = BrokerStore(folder / "broker")
    found = plain(store.load())
    store.close()
    return found


# --- all of them ------------------------------------------------------------------------------

MAKERS: dict[str, tuple[Callable[[Path, Keys], None], Callable[[Path], Any] | None]] = {
    "session": (session, read_session),
    "work": (node_work, read_work),
    "claims": (node_claims, None),
    "known": (known, read_known),
    "inventory": (supervisor_inventory, read_inventory),
    "messages": (broker_messages, read_broker),
}


def killed_at_the_end(make: Callable[[Path, Keys], None], keys: Keys) -> None:
    """Have a process make a file, and die of kill -9 before it closes it."""
    child = os.fork()
    if not child:
        try:
            make(FILES, keys)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    _pid, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        sys.exit(f"{make.__name__} ended by itself")


def main() -> None:
    """Make the files, read copies of them, and write down what was read."""
    shutil.rmtree(FILES, ignore_errors=True)
    for name in ("", "node", "supervisor"):
        (FILES / name).mkdir(parents=True)
    found: dict[str, Any] = {"now": NOW, "realm": REALM}
    found["versions"] = {"session": SESSION_VERSION, "work": WORK_VERSION}
    with tempfile.TemporaryDirectory() as folder:
        keys = Keys(Path(folder) / "pki")
        shutil.copy(Path(folder) / "pki" / "ca.pem", FILES / "ca.pem")
        for name, (make, read) in MAKERS.items():
            killed_at_the_end(make, keys)
            copy = Path(folder) / name
            shutil.copytree(FILES, copy)
            found[name] = None if read is None else read(copy)
    for trace in (*FILES.rglob("*-shm"), *FILES.rglob("*.lock")):
        trace.unlink()  # of processes that are no more
    (FILES / "expected.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")
    for path in sorted(FILES.rglob("*")):
        if path.is_file():
            sys.stdout.write(f"{path.stat().st_size:8} {path.relative_to(FILES)}\n")


if __name__ == "__main__":
    main()
