"""The security plugin ssl: a key pair for each caller, one for all nodes.

**Protects** the inner body, the ttl and the time of a request: they are signed (RSA, SHA-1) by the
caller that `:callerid` names. **Does not protect** filter, agent, collective, request id and
sender of a request, so a signed body can be sent to other nodes than it was meant for; a reply
proves no more than that some node made its body at some time, for all nodes share one key and
neither request id nor sender are signed. Nothing is secret.

What our side closes: a signed body is taken once (`Opened.once`), the inner ttl and time must be
the outer ones (`enforce_ttl` cannot be switched off), and `messages` refuses an inner agent or
caller that differs from the outer ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Literal

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.wire.mcollective import keys
from mcshell.wire.mcollective.envelope import (
    CALLERID,
    MARSHAL,
    Codec,
    Expected,
    MCollectiveLimits,
    Opened,
    ReplyEnvelope,
    RequestEnvelope,
    check_dates,
    check_expected,
    hash_of_reply,
    hash_of_request,
    inner_bytes,
    read,
    read_answer,
    reply_of,
    request_of,
    text_of,
)
from mcshell.wire.mcollective.values import RubySymbol

__all__ = ["SSL", "protected", "secured"]


class SSL:
    """ssl, as a client (which needs the nodes' public key) or a node (which needs callers' keys).

    `private` is our own key as PEM, `callerid` `cert=` and the name of its public half;
    `nodes` the PEM of the nodes' public key, `callers` finds a caller's.
    """

    name: Literal["ssl"] = "ssl"

    def __init__(
        self,
        private: bytes,
        callerid: str,
        *,
        nodes: bytes | None = None,
        callers: keys.Keys | None = None,
        codec: Codec = MARSHAL,
    ) -> None:
        if not CALLERID.match(callerid):
            raise ConfigError(f"caller id {callerid!r}: it must look like cert=alice", "callerid")
        self._private = keys.private_key(private, "private key of ssl")
        self._nodes = None if nodes is None else keys.public_key(nodes, "nodes' key of ssl")
        self._callers = callers
        self.callerid = callerid
        self.codec = codec

    def seal_request(self, request: RequestEnvelope) -> bytes:
        """Write and sign a request."""
        inner = self.codec.inner(protected(request, self.name))
        return self._sealed(hash_of_request(request, inner), inner)

    def seal_reply(self, reply: ReplyEnvelope, callerid: str) -> bytes:
        """Write and sign a reply; to whom makes no difference."""
        del callerid
        inner = self.codec.inner(reply.body)
        return self._sealed(hash_of_reply(reply, inner), inner)

    def open_request(self, body: bytes, limits: MCollectiveLimits, now: float) -> Opened:
        """Check size, form, dates, the caller's signature, and that the dates are the signed ones."""
        document = read(self.codec, body, limits.bounds)
        request = request_of(document, None)
        check_dates(request, limits, now)
        inner = inner_bytes(document)
        signature = text_of(document, "hash")
        keys.verify(
            keys.caller_key(self._callers, request.callerid), inner, signature, request.callerid
        )
        message = secured(read(self.codec, inner, limits.bounds), request, self.name)
        return Opened(replace(request, body=message), hashlib.sha256(inner).hexdigest())

    def open_reply(
        self, body: bytes, limits: MCollectiveLimits, expected: Expected
    ) -> ReplyEnvelope:
        """Check size, form, whether it is waited for, and the nodes' signature."""
        if self._nodes is None:
            raise ConfigError("no key of the nodes to verify replies with", "nodes")
        document = read(self.codec, body, limits.bounds)
        reply = reply_of(document, None)
        check_expected(reply, expected)
        inner = inner_bytes(document)
        keys.verify(self._nodes, inner, text_of(document, "hash"), "the nodes' key")
        return replace(reply, body=read_answer(self.codec, inner, limits.bounds))

    def _sealed(self, document: dict[RubySymbol, Any], inner: bytes | str) -> bytes:
        raw = inner.encode() if isinstance(inner, str) else inner
        return self.codec.dump(document | {RubySymbol("hash"): keys.sign(self._private, raw)})


def protected(request: RequestEnvelope, name: str) -> dict[RubySymbol, Any]:
    """The inner body of a request: the message with the ttl and time that are signed with it."""
    return {
        RubySymbol(f"{name}_msg"): request.body,
        RubySymbol(f"{name}_ttl"): request.ttl,
        RubySymbol(f"{name}_msgtime"): request.msgtime,
    }


def secured(inner: Any, request: RequestEnvelope, name: str) -> Any:
    """The message in an inner body; Rejected unless its ttl and time are the outer ones."""
    if not isinstance(inner, dict) or RubySymbol(f"{name}_msg") not in inner:
        raise Rejected(Reason.MALFORMED, f"no :{name}_msg in its body")
    for field, outer in (("ttl", request.ttl), ("msgtime", request.msgtime)):
        if inner.get(RubySymbol(f"{name}_{field}")) != outer:
            raise Rejected(Reason.BAD_SIGNATURE, f"its {field} is not the one that was signed")
    return inner[RubySymbol(f"{name}_msg")]
