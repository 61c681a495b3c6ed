"""The six kinds of file: where each is, who opens it, what is read in it.

A kind that changes its tables adds a version in `mcshell/`, and nothing here; one whose classes or
methods get other names changes its `read`.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.broker.store import MESSAGES, MessageStore
from mcshell.client.discovery.node_cache import KNOWN, NodeCache
from mcshell.client.store.schema import SESSION
from mcshell.client.store.store import SessionStore
from mcshell.errors import ConfigError, MCShellError, SessionError
from mcshell.message import Filter
from mcshell.node.admission.replay import CLAIMS, ReplayGuard
from mcshell.node.store.spool import WORK, Spool
from mcshell.supervisor.inventory import INVENTORY, HeardRegistration, Inventory
from tests.migrations.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.sqlite import FileKind

FILES = Path(__file__).parent / "files"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())
NOW: float = EXPECTED["now"]
REALM: str = EXPECTED["realm"]
REALMS = (REALM, "another realm")
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind. `path` and `old` are where it is now and where 67a4456 had it, in a state folder.

    `open` opens it as its owner does, `read` gives what the owner reads, as JSON. `new_rows` are
    further rows, as the code of then wrote them: a statement for `old`, and values.
    """

    name: str
    kind: FileKind
    old: str
    path: str
    open: Callable[[Path], Any]
    read: Callable[[Any], Any]
    error: type[MCShellError] = ConfigError
    new_row: tuple[str, tuple[Any, ...]] = ("", ())

    def __str__(self) -> str:
        return self.name

    def opened(self, state: Path) -> Any:
        """The owner, as a context manager that closes it."""
        return closing(self.open(state))


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of a file, with what is only in its WAL."""
    with closing(sqlite3.connect(path)) as db:
        tables = [
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        return {
            name: sorted(db.execute(f"SELECT * FROM {name}"), key=repr)
            for name in tables
            if name != "sqlite_sequence"
        }


def read_session(store: SessionStore) -> Any:
    """Requests, ledgers, signed bytes, replies, jobs and plans."""
    # They were listed as they came into the file, and are by when they were made.
    place = [record["id"] for record, _counts in EXPECTED["session"]["requests"]]
    requests = sorted(store.requests(), key=lambda one: place.index(one[0].id))
    return {
        "meta": {key: store.meta(key) for key in ("caller", "collective", "address", "told_rows")},
        "requests": requests,
        "entries": {one.id: store.entries(one.id) for one, _counts in requests},
        "outgoing": {one.id: store.outgoing(one.id) for one, _counts in requests},
        "unconfirmed": store.unconfirmed(1000, NOW),
        "replies": [tuple(one) for one in store.replies()],
        "latest": [store.latest(), store.reply_count()],
        "jobs": [[one, one.job, store.jobs.runs(one.id)] for one in store.jobs.all()],
        "plans": store.plans.all(),
    }


def _seen(spool: Spool, identity: str, request: str) -> dict[str, Any] | None:
    """What is known of a request; for what a job waits was not said yet."""
    known = spool.seen(identity, request)
    if known is not None and str(known.get("reason")).startswith("a job: it starts after "):
        known["reason"] = "a job: waiting"
    return known


def read_work(spool: Spool) -> Any:
    """Rows, outbox, jobs and what they wait for, rules."""
    numbers = (*range(1, 17), *range(101, 112), 120)
    keys = [("web1", f"{number:032x}") for number in numbers] + [("web2", f"{12:032x}")]
    spool.jobs.serve(["web1"])
    return {
        "rows": [spool.get(key) for key in keys],
        "seen": [_seen(spool, *key) for key in keys],
        "unsaid": spool.unconfirmed(),
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


def read_claims(guard: ReplayGuard) -> Any:
    """Nothing but a second claim can ask for them: none of what was claimed is free."""
    wanted = [(name, f"{n:032x}", NOW) for name in ("web1", "web2") for n in range(9)]
    assert not any(guard.claim_many([*wanted, ("web1", "last", NOW)], NOW))


class Caches:
    """The known nodes of both realms."""

    def __init__(self, path: Path) -> None:
        self.realms = {realm: NodeCache(path, realm) for realm in REALMS}

    def close(self) -> None:
        """Close both."""
        for one in self.realms.values():
            one.close()


def read_known(caches: Caches) -> Any:
    """Nodes, the wires they are known over, surveys."""
    debian = Filter(fact=("os.name=Debian",))
    return {
        realm: {
            "nodes": {name: known.nodes(name) for name in ("mcs", "eu", "none")},
            "trusts": known.trusts("mcs"),
            "undescribed": known.undescribed("mcs", 0.0),
            "seen": known.seen("mcs", ["web2", "web10"]),
            "surveyed": [
                known.surveyed("mcs", one, NOW - since)
                for one in (Filter(), debian, Filter(cls=("x",)))
                for since in (20, 40, 90)
            ],
        }
        for realm, known in caches.realms.items()
    }


def read_inventory(inventory: Inventory) -> Any:
    """Registrations, all of them and a page."""
    page, complete = inventory.page("mcs", "web3", 3 * 2000)
    return {"all": list(map(_heard, inventory.all())), "page": [list(map(_heard, page)), complete]}


def _heard(one: HeardRegistration) -> Any:
    """A registration as 67a4456 knew it: it said nothing of an audit log."""
    heard = plain(one)
    assert heard["registration"].pop("audit") is None
    return heard


KINDS = (
    Kind(
        name="session",
        kind=SESSION,
        old="sessions/patch-friday.sqlite",
        path="sessions/patch-friday.sqlite",
        open=lambda state: SessionStore(state / "sessions" / "patch-friday.sqlite"),
        read=read_session,
        error=SessionError,
    ),
    Kind(
        name="work",
        kind=WORK,
        old="node/work.sqlite",
        path="node/work.sqlite",
        open=lambda state: Spool(state / "node" / "work.sqlite"),
        read=read_work,
    ),
    Kind(
        name="claims",
        kind=CLAIMS,
        old="node/claims.sqlite",
        path="node/replay.sqlite",
        open=lambda state: ReplayGuard(state / "node" / "replay.sqlite"),
        read=read_claims,
        new_row=("INSERT INTO claims VALUES (?, ?, ?)", ("web1", "new", 1e12)),
    ),
    Kind(
        name="known",
        kind=KNOWN,
        old="known.sqlite",
        path="nodes.sqlite",
        open=lambda state: Caches(state / "nodes.sqlite"),
        read=read_known,
        new_row=("INSERT INTO nodes VALUES (?, ?, ?, ?, ?)", (REALM, "eu", "new", NOW, "{}")),
    ),
    Kind(
        name="inventory",
        kind=INVENTORY,
        old="supervisor/inventory.sqlite",
        path="supervisor/registrations.sqlite",
        open=lambda state: Inventory(state / "supervisor" / "registrations.sqlite", REALM),
        read=read_inventory,
        new_row=(
            "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (REALM, "eu", "new", NOW, NOW, b"{}", "c2ln", "Y2VydA=="),
        ),
    ),
    Kind(
        name="messages",
        kind=MESSAGES,
        old="broker/broker.sqlite",
        path="broker/messages.sqlite",
        open=lambda state: MessageStore(state / "broker"),
        read=MessageStore.load,
        new_row=(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)",
            (5000, "/queue/new", b"MESSAGE\n", b"new", 0.0, 0),
        ),
    ),
)


def read(kind: Kind, owner: Any) -> Any:
    """What an owner reads, as `expected.json` has it."""
    return plain(kind.read(owner))
