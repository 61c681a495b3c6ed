"""The security plugin psk: one secret that all share.

**Protects** the inner body against those who do not know the secret: it is an MD5 over body and
secret. **Does not protect** anything else: agent, filter, collective, ttl, dates, request id,
sender and caller id can be changed by whoever can write to the broker, a body that was seen once
stays valid for ever, and all who know the secret are the same caller. Nothing is secret. Callers
of this wire are `mco-psk:…` to us and match no native rule (mcshell/README.md §6).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Literal

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.wire.mcollective.envelope import (
    CALLERID,
    MARSHAL,
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

if TYPE_CHECKING:
    from mcshell.wire.mcollective.envelope import Codec

__all__ = ["PSK"]


class PSK:
    """psk, which knows Marshal only. `callerid` is what MCollective's `psk.callertype` gives."""

    name: Literal["psk"] = "psk"
    codec: Codec = MARSHAL

    def __init__(self, secret: str, callerid: str = "uid=0") -> None:
        if not secret:
            raise ConfigError("an empty secret of psk protects nothing", "psk")
        if not CALLERID.match(callerid):
            raise ConfigError(f"caller id {callerid!r}: it must look like uid=0", "callerid")
        self._secret = secret.encode()
        self.callerid = callerid

    def seal_request(self, request: RequestEnvelope) -> bytes:
        """Write and hash a request."""
        body = self.codec.dump(request.body)
        return self._sealed(hash_of_request(request, body), body)

    def seal_reply(self, reply: ReplyEnvelope, callerid: str) -> bytes:
        """Write and hash a reply; to whom makes no difference."""
        del callerid
        body = self.codec.dump(reply.body)
        return self._sealed(hash_of_reply(reply, body), body)

    def open_request(self, body: bytes, limits: MCollectiveLimits, now: float) -> Opened:
        """Check size, form, hash and dates; `once` is no more than the request id."""
        document = read(self.codec, body, limits.bounds)
        inner = self._verified(document)
        request = request_of(document, None)
        check_dates(request, limits, now)
        request = request_of(document, read(self.codec, inner, limits.bounds))
        return Opened(request, request.requestid)

    def open_reply(
        self, body: bytes, limits: MCollectiveLimits, expected: Expected
    ) -> ReplyEnvelope:
        """Check size, form, whether it is waited for, and the hash."""
        document = read(self.codec, body, limits.bounds)
        check_expected(reply_of(document, None), expected)
        return reply_of(document, read_answer(self.codec, self._verified(document), limits.bounds))

    def _sealed(self, document: dict[RubySymbol, Any], body: bytes) -> bytes:
        return self.codec.dump(document | {RubySymbol("hash"): self._digest(body)})

    def _digest(self, body: bytes) -> str:
        return hashlib.md5(body + self._secret, usedforsecurity=False).hexdigest()

    def _verified(self, document: Any) -> bytes:
        inner = inner_bytes(document)
        if not hmac.compare_digest(
            text_of(document, "hash").encode(), self._digest(inner).encode()
        ):
            raise Rejected(Reason.BAD_SIGNATURE, "made with another psk")
        return inner
