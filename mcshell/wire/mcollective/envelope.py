"""The hash around every message of MCollective's wire, and what is checked of it on the way in.

What a security plugin adds is in `psk`, `ssl` and `aes`. The fields here are outside their hashes
and signatures (research: MCollective signs the inner body only), so nothing of them is proven but
what a plugin says it proves. What can be checked without proof is: sizes, types, the forms of ids
and names, the caller id's form, and the dates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from typing import Any, Final, Literal, Protocol

from mcshell.errors import BodyError, Reason, Rejected
from mcshell.message import StatusCode
from mcshell.values import dataclass
from mcshell.wire.mcollective import marshal
from mcshell.wire.mcollective.values import Bounds, RubySymbol

__all__ = [
    "CALLERID",
    "DEFAULT_TTL",
    "MARSHAL",
    "YAML",
    "Codec",
    "Expected",
    "MCollectiveLimits",
    "Opened",
    "ReplyEnvelope",
    "RequestEnvelope",
    "Security",
    "check_dates",
    "hash_of_reply",
    "hash_of_request",
    "read",
    "read_answer",
    "reply_of",
    "request_of",
    "text_of",
]

DEFAULT_TTL: Final = 60
"""Seconds that MCollective assumes of a request that names no ttl."""

# \Z, for Ruby's own check with ^ and $ lets a second line through.
CALLERID: Final = re.compile(r"[A-Za-z0-9_]{1,64}=[A-Za-z0-9_.-]{1,128}\Z")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,255}\Z")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")

Expected = Callable[[str, str], bool]
"""Takes a request id and a sender: whether a reply of that sender to it is waited for."""


@dataclass(frozen=True, slots=True)
class MCollectiveLimits:
    """What is taken at all; times in seconds.

    `max_ttl` is short, for a request on this wire is good for replay as long as its ttl.
    """

    bounds: Bounds = field(default_factory=Bounds)
    max_skew: float = 60.0
    max_ttl: float = 3600.0


@dataclass(frozen=True, slots=True)
class Codec:
    """One of the two serializers of ssl and aes_security; each document of it `begins` so."""

    name: Literal["marshal", "yaml"]
    begins: bytes
    load: Callable[[bytes, Bounds], Any]
    dump: Callable[[Any], bytes]

    def inner(self, value: Any) -> bytes | str:
        """Write an inner body: YAML's is held as text, Marshal's as bytes."""
        body = self.dump(value)
        return body.decode() if self.name == "yaml" else body


def _load_yaml(body: bytes, bounds: Bounds) -> Any:
    from mcshell.wire.mcollective import yamls  # noqa: PLC0415 - PyYAML, only where it is spoken

    return yamls.load(body, bounds)


def _dump_yaml(value: Any) -> bytes:
    from mcshell.wire.mcollective import yamls  # noqa: PLC0415 - as above

    return yamls.dump(value)


MARSHAL: Final = Codec("marshal", b"\x04\x08", marshal.load, marshal.dump)
YAML: Final = Codec("yaml", b"---", _load_yaml, _dump_yaml)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnvelope:
    """A request with its body opened. `filter` is MCollective's hash; times whole seconds."""

    body: Any
    senderid: str
    requestid: str
    filter: dict[Any, Any]
    collective: str
    agent: str
    callerid: str
    ttl: int
    msgtime: int


@dataclass(frozen=True, slots=True)
class ReplyEnvelope:
    """A reply with its body opened."""

    body: Any
    senderid: str
    requestid: str
    senderagent: str
    msgtime: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A request that passed its plugin's checks.

    `once` is what must not be seen twice within the ttl for the request to be no replay: for psk
    only the request id (which anyone on the broker could change), for ssl what was signed, for aes
    the one-time key.
    """

    request: RequestEnvelope
    once: str


class Security(Protocol):
    """A security plugin, as client and as node; it knows its own keys."""

    @property
    def name(self) -> Literal["psk", "ssl", "aes"]:
        """What the column `trust` and the prefix of callers say."""

    @property
    def callerid(self) -> str:
        """The callerid that requests of ours bear."""

    def seal_request(self, request: RequestEnvelope) -> bytes:
        """Write and seal a request; BodyError for a value that this wire cannot hold."""

    def seal_reply(self, reply: ReplyEnvelope, callerid: str) -> bytes:
        """Write and seal a reply to a caller; BodyError as above."""

    def open_request(self, body: bytes, limits: MCollectiveLimits, now: float) -> Opened:
        """Read and check a request, or raise Rejected."""

    def open_reply(
        self, body: bytes, limits: MCollectiveLimits, expected: Expected
    ) -> ReplyEnvelope:
        """Read and check a reply, or raise Rejected."""


def read(codec: Codec, body: bytes | str, bounds: Bounds) -> Any:
    """Read a body of whoever sent it; Rejected TOO_LARGE or MALFORMED."""
    raw = body.encode() if isinstance(body, str) else body
    if len(raw) > bounds.max_body:
        raise Rejected(Reason.TOO_LARGE, f"{len(raw)} bytes: more than {bounds.max_body}")
    try:
        return codec.load(raw, bounds)
    except BodyError as error:
        raise Rejected(Reason.MALFORMED, str(error)[:200]) from error


def read_answer(codec: Codec, body: bytes | str, bounds: Bounds) -> Any:
    """Read what a node has answered, once its plugin took the reply for the node's.

    What is not read, such as an object of Ruby's, is a failure that says why: the node is not silent.
    """
    try:
        return read(codec, body, bounds)
    except Rejected as refusal:
        return {
            RubySymbol("statuscode"): int(StatusCode.UNKNOWN_ERROR),
            RubySymbol("statusmsg"): f"its answer cannot be read here: {refusal.detail}",
            RubySymbol("data"): {},
        }


def text_of(document: dict[Any, Any], key: str) -> str:
    """A field that is text (or bytes that are ASCII); Rejected MALFORMED otherwise."""
    value = document.get(RubySymbol(key))
    if isinstance(value, bytes) and value.isascii():
        return value.decode()
    if not isinstance(value, str):
        raise Rejected(Reason.MALFORMED, f":{key} is no text")
    return value


def request_of(document: Any, body: Any) -> RequestEnvelope:
    """The fields of a request around a body, each of its type and form; else Rejected."""
    document = _hash(document)
    callerid = _matching(document, "callerid", CALLERID)
    filters = document.get(RubySymbol("filter"))
    if not isinstance(filters, dict):
        raise Rejected(Reason.MALFORMED, ":filter is no Hash")
    return RequestEnvelope(
        body=body,
        senderid=_matching(document, "senderid", _NAME),
        requestid=_matching(document, "requestid", _REQUEST_ID),
        filter=filters,
        collective=_matching(document, "collective", _WORD),
        agent=_matching(document, "agent", _WORD),
        callerid=callerid,
        ttl=_whole(document, "ttl", DEFAULT_TTL),
        msgtime=_whole(document, "msgtime"),
    )


def reply_of(document: Any, body: Any) -> ReplyEnvelope:
    """The fields of a reply around a body, each of its type and form; else Rejected."""
    document = _hash(document)
    return ReplyEnvelope(
        body=body,
        senderid=_matching(document, "senderid", _NAME),
        requestid=_matching(document, "requestid", _REQUEST_ID),
        senderagent=_matching(document, "senderagent", _WORD),
        msgtime=_whole(document, "msgtime"),
    )


def check_expected(reply: ReplyEnvelope, expected: Expected) -> None:
    """Refuse a reply that nobody waits for, before anything costly is done."""
    if not expected(reply.requestid, reply.senderid):
        raise Rejected(
            Reason.UNKNOWN_REQUEST, f"{reply.senderid[:80]} answers {reply.requestid[:64]}"
        )


def check_dates(request: RequestEnvelope, limits: MCollectiveLimits, now: float) -> None:
    """Refuse what is too old, from the future or good for too long."""
    if not 0 < request.ttl <= limits.max_ttl:
        raise Rejected(
            Reason.EXPIRED, f"a ttl of {request.ttl} s: at most {limits.max_ttl:g} s are taken"
        )
    if request.msgtime > now + limits.max_skew:
        raise Rejected(Reason.FROM_FUTURE, f"{request.msgtime - now:.0f} s ahead")
    if now - request.msgtime > request.ttl:
        raise Rejected(
            Reason.EXPIRED, f"{now - request.msgtime:.0f} s old, its ttl was {request.ttl} s"
        )


def hash_of_request(request: RequestEnvelope, body: Any) -> dict[RubySymbol, Any]:
    """The hash of a request around a sealed body, in MCollective's order."""
    return {
        RubySymbol("body"): body,
        RubySymbol("senderid"): request.senderid,
        RubySymbol("requestid"): request.requestid,
        RubySymbol("filter"): request.filter,
        RubySymbol("collective"): request.collective,
        RubySymbol("agent"): request.agent,
        RubySymbol("callerid"): request.callerid,
        RubySymbol("ttl"): request.ttl,
        RubySymbol("msgtime"): request.msgtime,
    }


def hash_of_reply(reply: ReplyEnvelope, body: Any) -> dict[RubySymbol, Any]:
    """The hash of a reply around a sealed body, in MCollective's order."""
    return {
        RubySymbol("senderid"): reply.senderid,
        RubySymbol("requestid"): reply.requestid,
        RubySymbol("senderagent"): reply.senderagent,
        RubySymbol("msgtime"): reply.msgtime,
        RubySymbol("body"): body,
    }


def inner_bytes(document: Any) -> bytes:
    """The sealed body as the bytes that a hash or a signature is over."""
    value = _hash(document).get(RubySymbol("body"))
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise Rejected(Reason.MALFORMED, ":body is no String")
    return value


def _hash(document: Any) -> dict[Any, Any]:
    if not isinstance(document, dict):
        raise Rejected(Reason.MALFORMED, "the body is no Hash")
    return document


def _matching(document: dict[Any, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = text_of(document, key)
    if not pattern.match(value):
        reason = Reason.CALLER_MISMATCH if key == "callerid" else Reason.MALFORMED
        raise Rejected(reason, f":{key} is {value[:60]!r}")
    return value


def _whole(document: dict[Any, Any], key: str, default: int | None = None) -> int:
    value = document.get(RubySymbol(key), default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 40:
        raise Rejected(Reason.MALFORMED, f":{key} is no time in whole seconds")
    return value
