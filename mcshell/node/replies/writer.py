"""A node's replies about a request: signed, and addressed by the verified caller and session."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcshell.errors import AgentError
from mcshell.message import Reply, ReplySequence, Request, State, StatusCode
from mcshell.node.store.records import OutboxMessage
from mcshell.node.verdicts import Outcome
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, seal_reply

if TYPE_CHECKING:
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Signer

__all__ = ["ReplyWriter"]

_WORKING = {State.RECEIVED: ReplySequence.RECEIVED, State.RUNNING: ReplySequence.RUNNING}


class ReplyWriter:
    """Writes the replies of one identity. `max_reply` in bytes."""

    def __init__(self, signer: Signer, max_reply: int) -> None:
        self._signer = signer
        self._max_reply = max_reply

    @staticmethod
    def destination(request: Request) -> str:
        """The queue of the session that asked: derived, never taken from the request.

        Empty for a job that a rule has brought: no session waits for it.
        """
        if not request.session:
            return ""
        return destinations.reply(request.collective, request.caller, request.session)

    def working(self, request: Request, state: State, attempt: int = 1) -> SealedMessage:
        """Write the reply that says that the request was received or is running."""
        sequence = _numbered(_WORKING[state], attempt)
        reply = self._reply(request, sequence, Outcome(state, 0, ""), None)
        return seal_reply(reply, self._signer)

    def final(self, request: Request, outcome: Outcome, attempt: int = 1) -> SealedMessage:
        """Write the final reply; what cannot be sent is said to have failed, and why."""
        try:
            sealed = self._final(request, outcome, attempt)
        except AgentError as error:
            return self._final(request, _unsendable(str(error)), attempt)
        size = len(sealed.body)
        if size > self._max_reply:
            text = f"reply too large: {size} bytes, {self._max_reply} are allowed (max_reply)"
            return self._final(request, _unsendable(text), attempt)
        return sealed

    def kept(self, request: Request, outcome: Outcome, attempt: int = 1) -> OutboxMessage:
        """Write the final reply as the outbox keeps it."""
        sealed = self.final(request, outcome, attempt)
        return self._message(request, _numbered(ReplySequence.FINAL, attempt), sealed)

    def _message(self, request: Request, sequence: int, sealed: SealedMessage) -> OutboxMessage:
        return OutboxMessage(
            self._signer.identity.name,
            request.id,
            sequence,
            self.destination(request),
            sealed.body,
            sealed.headers[SIGNATURE],
            sealed.headers[CERTIFICATE],
        )

    def noted(self, request: Request, state: State) -> OutboxMessage:
        """Write the reply `received` or `running` as the outbox keeps it."""
        sealed = self.working(request, state)
        return self._message(request, _WORKING[state], sealed)

    def _final(self, request: Request, outcome: Outcome, attempt: int) -> SealedMessage:
        sequence = _numbered(ReplySequence.FINAL, attempt)
        reply = self._reply(request, sequence, outcome, outcome.statuscode)
        return seal_reply(reply, self._signer)

    def _reply(
        self, request: Request, sequence: int, outcome: Outcome, statuscode: int | None
    ) -> Reply:
        return Reply(
            requestid=request.id,
            sender=self._signer.identity.name,
            sequence=sequence,
            statuscode=statuscode,
            statusmsg=outcome.statusmsg,
            data=outcome.data,
            created=time.time(),
            state=outcome.state,
            job=request.job,
            run=request.run,
        )


def _numbered(sequence: int, attempt: int) -> int:
    return sequence + ReplySequence.STEP * (max(1, attempt) - 1)


def _unsendable(text: str) -> Outcome:
    return Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text)
