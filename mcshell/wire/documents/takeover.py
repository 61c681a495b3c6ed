"""What the processes of one caller say to each other about a session: who holds its queue.

A `takeover` claims it, a `handover` answers that its former holder has let go and how many replies
it has, a `holding` asks whether somebody holds it: after a lost connection, or (with epoch 0) before
a new session is taken up. The higher epoch has it. Two sessions of one address are told apart by
their `origins`, which have nothing in common. Each is a JSON document signed by the operator, on the
caller's session topic (mcshell/README.md §8).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mcshell.errors import Reason, Rejected
from mcshell.values import dataclass
from mcshell.wire.documents import strict_json
from mcshell.wire.documents.envelope import (
    BodyLimits,
    SealedMessage,
    document_of,
    refuse_large,
    sealed,
    verified,
)
from mcshell.wire.documents.signatures import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = ["HANDOVER", "HOLDING", "TAKEOVER", "SessionClaim", "open_claim", "seal_claim"]

TAKEOVER = "takeover"
HANDOVER = "handover"
HOLDING = "holding"

_LIMITS = BodyLimits(max_body=4096)
_MAX_AGE = 300.0
_TYPES: dict[str, type | tuple[type, ...]] = {
    "caller": str,
    "collective": str,
    "address": str,
    "holder": str,
    "epoch": int,
    "rows": int,
    "created": (int, float),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaim:
    """One such document. `holder` is "host:pid:random", `rows` how many replies it has kept.

    `origins` are the marks of the sessions that the file is made of; none from an earlier version.
    """

    kind: str
    caller: str
    collective: str
    address: str
    holder: str
    epoch: int
    rows: int
    created: float
    origins: tuple[str, ...] = ()


def seal_claim(claim: SessionClaim, signer: Signer) -> SealedMessage:
    """Write and sign a claim; `signer` is the operator whose session it is about."""
    body = strict_json.dumps({"v": VERSION, **asdict(claim)})
    return sealed(body, signer)


def open_claim(
    body: bytes, headers: Mapping[str, str], verifier: Verifier, caller: str, *, now: float
) -> SessionClaim:
    """Check a claim and return it: signed by this very caller, and of now (300 s either way).

    Raises:
        Rejected: TOO_LARGE, the verifier's reasons, WRONG_KIND, NOT_JSON, TOO_DEEP, MALFORMED,
            CALLER_MISMATCH, EXPIRED, FROM_FUTURE.
    """
    refuse_large(body, _LIMITS)
    identity = verified(body, headers, verifier, now)
    if identity.kind != "operator":
        raise Rejected(Reason.WRONG_KIND, f"signed by the node {identity.name}")
    claim = _claim(document_of(body, _LIMITS, TAKEOVER, HANDOVER, HOLDING))
    if claim.caller != identity.callerid or claim.caller != caller:
        raise Rejected(Reason.CALLER_MISMATCH, f"{claim.caller}, signed by {identity.callerid}")
    if claim.created < now - _MAX_AGE:
        raise Rejected(Reason.EXPIRED)
    if claim.created > now + _MAX_AGE:
        raise Rejected(Reason.FROM_FUTURE)
    return claim


def _claim(document: Mapping[str, Any]) -> SessionClaim:
    values: dict[str, Any] = {}
    for name, kind in _TYPES.items():
        value = document.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise Rejected(Reason.MALFORMED, name)
        values[name] = value
    origins = document.get("origins", [])
    if not isinstance(origins, list) or not all(isinstance(one, str) for one in origins):
        raise Rejected(Reason.MALFORMED, "origins")
    return SessionClaim(kind=document["kind"], **values, origins=tuple(origins))
