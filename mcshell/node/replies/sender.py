"""Sends one node's replies over its connection, and says at which step a request is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mcshell.errors import ConnectionLost
from mcshell.node.replies.writer import ReplyWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.message import Request, State
    from mcshell.node.host import Host
    from mcshell.node.verdicts import Outcome
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.stomp.transport import Transport

    Steps = Callable[[str, str], None]
    """Told the name of a step and a request's id."""

__all__ = ["ReplySender", "no_steps"]

log = logging.getLogger(__name__)


def no_steps(step: str, requestid: str) -> None:
    """Watch no steps: so does every daemon but those that tests kill at a step."""


class ReplySender:
    """Sends the replies of one node. One that cannot leave is counted, and lost: what must not be
    lost goes through the outbox.
    """

    def __init__(self, writer: ReplyWriter, transport: Transport, host: Host) -> None:
        self._writer = writer
        self._transport = transport
        self._host = host

    def working(self, request: Request, state: State, attempt: int = 1) -> None:
        """Say that the request was received or is running."""
        if not request.session:
            return  # a rule has brought it: nobody waits for a reply
        if request.via.durable and not self._transport.connected:
            return  # no worker waits for a connection here: the last reply will come
        self._send(request, self._writer.working(request, state, attempt))

    def final(self, request: Request, outcome: Outcome) -> None:
        """Say how it came out, and remember it."""
        journal = self._host.journal
        journal.note(request.id, outcome.state.value, statuscode=outcome.statuscode)
        journal.count(outcome.state.value)
        self._send(request, self._writer.final(request, outcome))

    def _send(self, request: Request, sealed: SealedMessage) -> None:
        try:
            self._transport.send(
                ReplyWriter.destination(request),
                sealed.body,
                sealed.headers,
                persistent=request.via.durable,
            )
        except ConnectionLost as error:
            self._host.journal.count("unsent")
            log.warning("the answer to %s is lost: %s", request.id, error)
