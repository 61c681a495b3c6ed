"""The rows of a session file as values, and back."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from mcshell.client.store.ledger import LedgerEntry
from mcshell.errors import SessionError
from mcshell.message import Filter, Reply, State, Via
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import digest_of, is_old, read_reply
from mcshell.wire.documents.rule import read_job

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence


__all__ = [
    "LARGE",
    "JobDocument",
    "Members",
    "NewRequest",
    "OutgoingMessage",
    "ReplyRecord",
    "ReplyRow",
    "RequestRecord",
    "SignedDigest",
    "StoredData",
    "add_digests",
    "kept_reply",
    "slim",
    "target_of",
]

#: Replies of more bytes than this leave their data in the file until it is looked at.
LARGE = 64 * 1024

#: Bytes that were signed: about which request, for which target (`*`: any), and their SHA-256.
SignedDigest = tuple[str, str, str]

#: Whether a node may answer for a pool: (pool, sender).
Members = Callable[[str, str], bool]

_STATES = {state.value: state for state in State}

OUTGOING = (
    "SELECT o.request, o.sender, o.destination, o.body, o.signature,"
    " c.text AS certificate, r.expires, o.confirmed"
    " FROM outgoing o JOIN requests r ON r.id=o.request JOIN certificates c ON c.id=o.certificate"
)
COLUMNS = "id, agent, action, via, collective, created, expires, filter, data, pool, options"
RECORDS = f"SELECT {COLUMNS} FROM requests"  # noqa: S608 - our own names
INSERT = f"INSERT INTO requests ({COLUMNS}) VALUES ({', '.join('?' * 11)})"  # noqa: S608 - our own names


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request of the session's history. `data` is redacted where the DDL says so.

    `nonce` is what a new one's id is made of; it is kept in the signed bytes alone. `options` is how
    it was put (`RequestOptions.put`), where its times and targets do not say so.
    """

    id: str
    agent: str
    action: str
    via: Via
    collective: str
    created: float
    expires: float
    filter: Filter
    data: dict[str, Any]
    pool: str | None = None
    nonce: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grows(self) -> bool:
        """Whether it went out on what was known: who answers and was no target becomes one (§5)."""
        return self.options.get("grows") is True

    @property
    def pool_target(self) -> str:
        """The one target of a request to a pool."""
        return f"pool:{self.pool}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """One signed message of a request: to one target, or to `*`. `expires` is epoch seconds."""

    request: str
    sender: str
    destination: str
    body: bytes
    signature: str
    certificate: str
    expires: float = 0.0

    def __str__(self) -> str:
        return f"request {self.request[:8]} to {self.sender}"

    @property
    def digest(self) -> SignedDigest:
        """What a reply to it says that it answers."""
        anyone = self.sender.startswith(("*", "pool:"))
        return self.request, "*" if anyone else self.sender, digest_of(self.body)


@dataclass(frozen=True, slots=True)
class JobDocument:
    """A job as it was signed, to be kept; `secret`: its inputs are, beyond its end, not to be."""

    body: bytes
    secret: bool


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request that is to be kept: its targets, what goes out, and the documents of its job.

    `jobs` are what a durable request carries to the nodes, where it is about one: an edit perhaps not
    the same to each. `secret`: among the inputs in these bytes are such as are not to be kept.
    """

    record: RequestRecord
    targets: Sequence[str]
    outgoing: Sequence[OutgoingMessage] = ()
    jobs: Sequence[JobDocument] = ()
    secret: bool = False

    def digests(self) -> list[SignedDigest]:
        """What replies may say that they answer: each message, and any revision of its job.

        To what was asked under version 1 of the wire they say nothing.
        """
        found = [one.digest for one in self.outgoing]
        if any(is_old(one.body) for one in self.outgoing):
            found.append((self.record.id, "*", ""))
        found += [(read_job(one.body).id, "*", digest_of(one.body)) for one in self.jobs]
        return found


class ReplyRecord(NamedTuple):
    """A reply of a node with the bytes it came in as.

    `kept` is when it was verified (epoch), a moment before its commit; `target` whose row in the
    ledger it is about: the sender's own, or its pool's.
    """

    reply: Reply
    kept: float
    body: bytes
    signature: str
    certificate: str
    target: str


#: The columns of a reply in its table, the body first.
ReplyRow = tuple[bytes, str, str, int, float, str, int, str]


class ReplyBodies(Protocol):
    """Where replies are kept (`store.SessionStore`)."""

    def body(self, request: str, sender: str, sequence: int) -> bytes:
        """One reply's bytes."""


class StoredData(Mapping[str, Any]):
    """The data of a large reply: it stays in the file, and is read whenever it is looked at.

    Only the one that was read last is kept: whoever goes through its outputs reads it once.
    """

    _last: ClassVar[tuple[Any, tuple[str, str, int], Mapping[str, Any]] | None] = None

    def __init__(self, store: ReplyBodies, request: str, sender: str, sequence: int) -> None:
        self._where = (request, sender, sequence)
        self._store = store

    def _load(self) -> Mapping[str, Any]:
        last = StoredData._last
        if last is not None and last[0]() is self._store and last[1] == self._where:
            return last[2]
        data = data_of(self._store.body(*self._where))
        StoredData._last = weakref.ref(self._store), self._where, data
        return data

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Travel whole: a pickle has no file."""
        return dict, (dict(self._load()),)

    def __getitem__(self, name: str) -> Any:
        """One output, read from the file."""
        return self._load()[name]

    def __iter__(self) -> Iterator[str]:
        """The names of the outputs, read from the file."""
        return iter(self._load())

    def __len__(self) -> int:
        """The number of outputs, read from the file."""
        return len(self._load())


def of_record(record: RequestRecord) -> tuple[Any, ...]:
    """The columns of a request, in the order of its table."""
    return (
        record.id,
        record.agent,
        record.action,
        record.via.value,
        record.collective,
        record.created,
        record.expires,
        json.dumps(record.filter.as_dict()),
        json.dumps(record.data, default=str),
        record.pool,
        json.dumps(record.options),
    )


def record_of(row: Sequence[Any]) -> RequestRecord:
    """A request from its columns; SessionError where they are those of none, as of a foreign file."""
    id_, agent, action, via, collective, created, expires, filter_, data, pool, options = row
    try:
        found = RequestRecord(
            id=id_,
            agent=agent,
            action=action,
            via=Via(via),
            collective=collective,
            created=created,
            expires=expires,
            filter=Filter.from_dict(json.loads(filter_)),
            data=json.loads(data),
            pool=pool,
            options=json.loads(options),
        )
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise SessionError(f"request {str(id_)[:40]!r} is kept as none can be: {said}") from error
    if not isinstance(found.data, dict) or not isinstance(found.options, dict):
        raise SessionError(f"request {str(id_)[:40]!r} is kept as none can be: no hash of inputs")
    return found


def outgoing_of(row: sqlite3.Row) -> OutgoingMessage:
    """A signed message from its columns."""
    return OutgoingMessage(**{name: row[name] for name in row.keys() if name != "confirmed"})  # noqa: SIM118 - a Row iterates over its values


def entry_of(
    request: str, row: Sequence[Any], data: Mapping[tuple[str, int], Mapping[str, Any]]
) -> LedgerEntry:
    """A ledger's entry from its columns; `data` gives the outputs by (sender, sequence)."""
    sender, state, late, duplicate, unexpected, sent, received, running, done = row[:9]
    attempt, reason, sequence, statuscode, statusmsg, trust, worker = row[9:]
    reply = None
    if sequence is not None:
        author = worker or sender
        outputs = data.get((author, sequence), {})
        reply = Reply(
            requestid=request,
            sender=author,
            sequence=sequence,
            statuscode=statuscode,
            statusmsg=statusmsg,
            data=outputs,
            created=done,
            state=_STATES[state],
            trust=trust,
        )
    return LedgerEntry(
        sender=sender,
        state=_STATES[state],
        late=bool(late),
        duplicate=bool(duplicate),
        unexpected=bool(unexpected),
        sent=sent,
        received=received,
        running=running,
        done=done,
        attempt=attempt,
        reason=reason,
        reply=reply,
        worker=worker,
    )


def kept_reply(body: bytes, trust: str) -> Reply:
    """A reply from its kept bytes, which are JSON but for those of the old wire."""
    if body.startswith(b"{"):
        return read_reply(body, trust=trust)
    from mcshell.wire.mcollective import stored as kept  # noqa: PLC0415 - where the old wire was spoken

    return kept.load(body, trust)


def data_of(body: bytes) -> Mapping[str, Any]:
    """The outputs in a kept reply's bytes; it was verified when it came in."""
    return kept_reply(body, "").data


def target_of(record: RequestRecord, sender: str, members: Members) -> str:
    """Whose row a reply is about: a pool's, when the sender may answer for it; else its own."""
    if record.pool is not None and members(record.pool, sender):
        return record.pool_target
    return sender


def slim(received: ReplyRecord, store: ReplyBodies) -> Reply:
    """A kept reply; the data of a large one stays in the file."""
    reply = received.reply
    if len(received.body) <= LARGE:
        return reply
    return replace(reply, data=StoredData(store, reply.requestid, reply.sender, reply.sequence))


def add_digests(db: sqlite3.Connection, digests: Iterable[SignedDigest]) -> None:
    """Keep which bytes replies may say that they answer."""
    db.executemany("INSERT OR IGNORE INTO digests VALUES (?,?,?)", digests)
