"""What was refused here in the names of nodes: the node's own doing, or somebody's claim.

Anyone who may write to a queue can put any name and any certificate on a message. Only who has
signed it with the certificate's key has shown that the certificate is his.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from mcshell.errors import Reason, Rejected
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.wire.documents.signatures import Verifier
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["Rejection", "Rejections", "describe_rejections", "weightiest"]

_MOST: Final = 1000
_SHOWN: Final = 3
_RENEW: Final = "give them new ones (mcshell pki issue NAME --kind node --renew)"
_ADVICE: Final = {
    Reason.REVOKED: f"their certificates are revoked, {_RENEW}",
    Reason.CERT_EXPIRED: f"their certificates have expired, {_RENEW}",
    Reason.FOREIGN_CA: "their certificates are not of our CA, compare pki.ca here and there",
    Reason.STALE_CRL: "our revocation list is too old, fetch a newer pki.crl",
}
_HELD: Final = "the reply is kept until a newer certificate of the same key is seen"
_ASK: Final = "nobody can say whose they are, compare the nodes' keys and the broker's logins"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message in a node's name was refused, and when (epoch).

    `proven`: it was signed with the key of a certificate in that name, which is what was wrong
    with it. Otherwise nobody knows who wrote it.
    """

    error: Rejected
    at: float
    proven: bool


class Rejections:
    """The newest refusal in each name; a flood of claims does not push out what is proven.

    Any thread may note, and ask: plain dicts are copied in one go, beside changes.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._proven: dict[str, Rejection] = {}
        self._claimed: dict[str, Rejection] = {}
        self._changing = threading.Lock()

    def note(self, name: str, delivery: Delivery, error: Rejected, now: float) -> None:
        """Remember why a message in this name was refused."""
        headers = delivery.headers
        signer = self._verifier.signer_of(
            delivery.body, headers.get(SIGNATURE, ""), headers.get(CERTIFICATE, "")
        )
        proven = signer is not None and (signer.kind, signer.name) == ("node", name)
        self._put(name, Rejection(error, now, proven))

    def hold(self, name: str, now: float) -> None:
        """Remember that a reply of this node waits for a newer certificate, since then (epoch)."""
        self._put(name, Rejection(Rejected(Reason.CERT_EXPIRED, _HELD), now, proven=True))

    def forget(self, name: str) -> None:
        """A reply of this node was believed."""
        with self._changing:
            self._proven.pop(name, None)
            self._claimed.pop(name, None)

    def _put(self, name: str, rejection: Rejection) -> None:
        kept = self._proven if rejection.proven else self._claimed
        with self._changing:
            kept.pop(name, None)  # so that it stands behind all older ones
            kept[name] = rejection
            if len(kept) > _MOST:
                del kept[next(iter(kept))]

    def since(self, at: float) -> dict[str, Rejection]:
        """Those since then (epoch), by name: what is proven before what is claimed."""
        both = {**self._claimed, **self._proven}
        return {name: one for name, one in both.items() if one.at >= at}

    def of(self, name: str) -> Rejection | None:
        """What is to say of a name: what is proven, else what is only claimed."""
        return self._proven.get(name) or self._claimed.get(name)


def describe_rejections(refusals: Mapping[str, Rejection]) -> str:
    """One line about answers that were refused: how many, why, and what to do; else nothing."""
    if not refusals:
        return ""
    by_reason: dict[tuple[Reason, bool], list[str]] = {}
    for name, refusal in sorted(refusals.items()):
        by_reason.setdefault((refusal.error.reason, refusal.proven), []).append(name)
    parts = []
    for (reason, proven), names in by_reason.items():
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        whose = shown if proven else f"in the name of {shown}"
        parts.append(f"{reason.value} ({whose}): {_ADVICE.get(reason, _ASK)}")
    count = "1 answer was" if len(refusals) == 1 else f"{len(refusals)} answers were"
    return f"{count} refused: {'; '.join(parts)}"


def weightiest(*refusals: Rejection | None) -> Rejection | None:
    """What is proven before what is claimed, then the newest."""
    found = [one for one in refusals if one is not None]
    return max(found, key=lambda one: (one.proven, one.at), default=None)
