"""Our `Request` and `Reply` as MCollective's messages, and back: where the two vocabularies meet.

Discovery is a request to the agent `discovery` whose whole body is the text "ping", answered by
"pong"; here it is the action `discovery.ping`. A reply on this wire is always the last reply. What
has no equal there (sessions, work that is kept, `received` and `running`) does not travel.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import Reason, Rejected, UsageError
from mcshell.message import Filter, Reply, Request, State, StatusCode, Via
from mcshell.message import ReplySequence as Word
from mcshell.values import dataclass
from mcshell.wire.mcollective import filters
from mcshell.wire.mcollective.envelope import ReplyEnvelope, RequestEnvelope
from mcshell.wire.mcollective.layouts import REGISTRATION
from mcshell.wire.mcollective.values import RubyRegexp, RubySymbol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.wire.mcollective.envelope import Opened

__all__ = [
    "DISCOVERY",
    "NOT_AUTHORIZED",
    "Incoming",
    "caller_of",
    "plain",
    "read_registration",
    "read_reply",
    "read_request",
    "write_registration",
    "write_reply",
    "write_request",
]

DISCOVERY: Final = "discovery"
"""The agent that answers "ping"."""

NOT_AUTHORIZED: Final = "You are not authorized to call this agent or action."
"""What ActionPolicy's denials say: the one way to tell `denied` from `failed` there."""

_PROCESS_RESULTS: Final = "process_results"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request from the old wire. `answer` is False for a caller that wants no reply.

    `callerid` is the caller on that wire (aes needs it to answer), `once` what must not be seen
    twice (see `Opened`).
    """

    request: Request
    callerid: str
    answer: bool
    once: str


def caller_of(security: str, callerid: str) -> str:
    """The caller as everybody else knows it: prefixed, so that no native rule matches it."""
    return f"mco-{security}:{callerid}"


def write_request(
    request: Request, *, callerid: str, sender: str, discovery_for: str | None = None
) -> RequestEnvelope:
    """A request as MCollective's envelope, its body still to be sealed.

    Sent direct it carries no filter but for its agent; a `discovery.ping` carries the filter and
    may name the agent that it looks for.

    Raises:
        FilterError: a filter that MCollective cannot express.
        UsageError: a way that MCollective does not have.
    """
    if request.via.durable:
        raise UsageError(f"MCollective keeps no requests: via={request.via} needs native nodes")
    asked = request.filter if request.identity is None else Filter()
    pinged = request.agent == DISCOVERY
    structure: dict[Any, Any] = filters.to_ruby(asked, discovery_for if pinged else request.agent)
    data = {RubySymbol(name): value for name, value in request.data.items()}
    body: Any = (
        "ping"
        if pinged
        else {
            RubySymbol("agent"): request.agent,
            RubySymbol("action"): request.action,
            RubySymbol("caller"): callerid,
            RubySymbol("data"): data | {RubySymbol(_PROCESS_RESULTS): True},
        }
    )
    return RequestEnvelope(
        body=body,
        senderid=sender,
        requestid=request.id,
        filter=structure,
        collective=request.collective,
        agent=request.agent,
        callerid=callerid,
        ttl=max(1, math.ceil(request.expires - request.created)),
        msgtime=int(request.created),
    )


def read_request(opened: Opened, security: str, *, identity: str | None = None) -> Incoming:
    """A request of MCollective's as ours; `identity` is our own name if it came direct.

    The agent and the caller inside the body, which ssl signs, must be those outside, which nobody
    signs.

    Raises:
        Rejected: MALFORMED, or CALLER_MISMATCH when inside and outside differ.
    """
    envelope = opened.request
    action, data = _asked(envelope)
    answer = data.pop(_PROCESS_RESULTS, True)
    request = Request(
        id=envelope.requestid,
        agent=envelope.agent,
        action=action,
        caller=caller_of(security, envelope.callerid),
        collective=envelope.collective,
        via=Via.BROADCAST if identity is None else Via.DIRECT,
        session="",
        created=float(envelope.msgtime),
        expires=float(envelope.msgtime + envelope.ttl),
        data=data,
        filter=filters.from_ruby(envelope.filter),
        identity=identity,
    )
    wanted = answer is not False and answer is not None
    return Incoming(request, envelope.callerid, wanted, opened.once)


def _asked(envelope: RequestEnvelope) -> tuple[str, dict[str, Any]]:
    body = envelope.body
    if envelope.agent == DISCOVERY:
        if body != "ping":
            raise Rejected(Reason.MALFORMED, "discovery knows ping only")
        return "ping", {}
    if not isinstance(body, dict):
        raise Rejected(Reason.MALFORMED, "the request is no Hash")
    action, agent, caller = (_either(body, key) for key in ("action", "agent", "caller"))
    if not isinstance(action, str) or not action:
        raise Rejected(Reason.MALFORMED, "the request names no action")
    if agent != envelope.agent:
        raise Rejected(Reason.MALFORMED, f"made for agent {str(agent)[:60]}, sent to another")
    if caller not in (None, envelope.callerid):
        raise Rejected(Reason.CALLER_MISMATCH, f"made by {str(caller)[:60]}")
    data = _either(body, "data")
    if data is not None and not isinstance(data, dict):
        raise Rejected(Reason.MALFORMED, "its data is no Hash")
    return action, plain(data or {})


def write_registration(
    agents: Sequence[str], *, request: Request, callerid: str, sender: str
) -> RequestEnvelope:
    """A node's registration of the default kind, the list of its agents.

    `request` gives id, collective and dates; no reply is wanted.
    """
    asked = replace(request, agent=REGISTRATION, filter=Filter(), data={}, via=Via.BROADCAST)
    envelope = write_request(asked, callerid=callerid, sender=sender)
    return replace(envelope, body=list(agents))


def read_registration(request: RequestEnvelope) -> list[str] | None:
    """The agents that a registration of the default kind lists; None for another message."""
    body = request.body
    if request.agent != REGISTRATION or not isinstance(body, list):
        return None
    return body if all(isinstance(one, str) for one in body) else None


def write_reply(
    reply: Reply, agent: str, *, outputs: Mapping[str, Any] | None = None
) -> ReplyEnvelope:
    """A last reply as MCollective's envelope; `outputs` are the DDL's, with their defaults.

    As there, every output is in the data, also of a failure.

    Raises:
        UsageError: a reply that is not the last one.
    """
    if not reply.final:
        raise UsageError("MCollective knows last replies only")
    if agent == DISCOVERY:
        body: Any = "pong"
    else:
        data = {
            RubySymbol(name): value for name, value in {**(outputs or {}), **reply.data}.items()
        }
        code = StatusCode.FAILED if reply.statuscode is None else reply.statuscode
        message = NOT_AUTHORIZED if reply.state is State.DENIED else reply.statusmsg
        body = {
            RubySymbol("statuscode"): code,
            RubySymbol("statusmsg"): message,
            RubySymbol("data"): data,
        }
    return ReplyEnvelope(body, reply.sender, reply.requestid, agent, int(reply.created))


def read_reply(envelope: ReplyEnvelope, security: str) -> Reply:
    """A reply of MCollective's as our last reply; Rejected MALFORMED for what is none."""
    body = envelope.body
    if envelope.senderagent == DISCOVERY:
        if body != "pong":
            raise Rejected(Reason.MALFORMED, f"discovery says {str(body)[:60]!r}")
        return _reply(envelope, security, StatusCode.OK, "OK", {})
    if not isinstance(body, dict):
        raise Rejected(Reason.MALFORMED, "the reply is no Hash")
    code, message, data = (_either(body, key) for key in ("statuscode", "statusmsg", "data"))
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code < 1 << 31:
        raise Rejected(Reason.MALFORMED, "its statuscode is no number")
    if data is not None and not isinstance(data, dict):
        data = {"value": data}
    text = plain(message)
    return _reply(
        envelope, security, code, text if isinstance(text, str) else str(text), data or {}
    )


def _reply(
    envelope: ReplyEnvelope, security: str, code: int, message: str, data: dict[Any, Any]
) -> Reply:
    state = State.OK if code == StatusCode.OK else State.FAILED
    if code == StatusCode.FAILED and message == NOT_AUTHORIZED:
        state = State.DENIED
    return Reply(
        requestid=envelope.requestid,
        sender=envelope.senderid,
        sequence=Word.FINAL,
        statuscode=min(code, StatusCode.UNKNOWN_ERROR),
        statusmsg=message,
        data=plain(data),
        created=float(envelope.msgtime),
        state=state,
        trust=security,
    )


def plain(value: Any) -> Any:
    """A value of that wire as one of ours: Symbols are text, Regexps /text/, keys are text.

    Two keys that become one (:a and "a") are told apart by the Symbol's colon.
    """
    if isinstance(value, RubySymbol):
        return value.name
    if isinstance(value, RubyRegexp):
        return f"/{value.source}/"
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for key, one in value.items():
        name = _key(key)
        if name in made:
            name = f":{name}" if isinstance(key, RubySymbol) else repr(key)
        made[name] = plain(one)
    return made


def _key(key: Any) -> str:
    if isinstance(key, RubySymbol):
        return key.name
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    if key is None or isinstance(key, bool):
        return {None: "", True: "true", False: "false"}[key]
    return key if isinstance(key, str) else str(plain(list(key) if isinstance(key, tuple) else key))


def _either(body: dict[Any, Any], key: str) -> Any:
    """A field under its Symbol or, as MCollective takes too, its name."""
    return body[RubySymbol(key)] if RubySymbol(key) in body else body.get(key)
