"""The conversations of a node: who may open one, and the handlers that hold them.

A conversation lives in the daemon's memory: a restart ends it, and turns of one that is not known
here are answered by `reset`. The right to open it is `converse.PROTOCOL`; it is asked again every
few seconds, so that a revoked caller does not talk on.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import AgentError, ConversationError, MCShellError, Reason, Rejected
from mcshell.message import Via
from mcshell.node.handler import load_handler
from mcshell.node.journal import claimed_id
from mcshell.wire import destinations
from mcshell.wire.conversation.channel import (
    CLOSED,
    DENIED,
    FAILED,
    INTERRUPTED,
    Channel,
    ConversationId,
    reset,
)
from mcshell.wire.conversation.multiplexer import Multiplexer
from mcshell.wire.documents.envelope import CERTIFICATE
from mcshell.wire.documents.turn import OPEN, RESET, open_turn_of_operator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mcshell.message import Turn
    from mcshell.node.context import SecurityContext
    from mcshell.node.handler import Handler
    from mcshell.node.host import Host
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Delivery, Transport

__all__ = ["AGENT", "ConversationServer"]

log = logging.getLogger(__name__)

AGENT: Final = "converse"
"""The name under which policies know conversations; the action is the protocol."""
MOST: Final = 32
_FRESH: Final = 60.0


@dataclass(frozen=True, slots=True)
class _HandlerConversation:
    """A handler's view of its channel."""

    channel: Channel
    node: Host
    data: Any

    @property
    def id(self) -> str:
        return self.channel.head.id

    @property
    def caller(self) -> str:
        return self.channel.head.caller

    def send(self, data: Any, timeout: float | None = None) -> None:
        self.channel.send(data, timeout)

    def close(self) -> None:
        self.channel.close()


class ConversationServer(Multiplexer[tuple["Delivery", str]]):
    """All conversations of one node; what comes in is a delivery and its collective."""

    def __init__(
        self,
        host: Host,
        security: SecurityContext,
        signer: Signer,
        transport: Transport,
        folders: Sequence[Path],
    ) -> None:
        super().__init__(transport, signer)
        self._host = host
        self._security = security
        self._folders = folders
        self._certificates: dict[str, str] = {}
        """The caller's, of each conversation whose handler has not ended."""

    def destination(self, turn: Turn) -> str:
        """The queue of the session that talks: derived, never taken from the turn."""
        return destinations.reply(turn.collective, turn.caller, turn.session)

    def refuse(self, message: tuple[Delivery, str], refusal: Rejected) -> None:
        """Audit a turn that gets no answer."""
        requestid = claimed_id(message[0].body)
        self._security.controller.refuse(
            self._host, refusal.reason, refusal.detail, requestid, Via.DIRECT
        )

    def hear(self, message: tuple[Delivery, str]) -> None:
        """Verify a turn, and give it to its conversation."""
        delivery, collective = message
        turn, _identity = open_turn_of_operator(
            delivery.body,
            delivery.headers,
            self._security.verifier,
            collective=collective,
            node=self._host.identity,
            now=time.time(),
        )
        self._host.journal.count("turns")
        channel = self._channels.get(turn.id)
        if channel is not None:
            if not channel.head.heads(turn):
                raise Rejected(Reason.CALLER_MISMATCH, f"the conversation is not {turn.caller}'s")
            channel.heard(turn, time.monotonic())
        elif turn.word == OPEN:
            self._open(turn, delivery.headers[CERTIFICATE])
        elif turn.word != RESET:
            self.say(reset(_head(turn), INTERRUPTED, f"{self._host.identity} does not know it"))

    def look(self, channel: Channel, now: float) -> None:
        """End it when the caller has lost his certificate or his right."""
        certificate = self._certificates.get(channel.head.id)
        if certificate is None or channel.ended:
            return
        try:
            self._security.verifier.examine(certificate, now=now)
        except Rejected as refusal:
            channel.end(DENIED, str(refusal))
            return
        why = self._denied(channel.head.caller, channel.head.protocol)
        if why:
            channel.end(DENIED, why)

    # -- opening ----------------------------------------------------------------------------------

    def _denied(self, caller: str, protocol: str) -> str | None:
        """Why it is not allowed; None when it is."""
        return self._security.authorisation.denied(self._host, caller, AGENT, protocol)

    def _open(self, turn: Turn, certificate: str) -> None:
        head = _head(turn)
        refusal = self._refusal(turn)
        if refusal is not None:
            state, reason = refusal
            self._write("denied" if state == DENIED else "refused", head, reason=reason)
            self._host.journal.count("denied" if state == DENIED else "refused")
            self.say(reset(head, state, reason))
            return
        now = time.monotonic()
        channel = Channel(head, self.wake, now, asks=False)
        self._channels[head.id] = channel
        self._certificates[head.id] = certificate
        channel.heard(turn, now)
        self._write("accepted", head)
        threading.Thread(
            target=self._hold, args=(channel, turn.data), name="mcshell-talk", daemon=True
        ).start()

    def _refusal(self, turn: Turn) -> tuple[str, str] | None:
        """Why it may not be opened: the state it ends in, and the reason."""
        now, skew = time.time(), self._security.limits.max_skew
        if not now - skew - _FRESH <= turn.created <= now + skew:
            off = turn.created - now
            return FAILED, f"opened {off:+.0f} s from this node's time; compare the clocks"
        if why := self._denied(turn.caller, turn.protocol):
            return DENIED, why
        if len(self._certificates) >= MOST:
            return FAILED, f"{self._host.identity} holds {MOST} conversations already"
        expires = now + 2 * (skew + _FRESH)
        if not self._security.replay_guard.claim(self._host.identity, turn.id, expires, now):
            return INTERRUPTED, f"{self._host.identity} had it before, and does not know it now"
        return None

    # -- a conversation's own thread --------------------------------------------------------------

    def _hold(self, channel: Channel, data: Any) -> None:
        head = channel.head
        line = _HandlerConversation(channel, self._host, data)
        try:
            handler = self._handler(head.protocol)
        except Exception as error:
            log.exception("the handler of %s does not load", head.protocol)
            channel.end(FAILED, f"the handler of {head.protocol} does not load: {error}")
            handler = None
        if handler is not None:
            channel.put_open(None)
            self._talk(handler, channel, line)
        self._write(
            "finished", head, state=channel.state, reason=channel.reason, turns=channel.received
        )
        self._host.journal.count(f"conversations_{channel.state}")
        self._certificates.pop(head.id, None)

    def _handler(self, protocol: str) -> Handler:
        found = load_handler(self._folders, protocol)
        if found is None:
            raise MCShellError(f"{self._host.identity} has none")
        return found()

    def _talk(self, handler: Handler, channel: Channel, line: _HandlerConversation) -> None:
        try:
            handler.opened(line)
            for data in channel:
                handler.turn(line, data)
        except ConversationError as over:
            log.info("%s", over)
        except AgentError as error:
            channel.end(FAILED, str(error))
        except Exception as error:
            log.exception("the handler of %s crashed", channel.head.protocol)
            text = f"the handler crashed: {type(error).__name__}: {error}"
            channel.end(FAILED, text)
        state = channel.state if channel.ended else CLOSED
        try:
            handler.closed(line, f"{state}: {channel.reason}" if channel.reason else state)
        except Exception:
            log.exception("the handler of %s crashed at its end", channel.head.protocol)
        channel.close()

    def _write(self, event: str, head: ConversationId, **more: Any) -> None:
        self._security.audit.write(
            {
                "event": event,
                "identity": self._host.identity,
                "requestid": head.id,
                "caller": head.caller,
                "agent": AGENT,
                "action": head.protocol,
                "via": Via.DIRECT.value,
                **more,
            }
        )


def _head(turn: Turn) -> ConversationId:
    return ConversationId(
        turn.id, turn.protocol, turn.caller, turn.node, turn.collective, turn.session
    )
