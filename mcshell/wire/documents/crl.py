"""Revocation lists on their way: DER, in a document that any certificate of the fleet has signed.

The CA's signature is in each list; the carrier's keeps those out who are nobody here. It is checked
first, under a list that is stale too: only its age is set aside, or no newer one could ever come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.errors import Reason, Rejected
from mcshell.values import dataclass
from mcshell.wire.documents import fields, strict_json
from mcshell.wire.documents.envelope import CRL, document_of, refuse_large, sealed, verified
from mcshell.wire.documents.signatures import VERSION
from mcshell.wire.documents.trust import MAX_LISTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.wire.documents.envelope import BodyLimits, SealedMessage
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = ["CarriedLists", "open_crl", "seal_crl"]

_FRESH: Final = 300.0
"""Seconds: what somebody keeps and sends again is not its carrier's any more."""
_CARRIERS: Final = ("operator", "node")


@dataclass(frozen=True, slots=True)
class CarriedLists:
    """Lists in DER, not yet believed, and the caller id or name of who has brought them."""

    lists: tuple[bytes, ...]
    carrier: str


def seal_crl(lists: Sequence[bytes], signer: Signer, now: float) -> SealedMessage:
    """Write lists (DER) as what travels; `now` is epoch seconds."""
    document = {"v": VERSION, "kind": CRL, "lists": list(lists), "created": now}
    return sealed(strict_json.dumps(document), signer)


def open_crl(
    body: bytes, headers: Mapping[str, str], verifier: Verifier, limits: BodyLimits, now: float
) -> CarriedLists:
    """Return the lists in a document that somebody of the fleet has signed.

    Raises:
        Rejected: TOO_LARGE; UNSIGNED, BAD_CERTIFICATE, FOREIGN_CA, CERT_EXPIRED, REVOKED,
            BAD_SIGNATURE; WRONG_KIND; NOT_JSON, TOO_DEEP, MALFORMED; FROM_FUTURE, EXPIRED.
    """
    refuse_large(body, limits)
    identity = verified(body, headers, verifier, now, stale=True)
    if identity.kind not in _CARRIERS:
        raise Rejected(Reason.WRONG_KIND, f"a revocation list signed by a {identity.kind}")
    document = document_of(body, limits, CRL)
    age = now - fields.moment(document, "created")
    if age < -limits.max_skew:
        raise Rejected(Reason.FROM_FUTURE, f"made {-age:.0f} s ahead: compare the clocks")
    if age > _FRESH:
        raise Rejected(Reason.EXPIRED, f"made {age:.0f} s ago")
    lists = document.get("lists")
    if not isinstance(lists, list) or not 0 < len(lists) <= MAX_LISTS:
        raise Rejected(Reason.MALFORMED, f"lists: 1 to {MAX_LISTS} revocation lists are meant")
    if not all(isinstance(one, bytes) for one in lists):
        raise Rejected(Reason.MALFORMED, "lists: no DER")
    return CarriedLists(tuple(lists), identity.callerid)
