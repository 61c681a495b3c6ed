"""The CA's side of enrolment: which requests it signs by itself, and which wait for a hand.

By itself it signs what a token vouches for that has not ended, is not used up, and is for that kind
and such a name. It never does for operators, nor for a name that has a certificate, or had one that was
taken back: whoever has a token must not be able to become a machine that is there. A request that came
twice is answered twice, and counts once: an answer may be lost on its way.
"""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from mcshell.enrolment.store import StoredRequest, StoredToken
from mcshell.errors import UsageError, did_you_mean
from mcshell.wire.documents.enrolment import (
    EnrolmentAnswer,
    EnrolmentMessage,
    EnrolmentToken,
    fingerprint,
    open_request,
    seal_answer,
    vouches,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.enrolment.store import EnrolmentStore
    from mcshell.pki import Authority, Kind
    from mcshell.wire.documents.enrolment import EnrolmentRequest, EnrolmentState

__all__ = ["EnrolmentService"]

_MOST_UNVOUCHED: Final = 1000
"""Requests without a token that wait at once: anybody can make them."""
_DIGITS: Final = 8
_UNVOUCHED_FOR: Final = 7 * 86_400.0  # seconds


class EnrolmentService:
    """The CA, its tokens and the requests that it has; one thread at a time."""

    def __init__(self, authority: Authority, store: EnrolmentStore) -> None:
        self._authority = authority
        self._store = store

    def new_token(self, matching: str, kind: Kind, ends: float, count: int) -> EnrolmentToken:
        """Make a token for `count` machines whose names match a pattern, until `ends` (epoch)."""
        if count < 1:
            raise UsageError(f"a token for {count} machines is good for none")
        token = EnrolmentToken.new(fingerprint(self._authority.certificate))
        stored = StoredToken(token=token, matching=matching, kind=kind, ends=ends, count=count)
        self._store.add_token(stored)
        return token

    def receive(self, message: EnrolmentMessage) -> tuple[EnrolmentAnswer, EnrolmentMessage]:
        """Take a request; what is answered, and that as it travels.

        Raises:
            Rejected: it is none, or not of its key's owner (`documents.enrolment.open_request`).
        """
        now = time.time()
        request = open_request(message)
        stored = None if request.token is None else self._store.token(request.token)
        if request.token is not None and (stored is None or not vouches(stored.token, message)):
            return _refusal(message, "no token of this CA vouches for it", None)
        if (known := self._store.request(message.digest)) is not None:
            return self._answered(known if known.state != "signing" else self._signed(known))
        why = None if stored is None else _unfit(stored, request, now)
        if why is None:
            self._store.forget(now - _UNVOUCHED_FOR)
            by_hand = self._by_hand(request)
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

    def waiting(self) -> list[StoredRequest]:
        """The requests that wait for a hand, the oldest first."""
        return self._store.waiting()

    def sign(
        self, words: Sequence[str], matching: str | None = None
    ) -> list[tuple[StoredRequest, EnrolmentMessage]]:
        """Sign what waits, by name or by the beginning of its digest, and the names that match.

        Each comes back with its answer. Where a name has asked with several keys its own word signs
        none of them: which is the machine's?

        Raises:
            UsageError: nobody of a name waits, or it has asked with several keys.
        """
        waiting = self._store.waiting()
        meant = [_meant(waiting, word) for word in words]
        names = {one.name for one in waiting if matching and fnmatchcase(one.name, matching)}
        meant += [_meant(waiting, name) for name in sorted(names)]
        found = []
        for one in {one.digest: one for one in meant}.values():
            signed = self._signed(one, renew=True)
            found.append((signed, self._answered(signed)[1]))
        return found

    def _by_hand(self, request: EnrolmentRequest) -> str:
        """Why a request is not signed by itself; "" where it is."""
        if request.token is None:
            return "no token vouches for it"
        if request.kind != "node":
            return f"{request.kind}s are signed by hand"
        statuses = self._authority.statuses(request.name)
        if "revoked" in statuses:
            return f"a certificate of {request.name} was revoked"
        return f"{request.name} has a certificate" if "valid" in statuses else ""

    def _signed(self, one: StoredRequest, *, renew: bool = False) -> StoredRequest:
        """Sign a request that is decided; one whose name has got another certificate waits."""
        request = open_request(EnrolmentMessage(one.body))
        try:
            pem = self._authority.certify(one.name, one.kind, request.public, renew=renew)
        except UsageError as error:
            self._store.note(one.digest, "waiting", reason=str(error))
        else:
            self._store.note(one.digest, "signed", certificate=pem)
        found = self._store.request(one.digest)
        return one if found is None else found

    def _answered(self, one: StoredRequest) -> tuple[EnrolmentAnswer, EnrolmentMessage]:
        stored = None if one.token is None else self._store.token(one.token)
        signed = one.state == "signed"
        state: EnrolmentState = "signed" if signed else "waiting"
        answer = EnrolmentAnswer(
            request=one.digest,
            state=state,
            reason=one.reason,
            certificate=one.certificate,
            ca=self._authority.ca_pem if signed else b"",
            crl=self._authority.crl_pem if signed else b"",
        )
        return answer, seal_answer(answer, None if stored is None else stored.token)


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
