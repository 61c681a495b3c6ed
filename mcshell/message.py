"""The values that travel: a `Request` goes out, `Reply` values come back.

Frozen and slotted, plain data, no I/O and no clock: whoever needs the time passes it in.
Times are seconds since the epoch (UTC, float).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "JOB_STATES",
    "LATE",
    "NATIVE",
    "Approval",
    "Duty",
    "Filter",
    "Job",
    "Plan",
    "Proposal",
    "Reply",
    "ReplySequence",
    "Request",
    "Rule",
    "State",
    "StatusCode",
    "Step",
    "Turn",
    "Via",
    "When",
    "made_id",
    "new_nonce",
    "new_request_id",
    "run_id",
]


LATE: Final = 3600.0
"""Seconds after its time for which a start is still worth it, where a job does not say."""


NATIVE: Final = "mcs"
"""The trust of what came over our own signed wire."""


class Via(StrEnum):
    """The way a request takes to its nodes (§5)."""

    BROADCAST = "broadcast"
    DIRECT = "direct"
    QUEUE = "queue"
    POOL = "pool"

    @property
    def durable(self) -> bool:
        """Whether the broker keeps the request for a node that is down."""
        return self in (Via.QUEUE, Via.POOL)


class State(StrEnum):
    """The one state a target is in (§5).

    Attributes:
        PENDING: it was asked, or will be, and has not answered yet.
        RECEIVED: the node has it, and has not begun.
        RUNNING: the node is at it.
        OK: done.
        FAILED: the agent could not do it, or there is no such agent, action or input; the statusmsg
            says why.
        DENIED: the node's policy says no.
        INTERRUPTED: it died between its start and its outcome; it is not run again unless the
            action is safe to run twice.
        SILENT: no reply in time, and no answer to a probe; a late reply takes its place.
        EXPIRED: its time was over before the node had it or began it; a late reply takes its place.
    """

    PENDING = "pending"
    RECEIVED = "received"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    DENIED = "denied"
    INTERRUPTED = "interrupted"
    SILENT = "silent"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether the node itself said so: in its last reply, or asked, where that is lost."""
        return self in _FINAL

    @property
    def judged(self) -> bool:
        """Whether the client put it here for lack of a reply; a late reply replaces it."""
        return self in _JUDGED

    @property
    def closed(self) -> bool:
        """Whether nothing more is waited for."""
        return self not in _OPEN


# Asked of every reply: to name a member of an enumeration takes longer than to look for one.
_OPEN: Final = (State.PENDING, State.RECEIVED, State.RUNNING)
_FINAL: Final = (State.OK, State.FAILED, State.DENIED, State.INTERRUPTED)
_JUDGED: Final = (State.SILENT, State.EXPIRED)


JOB_STATES: Final[Mapping[str, str]] = {
    "scheduled": "its time has not come",
    "waiting": "it waits for another job, which its author named",
    "paused": "it starts nothing until it is resumed",
    "queued": "its time has come, and it waits for a slot",
    "running": "a run of it is under way",
    "ok": "its last run is done",
    "failed": "its last run has failed, and there are no retries left",
    "denied": "policy said no",
    "missed": "the node slept through its start, and it was too late",
    "cancelled": "somebody has cancelled it",
    "interrupted": "a run died between its start and its outcome",
    "expired": "its end came before its start",
}
"""Where a job may stand on a node, and what that means."""


class ReplySequence:
    """The numbers of a node's replies about one request; each further attempt adds 3."""

    RECEIVED = 0
    RUNNING = 1
    FINAL = 2
    STEP = 3


class StatusCode:
    """MCollective's statuscodes (§5)."""

    OK = 0
    FAILED = 1
    UNKNOWN_ACTION = 2
    MISSING_DATA = 3
    INVALID_DATA = 4
    UNKNOWN_ERROR = 5


@dataclass(frozen=True, slots=True)
class Filter:
    """Which nodes a request is for, as the operator wrote it; all parts must match.

    Each part is the text of one option: `fact` "os=Debian", `cls` a class, `agent` an agent,
    `identity` a name or /regex/ (one of them must match), `compound` an expression.
    `mcshell.filters` gives these their meaning.
    """

    fact: tuple[str, ...] = ()
    cls: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    compound: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it excludes anyone at all."""
        return bool(self.fact or self.cls or self.agent or self.identity or self.compound)

    def as_dict(self) -> dict[str, list[str]]:
        """Its form in the envelope."""
        return {
            "fact": list(self.fact),
            "class": list(self.cls),
            "agent": list(self.agent),
            "identity": list(self.identity),
            "compound": list(self.compound),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Filter:
        """Read the envelope's form; raises KeyError or TypeError when it is another."""
        if document == _NO_TERMS:
            return _EVERYONE

        def words(name: str) -> tuple[str, ...]:
            value = document[name]
            if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
                raise TypeError(f"filter.{name} is not a list of strings")
            return tuple(value)

        return cls(
            words("fact"), words("class"), words("agent"), words("identity"), words("compound")
        )


_EVERYONE: Final = Filter()
_NO_TERMS: Final = _EVERYONE.as_dict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to the fleet. `identity` is set when it is addressed to one node.

    `id` is made of `nonce` (see `made_id`), but for the runs of jobs. `job`, `run` and `digest` do
    not travel: a node sets the first two where the question is one run of a job, the last is the
    SHA-256 of the bytes that were signed, in hexadecimal, which every reply repeats. `emergency` is why
    it is to be done without the approvals that it wants; "" without such a reason.
    """

    id: str
    agent: str
    action: str
    caller: str
    collective: str
    via: Via
    session: str
    created: float
    expires: float
    data: Mapping[str, Any] = field(default_factory=dict)
    filter: Filter = field(default_factory=Filter)
    identity: str | None = None
    pool: str | None = None
    nonce: str = ""
    job: str | None = None
    run: str = ""
    digest: str = ""
    emergency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply of a node about a request; `sequence` says which (see `ReplySequence`).

    `state` is where the node says that it stands: a code alone cannot tell `denied` from
    `failed`. `statuscode` is None until the final reply. `trust` is "mcs" for our own signed
    wire, else the name of MCollective's security plugin that vouched for it.
    `job` and `run` are set on a reply about one run of a recurring job (see `run_id`). `digest` is
    the SHA-256, in hexadecimal, of the signed bytes that it answers: a request, or the revision of
    a job; empty where version 1 of the wire or MCollective bound it to nothing but the id.
    `machine` tells the node from another machine of the same name; empty where it says nothing.
    """

    requestid: str
    sender: str
    sequence: int
    statuscode: int | None
    statusmsg: str
    data: Mapping[str, Any]
    created: float
    state: State
    trust: str = NATIVE
    job: str | None = None
    run: str = ""
    digest: str = ""
    machine: str = ""

    @property
    def final(self) -> bool:
        """Whether this is the node's last reply (of this attempt)."""
        return self.sequence % ReplySequence.STEP == ReplySequence.FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """When a job starts, as wall time in a zone; never an instant (`mcshell.schedule`).

    `at` is "2026-11-25T04:00"; `cron` five fields; `every` seconds from `at` on. None of the three
    is "at once". `tz` is "node" or an IANA name. `splay` spreads the nodes over so many seconds.
    `late`: how many seconds after its time a start is still worth it. `until` (epoch): no start
    after it.
    """

    at: str | None = None
    cron: str | None = None
    every: float | None = None
    tz: str = "node"
    splay: float = 0.0
    late: float = LATE
    until: float | None = None

    @property
    def recurs(self) -> bool:
        """Whether it has more than one start."""
        return self.cron is not None or self.every is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request that lives on the nodes until its time, signed by its author (§10).

    `id` is that of the request that submitted it; each edit is a new `revision`. `after` are
    conditions, each a job id with `:ok`, `:failed` or `:done`. `backoff` and `max_runtime` are
    seconds. Results go to the `session` of the author.
    """

    id: str
    revision: int
    author: str
    collective: str
    session: str
    agent: str
    action: str
    created: float
    data: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    when: When = field(default_factory=When)
    after: tuple[str, ...] = ()
    retries: int = 0
    backoff: float = 60.0
    max_runtime: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One job of a rule, as `Job`; `after` names other duties of the rule, each with its end."""

    name: str
    agent: str
    action: str
    data: Mapping[str, Any] = field(default_factory=dict)
    when: When = field(default_factory=When)
    after: tuple[str, ...] = ()
    retries: int = 0
    backoff: float = 60.0
    max_runtime: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which jobs a machine should have that matches a filter, signed by its author (§10).

    A new `revision` takes the place of the old one, with its jobs; one without duties withdraws
    it. No node takes it after `expires` (epoch).
    """

    name: str
    revision: int
    author: str
    collective: str
    created: float
    expires: float
    filter: Filter
    duties: tuple[Duty, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a plan: an action on some nodes, wave after wave (§10).

    `nodes` are names, else `filter` finds them. `waves` are numbers, percentages and, at the end,
    "rest". With so many failures as `stop` says ("1", "10%") the plan stops. `gates` are the steps
    that come before, each with what it takes: "ok", "done" or a percentage of its nodes.
    """

    name: str
    agent: str
    action: str
    data: Mapping[str, Any] = field(default_factory=dict)
    filter: Filter = field(default_factory=Filter)
    nodes: tuple[str, ...] | None = None
    waves: tuple[str, ...] = ("rest",)
    stop: str = "1"
    ttl: float = 3600.0
    gates: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps across nodes with gates between them, signed by the operator who runs it.

    `targets` is the digest of whom each wave is for (`documents.plan.targets_digest`); "" before
    that is known. `run` is the id of this run of it, where these bytes are not those that began it.
    """

    name: str
    revision: int
    author: str
    collective: str
    created: float
    steps: tuple[Step, ...]
    targets: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What an operator would have done, for others to approve: an action on nodes, once on each.

    `nodes` are its targets by name; each has to match `filter` still when it begins. `schema` is the
    digest of the action's (`ddl.Action.digest`). Nothing begins after `expires` (epoch).
    `why` is for those who are to approve.
    """

    author: str
    collective: str
    agent: str
    action: str
    data: Mapping[str, Any]
    nodes: tuple[str, ...]
    filter: Filter
    schema: str
    created: float
    expires: float
    nonce: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An operator's yes to one proposal: `proposal` is the SHA-256 of its bytes, in hexadecimal."""

    author: str
    proposal: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation between an operator and a node; either of them signs it.

    `word` is open, turn, close, ack or reset. The first three are numbered by `sequence`, from 1
    for each direction; the others have 0. `ack` is the number up to which the sender has got all
    of the other's, `limit` the number up to which the other may send. `data` is any JSON.
    An operator's `open` carries the `nonce` that `id` is made of; each turn of the node the
    `digest` of that `open`, SHA-256 in hexadecimal.
    """

    id: str
    protocol: str
    caller: str
    node: str
    collective: str
    session: str
    word: str
    sequence: int
    ack: int
    limit: int
    created: float
    data: Any = None
    nonce: str = ""
    digest: str = ""


def made_id(kind: str, maker: str, nonce: str) -> str:
    """The id of what `maker` (a callerid) has made: so nobody can take that of another's first.

    `kind` is the document's, `nonce` 32 hexadecimal digits that are signed with it.
    """
    return hashlib.sha256(f"{kind}\n{maker}\n{nonce}".encode()).hexdigest()[:32]


def new_nonce() -> str:
    """128 random bits: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def new_request_id(caller: str) -> tuple[str, str]:
    """Make the id of a request of this caller's, and the nonce that it is made of."""
    nonce = new_nonce()
    return made_id("request", caller, nonce), nonce


def run_id(job: str, run: str) -> str:
    """The request id of one run of a recurring job: the same on all nodes.

    `run` names the start by its wall time, so no run is ever done twice, whatever a clock does.
    What is hashed begins with the job's id, so that no `made_id` can be this one.
    """
    return hashlib.sha256(f"{job}/{run}".encode()).hexdigest()[:32]
