"""The CA's side of enrolment: which requests it signs by itself, and which wait for a hand.

By itself it signs what a token vouches for that has not ended, is not used up, and is for that kind
and such a name. It never does for operators, nor for a name that has a certificate, or had one that was
taken back, nor for a broker's host: whoever has a token must not be able to become a machine that is there. A request that came
twice is answered twice, and counts once: an answer may be lost on its way.

A certificate is renewed for the node whose key it is, once less than half of its life is left, or at once
where its CA signs no more: what vouches is the certificate, with the request's own signature by its key. Who repeats another's request
has nothing of it but that the node has a newer certificate.
"""

from __future__ import annotations

import base64
import re
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.enrolment.store import StoredRequest, StoredToken
from mcshell.errors import Reason, Rejected, UsageError, did_you_mean
from mcshell.pki.authority import DAY, LEAF_LIFE
from mcshell.pki.certificates import issued_at
from mcshell.pki.keys import same_key
from mcshell.wire.documents.enrolment import (
    EnrolmentAnswer,
    EnrolmentMessage,
    EnrolmentToken,
    fingerprint,
    open_request,
    seal_answer,
    vouches,
)
from mcshell.wire.documents.signatures import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcshell.enrolment.decision import SigningDecision
    from mcshell.enrolment.store import EnrolmentStore
    from mcshell.pki import Authority, Identity, Kind
    from mcshell.wire.documents.enrolment import EnrolmentRequest

__all__ = ["EnrolmentService"]

_MOST_UNVOUCHED: Final = 1000
"""Requests without a token that wait at once: anybody can make them."""
_MOST_MACHINES: Final = 1 << 31
_PATTERN = re.compile(r"([a-z0-9._@+*?-]|\[!?[a-z0-9._@+-]+])+")
_DIGITS: Final = 8
_UNVOUCHED_FOR: Final = 7 * DAY


_NO_TOKEN: Final = "no token vouches for it"  # noqa: S105 - a reason


class EnrolmentService:
    """The CA, its tokens and the requests that it has; one thread at a time.

    Args:
        authority: the CA.
        store: tokens and requests.
        lifetime: of what is signed (seconds; None: the CA's own way).
        decide: asked of each node that would be signed, or waits only for want of a token.
        settings: the configuration that a node gets with its certificate, where a token vouches for it.
    """

    def __init__(
        self,
        authority: Authority,
        store: EnrolmentStore,
        *,
        lifetime: float | None = None,
        decide: Callable[[EnrolmentRequest], SigningDecision] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._authority = authority
        self._store = store
        self._lifetime = LEAF_LIFE if lifetime is None else lifetime
        self._decide = decide
        self._settings = {} if settings is None else settings
        self._verifier = Verifier(authority.ca_pem, crl_pem=authority.crl_pem)

    def new_token(self, matching: str, kind: Kind, ends: float, count: int) -> EnrolmentToken:
        """Make a token for `count` machines whose names match a pattern, until `ends` (epoch)."""
        if not 0 < count < _MOST_MACHINES:
            most = _MOST_MACHINES - 1
            raise UsageError(
                f"a token for {count} machines is good for none: 1 to {most} are meant"
            )
        matching = matching.lower()
        if not _PATTERN.fullmatch(matching):
            raise UsageError(
                f"{matching[:80]!r} matches no name: a-z, 0-9 . _ - @ + * ? [ ] are taken"
            )
        token = EnrolmentToken.new(fingerprint(self._authority.certificate))
        stored = StoredToken(token=token, matching=matching, kind=kind, ends=ends, count=count)
        self._store.add_token(stored)
        return token

    def receive(self, message: EnrolmentMessage) -> tuple[EnrolmentAnswer, EnrolmentMessage]:
        """Take a request; what is answered, and that as it travels.

        Raises:
            Rejected: it is none, or not of its key's owner (`documents.enrolment.open_request`); too
                many without a token are to be decided about.
        """
        return self.answer(message, open_request(message))

    def answer(
        self, message: EnrolmentMessage, request: EnrolmentRequest
    ) -> tuple[EnrolmentAnswer, EnrolmentMessage]:
        """Do as `receive` with one that was opened: `request` is what it asks."""
        now = time.time()
        if request.renews is not None:
            return self._renewed(message, request, now)
        stored = None if request.token is None else self._store.token(request.token)
        if request.token is not None and (stored is None or not vouches(stored.token, message)):
            return _refusal(message, "no token of this CA vouches for it", None)
        if (known := self._store.request(message.digest)) is not None:
            return self._answered(self._as_it_stands(known, now))
        why = None if stored is None else _unfit(stored, request, now)
        if why is None:
            self._store.forget(now - _UNVOUCHED_FOR)
            by_hand = self._by_hand(request)
            if self._decide is not None and by_hand in ("", _NO_TOKEN):
                decision = self._decide(request)
                by_hand = decision.reason if decision.verdict != "sign" else ""
                if decision.verdict == "refuse":
                    return _refusal(message, decision.reason, stored)
            new = StoredRequest(
                digest=message.digest,
                name=request.name,
                kind=request.kind,
                body=message.body,
                token=request.token,
                received=now,
                state="waiting" if by_hand else "signing",
                reason=by_hand,
            )
            why = self._store.enter(new, now, _MOST_UNVOUCHED)
            if not why:
                return self._answered(new if by_hand else self._signed(new))
        return _refusal(message, why, stored)

    def _as_it_stands(self, known: StoredRequest, now: float) -> StoredRequest:
        """A request that came again; it waits where what it got is good no more."""
        if known.state == "signing":
            return self._signed(known)
        if known.state != "signed":
            return known
        der = x509.load_pem_x509_certificate(known.certificate).public_bytes(Encoding.DER)
        try:
            self._examine(base64.b64encode(der).decode("ascii"), now)
        except Rejected as why:
            self._store.note(known.digest, "waiting", reason=f"it was signed before: {why}")
            return self._store.request(known.digest) or known
        return known

    def refresh(self) -> None:
        """Sign the revocation list anew once a day: who is signed, or renews, gets it."""
        dates = self._verifier.crl_dates
        if dates is None or time.time() - dates[0] > DAY:
            self._authority.publish()
            self._verifier.update_crl(self._authority.crl_pem)

    def waiting(self) -> list[StoredRequest]:
        """The requests that wait for a hand, the oldest first, with the reason now."""
        return [
            replace(one, reason=self._taken(one.name) or one.reason)
            for one in self._store.waiting()
        ]

    def sign(
        self, words: Sequence[str], matching: str | None = None
    ) -> list[tuple[StoredRequest, EnrolmentMessage]]:
        """Sign what waits, by name or by the beginning of its digest, and the names that match.

        Each comes back with its answer. Where a name has asked with several keys its own word signs
        none of them: which is the machine's? A pattern signs no operator, and no name that has
        a certificate or had one: who is asking in its place?

        Raises:
            UsageError: nobody of a name waits, or it has asked with several keys.
        """
        waiting = self.waiting()
        meant = {one.digest: one for one in (_meant(waiting, word.lower()) for word in words)}
        names = {one.name for one in waiting if matching and fnmatchcase(one.name, matching)}
        matched = [_meant(waiting, name) for name in sorted(names)]
        nodes = [one for one in matched if one.kind == "node"]
        free = {one.digest: one for one in nodes if not self._taken(one.name)}
        left = [one for one in matched if one.digest not in free | meant]
        found = [*(self._signed(one, renew=True) for one in (meant | free).values()), *left]
        return [(one, self._answered(one)[1]) for one in found]

    def _taken(self, name: str) -> str:
        """Whether a name has a certificate, or had one that was taken back; "" where it has not."""
        statuses = self._authority.statuses(name)
        if "revoked" in statuses:
            return f"a certificate of {name} was revoked"
        if "valid" in statuses:
            return f"{name} has a certificate"
        # whoever has a certificate of a host's name is that host to TLS
        return f"a broker serves at {name}" if self._authority.serves(name) else ""

    def _by_hand(self, request: EnrolmentRequest) -> str:
        """Why a request is not signed by itself; "" where it is."""
        if request.kind != "node":
            return f"{request.kind}s are signed by hand"
        without = _NO_TOKEN if request.token is None else ""
        return self._taken(request.name) or without

    def _renewed(
        self, message: EnrolmentMessage, request: EnrolmentRequest, now: float
    ) -> tuple[EnrolmentAnswer, EnrolmentMessage]:
        """Sign for the same key, name and kind, while the certificate that it names is good."""
        try:
            known = self._renewal_of(message, request, now)
        except Rejected as why:
            answer = EnrolmentAnswer(request=message.digest, state="refused", reason=str(why))
        else:
            answer = self._answer_to(replace(known, digest=message.digest))
        return answer, seal_answer(answer, None, self._authority.sign)

    def _renewal_of(
        self, message: EnrolmentMessage, request: EnrolmentRequest, now: float
    ) -> StoredRequest:
        """The request as it is kept, signed; raises Rejected where it is not to be."""
        old, issuer = self._old_certificate(request, now)
        if request.kind != "node":
            raise Rejected(Reason.WRONG_KIND, f"{request.kind}s are signed by hand")
        early = (old.not_after - now) * 2 > old.not_after - issued_at(old)
        if early and issuer == self._authority.certificate.subject:
            raise Rejected(Reason.TOO_OFTEN, "more than half of its life is left")
        # by its number: whoever repeats what the node has asked gets no other certificate made
        number = f"renewal of {old.serial:x}"
        known = self._store.request(number)
        if known is None:
            self._store.forget_renewals(now - LEAF_LIFE)
            known = StoredRequest(
                digest=number,
                name=request.name,
                kind=request.kind,
                body=message.body,
                token=None,
                received=now,
                state="signing",
            )
            self._store.enter(known, now, None)
        return self._signed(known, renew=True) if known.state == "signing" else known

    def _old_certificate(self, request: EnrolmentRequest, now: float) -> tuple[Identity, x509.Name]:
        """Whose certificate a request names, and which CA's; raises Rejected unless it is good, and the asker's."""
        text = request.renews or ""
        old = self._examine(text, now)
        certificate = x509.load_der_x509_certificate(base64.b64decode(text))
        if (old.kind, old.name) != (request.kind, request.name):
            raise Rejected(Reason.WRONG_SENDER, f"it renews the {old.kind} {old.name}")
        if not same_key(request.public, certificate.public_key()):
            raise Rejected(Reason.WRONG_SENDER, f"it has another key than {old.name}'s certificate")
        return old, certificate.issuer

    def _examine(self, text: str, now: float) -> Identity:
        """Whose certificate (base64) it is; raises Rejected unless it is good now."""
        self._verifier.use_cas(self._authority.ca_pem)
        crl = self._authority.crl_pem
        if crl != self._verifier.crl_pem:
            self._verifier.update_crl(crl)
        return self._verifier.examine(text, now=now)

    def _signed(self, one: StoredRequest, *, renew: bool = False) -> StoredRequest:
        """Sign a request that is decided; one whose name has got another certificate waits."""
        request = open_request(EnrolmentMessage(one.body))
        try:
            pem = self._authority.certify(
                one.name, one.kind, request.public, renew=renew, lifetime=self._lifetime
            )
        except UsageError as error:
            self._store.note(one.digest, "waiting", reason=str(error))
        else:
            self._store.note(one.digest, "signed", certificate=pem)
        found = self._store.request(one.digest)
        return one if found is None else found

    def _answered(self, one: StoredRequest) -> tuple[EnrolmentAnswer, EnrolmentMessage]:
        stored = None if one.token is None else self._store.token(one.token)
        answer = self._answer_to(one)
        sign = self._authority.sign if answer.state == "signed" else None
        return answer, seal_answer(answer, None if stored is None else stored.token, sign)

    def _answer_to(self, one: StoredRequest) -> EnrolmentAnswer:
        """What a request is told that was decided."""
        if one.state != "signed":
            return EnrolmentAnswer(request=one.digest, state="waiting", reason=one.reason)
        return EnrolmentAnswer(
            request=one.digest,
            state="signed",
            reason=one.reason,
            certificate=one.certificate,
            ca=self._authority.ca_pem,
            crl=self._authority.crl_pem,
            retired=self._authority.retired_pem,
            settings=self._settings if one.token is not None and one.kind == "node" else {},
        )

    def postponed(
        self, message: EnrolmentMessage, request: EnrolmentRequest, why: str
    ) -> EnrolmentMessage:
        """The answer to a request of which nothing can be told yet."""
        stored = None if request.token is None else self._store.token(request.token)
        vouching = stored.token if stored and vouches(stored.token, message) else None
        answer = EnrolmentAnswer(request=message.digest, state="waiting", reason=why)
        sign = None if request.renews is None else self._authority.sign
        return seal_answer(answer, vouching, sign)


def _meant(waiting: Sequence[StoredRequest], word: str) -> StoredRequest:
    """The one request that a word says: a name, or at least eight digits of a digest."""
    by_digest = [one for one in waiting if len(word) >= _DIGITS and one.digest.startswith(word)]
    found = [one for one in waiting if one.name == word] or by_digest
    if not found:
        hint = did_you_mean(word, [one.name for one in waiting])
        raise UsageError(f"no request waits for {word!r}{hint}")
    if len(found) > 1:
        keys = ", ".join(one.digest[:_DIGITS] for one in found)
        raise UsageError(f"{word} has asked with {len(found)} keys, {keys}: say which")
    return found[0]


def _unfit(stored: StoredToken, request: EnrolmentRequest, now: float) -> str | None:
    """Why a token is not good for a request; None where it is."""
    if stored.ends <= now:
        return "the token has ended"
    if stored.kind != request.kind:
        return f"the token is for {stored.kind}s, not for {request.kind}s"
    if not fnmatchcase(request.name, stored.matching):
        return f"the token is for {stored.matching}, not for {request.name}"
    return "the token is used up" if stored.used >= stored.count else None


def _refusal(
    message: EnrolmentMessage, why: str, stored: StoredToken | None
) -> tuple[EnrolmentAnswer, EnrolmentMessage]:
    answer = EnrolmentAnswer(request=message.digest, state="refused", reason=why)
    return answer, seal_answer(answer, None if stored is None else stored.token)
