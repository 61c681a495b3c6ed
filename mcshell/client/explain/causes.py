"""Why a node is silent, from the evidence alone: pure, no I/O, no clock (mcshell/README.md §9).

Each rule looks at the `Evidence` and names the causes it sees, the most likely first. A cause is
*observed* when somebody said so, signed: the node's own reply, its answer to a probe, our own
records; it is *inferred* when it only follows from what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from mcshell import table
from mcshell.client.discovery.methods import age
from mcshell.client.store.ledger import two_machines
from mcshell.errors import Reason
from mcshell.message import State, StatusCode, Via
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mcshell.client.discovery.node_cache import CachedNode
    from mcshell.client.messaging.rejections import Rejection
    from mcshell.client.store.ledger import LedgerEntry
    from mcshell.client.store.records import RequestRecord
    from mcshell.errors import Rejected

__all__ = ["Cause", "Evidence", "Probe", "causes", "columns"]

Kind = Literal["observed", "inferred"]

_TOO_LATE: Final = "expired before it was taken"
_CLOCK: Final = "clock off"

_MOST_FLAWS: Final = 10

OFF: Final = 5.0
"""A clock that differs by more than this is named, seconds."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason, how we know, what says so, and since when (epoch) it has been so."""

    cause: str
    kind: Kind
    evidence: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """A node's answer to the question what it knows of the request; times are epoch seconds.

    `skew` is how far its clock is ahead of ours.
    """

    said: Mapping[str, Any]
    skew: float

    @property
    def state(self) -> str:
        """Where the request stands there."""
        return str(self.said.get("state", "unknown"))

    @property
    def reason(self) -> str:
        """The node's own replies about it."""
        return str(self.said.get("reason") or "")

    def at(self, name: str) -> float | None:
        """One of its times."""
        value = self.said.get(name)
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of one node and one request. None is: there is no such evidence.

    `node` is the worker, where a pool's row was taken by one. `entry` is its row of the ledger; `confirmed` when the broker confirmed the SEND of a durable
    request; `refused` why a message in the node's name was refused here; `own` what is
    wrong with our own certificate; `machines` those that answer under its name, where there are
    several; `turned_away` why it has refused our probe, as it says in a registration; `members` the known nodes that serve the request's pool;
    `offline` why we could ask nobody; `held_back` what says that the broker takes nothing of ours; `dropped` that
    it drops what has an end.
    """

    node: str
    now: float
    record: RequestRecord | None = None
    entry: LedgerEntry | None = None
    confirmed: float | None = None
    known: CachedNode | None = None
    probe: Probe | None = None
    refused: Rejection | None = None
    own: Rejected | None = None
    machines: tuple[str, ...] = ()
    turned_away: str = ""
    members: tuple[str, ...] = ()
    offline: str = ""
    held_back: str = ""
    dropped: str = ""

    @property
    def durable(self) -> bool:
        """Whether the broker keeps the request."""
        return self.record is not None and self.record.via.durable

    @property
    def sent(self) -> float | None:
        """When the request went out to it."""
        return None if self.entry is None else self.entry.sent


def causes(evidence: Evidence) -> list[Cause]:
    """Name the causes, the most likely first; at least one."""
    if (answered := _answered(evidence)) is not None:
        dated = answered.cause in (_TOO_LATE, _CLOCK)
        clock = list(_clock(evidence)) if dated else []
        more = [*([] if clock else _disputed(evidence)), *_several(evidence), *_flaws(evidence)]
        return [*clock, answered, *more]
    rules = (
        _ours,
        _theirs,
        _account,
        _clock,
        _turned_away,
        _several,
        _expired,
        _pool,
        _absent,
        _broker,
        _claimed,
        _flaws,
    )
    found = [cause for rule in rules for cause in rule(evidence)]
    if not found:
        found = [Cause("unknown", "inferred", "there is no evidence of anything")]
    return found


def columns(found: Sequence[Cause]) -> dict[str, table.Column]:
    """The columns of a table of causes."""
    return {
        "cause": ("string", [cause.cause for cause in found]),
        "kind": ("string", [cause.kind for cause in found]),
        "evidence": ("string", [cause.evidence for cause in found]),
        "since": (table.TIME, [cause.since for cause in found]),
    }


def _answered(evidence: Evidence) -> Cause | None:
    """It did answer: its own signed reply says how it came out."""
    entry = evidence.entry
    if entry is None or entry.reply is None:
        return None
    reply = entry.reply
    text = reply.statusmsg + (", late" if entry.late else "")
    return Cause(
        _final_state(reply.state, reply.statuscode, reply.statusmsg),
        "observed",
        text,
        entry.done,
    )


def _final_state(state: State, statuscode: int | None, text: str) -> str:
    by_state = {
        State.OK: "it answered: ok",
        State.DENIED: "denied by policy",
        State.INTERRUPTED: "interrupted: the node or its worker died in the middle",
        State.EXPIRED: _TOO_LATE,
    }
    by_code = {
        StatusCode.UNKNOWN_ACTION: "unknown agent or action",
        StatusCode.MISSING_DATA: "refused by the DDL",
        StatusCode.INVALID_DATA: "refused by the DDL",
    }
    if state in by_state:
        return by_state[state]
    if statuscode in by_code:
        return by_code[statuscode]
    for begin, cause in (
        ("timed out", "timed out in the action"),
        ("reply too large", "reply too large"),
        ("made ", _CLOCK),
    ):
        if text.startswith(begin):
            return cause
    return "crashed in the action" if "crashed" in text else "failed in the action"


def _ours(evidence: Evidence) -> Iterator[Cause]:
    """What is wrong on our own side."""
    record, entry = evidence.record, evidence.entry
    if record is not None and entry is None:
        yield Cause("no target", "observed", f"request {record.id[:8]} was not for this node")
    if entry is not None and entry.unsent:
        yield Cause("not sent", "observed", entry.reason)
    if evidence.offline:
        yield Cause("we have no broker", "observed", evidence.offline)
    if evidence.held_back:
        yield Cause("the broker holds back what we send", "observed", evidence.held_back)
    if evidence.dropped:
        yield Cause("the broker's clock is ahead of ours", "observed", evidence.dropped)
    if evidence.own is not None:
        what = "revoked" if evidence.own.reason is Reason.REVOKED else evidence.own.reason.value
        yield Cause(f"our own certificate: {what}", "observed", str(evidence.own))


def _theirs(evidence: Evidence) -> Iterator[Cause]:
    """What the node says is not believed here."""
    refusal = evidence.refused
    if refusal is None or not refusal.proven:
        return
    names = {
        Reason.REVOKED: "the node's certificate is revoked",
        Reason.CERT_EXPIRED: "the node's certificate has expired",
        Reason.STALE_CRL: "our revocation list is too old",
    }
    cause = names.get(refusal.error.reason, "the node's replies are refused")
    text = f"its answer was refused here: {refusal.error}"
    yield Cause(cause, "observed", text, refusal.at)


def _claimed(evidence: Evidence) -> Iterator[Cause]:
    """Somebody has written in its name; who that was is not known, so it proves nothing."""
    refusal = evidence.refused
    if refusal is not None and not refusal.proven:
        text = f"a message in its name was refused here: {refusal.error}"
        yield Cause("someone who claims to be it is not believed", "inferred", text, refusal.at)


_REFUSED: Final = {
    Reason.REVOKED.value: "our certificate is revoked, says the node",
    Reason.CERT_EXPIRED.value: "our certificate has expired, says the node",
    Reason.STALE_CRL.value: "the node's revocation list is too old",
    Reason.FROM_FUTURE.value: _CLOCK,
    Reason.EXPIRED.value: _TOO_LATE,
    Reason.REPLAYED.value: "replayed: its id ran there before",
    Reason.WRONG_KIND.value: "the node takes no requests of ours: no operator's certificate",
    Reason.FOREIGN_CA.value: "our certificate is of a CA that the node does not know",
    Reason.WRONG_VERSION.value: "the node speaks another version of the wire",
}


def _account(evidence: Evidence) -> Iterator[Cause]:
    """The node's own account of the request, asked just now."""
    probe = evidence.probe
    if probe is None or evidence.record is None or evidence.entry is None:
        if probe is not None:
            yield Cause("it answers now", "observed", "it answered a probe", evidence.now)
        return
    told = _TOLD.get(probe.state)
    if told is not None:
        yield told(probe)
    elif probe.state == "unknown":
        yield _unheard(evidence, probe)
    else:
        text = f"it says: {probe.state} {probe.reason}".rstrip()
        cause = "it has answered, but its reply has not come back"
        yield Cause(cause, "observed", text, probe.at("ended"))


def _turned_away(evidence: Evidence) -> Iterator[Cause]:
    """It refuses whatever we ask it, even what it knows of a request."""
    if code := evidence.turned_away:
        cause = _REFUSED.get(code, f"refused by the node: {code}")
        yield Cause(cause, "observed", f"its registration says that it refused our probe: {code}")


def _refusal(probe: Probe) -> Cause:
    code = probe.reason.partition(":")[0]
    return Cause(
        _REFUSED.get(code, f"refused by the node: {code}"),
        "observed",
        f"the node refused it: {probe.reason}",
        probe.at("received"),
    )


def _queued(probe: Probe) -> Cause:
    place = probe.said.get("place")
    text = probe.reason or f"behind {place} others"
    return Cause("waiting in the node's spool", "observed", text, probe.at("received"))


_TOLD: Final[Mapping[str, Callable[[Probe], Cause]]] = {
    "refused": _refusal,
    "queued": _queued,
    "running": lambda probe: Cause(
        "it is running", "observed", "the node says so", probe.at("started")
    ),
    "received": lambda probe: Cause(
        "waiting for a free slot", "observed", "the node has received it", probe.at("received")
    ),
    "accepted": lambda probe: Cause(
        "the daemon was restarted in the middle",
        "observed",
        probe.reason or "the node had accepted it before its daemon started",
        probe.at("up"),
    ),
    "alive": lambda probe: Cause(
        "its reply has not come, or it did not take the request",
        "observed",
        "it answers now; nodes of MCollective's cannot be asked about a request",
        probe.at("described"),
    ),
    "passed": lambda probe: Cause(
        "the filter did not match",
        "observed",
        f"the node says: {probe.reason}",
        probe.at("received"),
    ),
}


def _unheard(evidence: Evidence, probe: Probe) -> Cause:
    """The node is there and knows nothing of it."""
    up, sent = probe.at("up"), evidence.sent
    if up is not None and sent is not None and up - probe.skew > sent and not evidence.durable:
        text = "its daemon started after the request was sent"
        return Cause("it was not running when the request was sent", "observed", text, up)
    if evidence.durable and evidence.confirmed is not None:
        text = "the broker confirmed it; the node is there and knows nothing of it"
        if probe.at("reads") is not None:
            text += ", though it reads its queue (retry asks it again)"
        cause = "confirmed by the broker, not received by the node"
        return Cause(cause, "observed", text, evidence.confirmed)
    return Cause("the request did not reach it", "observed", "it is there, and knows of no such id")


def _clock(evidence: Evidence) -> Iterator[Cause]:
    """Its clock and ours differ: it refuses what seems expired, or from the future."""
    probe, known = evidence.probe, evidence.known
    if probe is not None and abs(probe.skew) > OFF:
        yield Cause(_CLOCK, "observed", f"its answer is dated {_ahead(probe.skew)}")
    elif probe is None and known is not None and known.skew is not None and abs(known.skew) > OFF:
        text = f"its last registration was dated {_ahead(known.skew)}"
        yield Cause(_CLOCK, "observed", text, known.seen)


def _disputed(evidence: Evidence) -> Iterator[Cause]:
    """It says that the request had expired, and by our clock it had not."""
    record, entry = evidence.record, evidence.entry
    if record is not None and entry is not None and entry.disputes(record.expires):
        left = age(record.expires - (entry.done or 0.0))
        yield Cause(_CLOCK, "observed", f"it said so {left} before that by our clock", entry.done)


def _ahead(skew: float) -> str:
    return f"{age(abs(skew))} {'ahead of' if skew > 0 else 'behind'} our clock"


def _expired(evidence: Evidence) -> Iterator[Cause]:
    """Nothing was heard before the time of a durable request was over."""
    record, entry = evidence.record, evidence.entry
    if entry is None or record is None or not record.via.durable:
        return
    if entry.state is State.EXPIRED or (
        entry.state is State.PENDING and evidence.now > record.expires
    ):
        yield Cause(_TOO_LATE, "inferred", "no reply before its ttl was over", record.expires)


def _pool(evidence: Evidence) -> Iterator[Cause]:
    """A pool without members answers nothing."""
    record, entry = evidence.record, evidence.entry
    if record is None or record.via is not Via.POOL or entry is None or entry.worker:
        return
    if not evidence.members:
        text = "no known node that may answer says that it serves it"
        yield Cause("no member serves the pool", "inferred", text)
    else:
        text = f"members: {', '.join(evidence.members[:10])}"
        yield Cause("waiting in the pool's queue", "inferred", text, evidence.sent)


def _absent(evidence: Evidence) -> Iterator[Cause]:
    """It does not answer now: when was it there?"""
    if evidence.probe is not None or evidence.offline or evidence.node.startswith("pool:"):
        return
    known, sent = evidence.known, evidence.sent
    if known is None:
        text = "no registration, no answer to any discovery, no reply: perhaps no such node"
        yield Cause("never seen", "inferred", text)
        return
    ago = f"last reply {age(max(0.0, evidence.now - known.seen))} ago, no answer to a probe"
    if sent is not None and known.seen < sent:
        yield Cause("last seen before the request was sent", "inferred", ago, known.seen)
    elif evidence.durable and evidence.confirmed is not None:
        yield Cause(
            "confirmed by the broker, not received by the node",
            "inferred",
            ago,
            evidence.confirmed,
        )
    else:
        yield Cause("it does not answer now", "inferred", ago, known.seen)


def _several(evidence: Evidence) -> Iterator[Cause]:
    """More than one machine has the name: whatever is asked of it directly goes to either."""
    entry = evidence.entry
    told = entry.reason if entry is not None and entry.duplicate else ""
    if text := two_machines(evidence.machines) or told:
        yield Cause("several machines under this name", "observed", text)


def _flaws(evidence: Evidence) -> Iterator[Cause]:
    """What cannot be used there: a filter, an action or a policy may have wanted it."""
    known, probe = evidence.known, evidence.probe
    flaws: tuple[str, ...] = ()
    since: float | None = None
    if probe is not None and isinstance(probe.said.get("flaws"), list):
        flaws, since = tuple(map(str, probe.said["flaws"])), evidence.now
    elif known is not None and known.flaws is not None:
        flaws, since = known.flaws, known.seen
    for line in flaws[:_MOST_FLAWS]:
        yield Cause("something of it cannot be used", "observed", f"it says: {line}", since)


def _broker(evidence: Evidence) -> Iterator[Cause]:
    """How far a durable request came on its way to the broker."""
    entry = evidence.entry
    if entry is None or not evidence.durable or entry.state is not State.PENDING:
        return
    if evidence.confirmed is None:
        text = "there is no receipt: it is sent again once the broker can be reached"
        cause = "sent, but never confirmed by the broker" if entry.sent else "not sent yet"
        yield Cause(cause, "observed", text, entry.sent)
    elif evidence.probe is None and not evidence.members:
        text = "the broker confirmed it, and nobody is known to have taken it"
        yield Cause("waiting in the broker", "inferred", text, evidence.confirmed)
