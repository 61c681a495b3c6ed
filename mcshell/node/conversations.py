"""The conversations of nodes: who may open one, and the handlers that hold them.

A conversation lives in the daemon's memory: a restart ends it, and turns of one that is not known
here are answered by `reset`. The right to open it is `converse.PROTOCOL`; it is asked again every
few seconds, so that a revoked caller does not talk on.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import AgentError, ConversationError, MCShellError, Reason, Rejected
from mcshell.message import Via
from mcshell.node.handler import load_handler
from mcshell.node.journal import claimed_id
from mcshell.values import dataclass
from mcshell.wire import destinations
from mcshell.wire.conversation.channel import (
    CLOSED,
    DENIED,
    FAILED,
    INTERRUPTED,
    PATIENCE,
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
    from mcshell.node.context import Node, NodeContext, SecurityContext
    from mcshell.node.handler import Handler
    from mcshell.node.host import Host
    from mcshell.wire.documents.signatures import Signer
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["AGENT", "ConversationServer"]

log = logging.getLogger(__name__)

AGENT: Final = "converse"
"""The name under which policies know conversations; the action is the protocol."""
MOST: Final = 128
"""Conversations of one node, of all callers."""
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

    def send(self, data: Any, timeout: float | None = PATIENCE) -> None:
        self.channel.send(data, timeout)

    def close(self) -> None:
        self.channel.close()


class ConversationServer(Multiplexer[tuple["Node", str, "Delivery"]]):
    """That of the nodes of a connection.

    What comes in is the node, and the collective whose queue it was in. `each` is how many one
    caller may hold on a node (0: as many as all).
    """

    def __init__(
        self,
        context: NodeContext,
        security: SecurityContext,
        folders: Sequence[Path],
        each: int,
    ) -> None:
        super().__init__(context.transport)
        self._nodes = context.nodes
        self._security = security
        self.folders = folders
        """Where handlers are looked for when a conversation begins."""
        self._certificates: dict[str, str] = {}
        """The caller's, of each conversation whose handler has not ended."""
        self._holders: dict[str, tuple[str, str]] = {}
        """Of the same: on which node, and whose."""
        self._each = each or MOST

    def signer(self, turn: Turn) -> Signer:
        """The node's own."""
        return self._nodes[turn.node].signer

    def destination(self, turn: Turn) -> str:
        """The queue of the session that talks: derived, never taken from the turn."""
        return destinations.reply(turn.collective, turn.caller, turn.session)

    def refuse(self, message: tuple[Node, str, Delivery], refusal: Rejected) -> None:
        """Audit a turn that gets no answer."""
        node, _collective, delivery = message
        requestid = claimed_id(delivery.body)
        self._security.controller.refuse(
            node.host, refusal.reason, refusal.detail, requestid, Via.DIRECT
        )

    def hear(self, message: tuple[Node, str, Delivery]) -> None:
        """Verify a turn, and give it to its conversation."""
        node, collective, delivery = message
        identity = node.host.identity
        turn, _identity = open_turn_of_operator(
            delivery.body,
            delivery.headers,
            self._security.verifier,
            collective=collective,
            node=identity,
            now=time.time(),
        )
        node.host.journal.count("turns")
        channel = self._channels.get(_key(turn))
        if channel is not None:
            if not channel.head.heads(turn):
                raise Rejected(Reason.CALLER_MISMATCH, f"the conversation is not {turn.caller}'s")
            channel.heard(turn, time.monotonic())
        elif turn.word == OPEN:
            self._open(node.host, turn, delivery.headers[CERTIFICATE])
        elif turn.word != RESET:
            self.say(reset(_head(turn), INTERRUPTED, f"{identity} does not know it"))

    def look(self, channel: Channel, now: float) -> None:
        """End it when the caller has lost his certificate or his right."""
        head = channel.head
        certificate = self._certificates.get(_key(head))
        if certificate is None or channel.ended:
            return
        try:
            self._security.verifier.examine(certificate, now=now)
        except Rejected as refusal:
            channel.end(DENIED, str(refusal))
            return
        why = self._denied(self._nodes[head.node].host, head.caller, head.protocol)
        if why:
            channel.end(DENIED, why)

    # -- opening ----------------------------------------------------------------------------------

    def _denied(self, host: Host, caller: str, protocol: str) -> str | None:
        """Why it is not allowed; None when it is."""
        authorisation = self._security.authorisation
        if why := authorisation.denied(host, caller, AGENT, protocol):
            return why
        demand = authorisation.demand(host, caller, AGENT, protocol)
        return f"denied: {demand}, and a conversation cannot be proposed" if demand else None

    def _open(self, host: Host, turn: Turn, certificate: str) -> None:
        head = _head(turn)
        refusal = self._refusal(host, turn)
        if refusal is not None:
            state, reason = refusal
            self._write("denied" if state == DENIED else "refused", head, reason=reason)
            host.journal.count("denied" if state == DENIED else "refused")
            self.say(reset(head, state, reason))
            return
        if why := self._write("accepted", head):
            host.journal.count("refused")
            self.say(reset(head, FAILED, f"refused: the audit log cannot be written ({why})"))
            return
        now = time.monotonic()
        channel = self.channel(_key(head), head, now, asks=False)
        self._certificates[_key(head)] = certificate
        self._holders[_key(head)] = (head.node, head.caller)
        channel.heard(turn, now)
        threading.Thread(
            target=self._hold, args=(host, channel, turn.data), name="mcshell-talk", daemon=True
        ).start()

    def _refusal(self, host: Host, turn: Turn) -> tuple[str, str] | None:
        """Why it may not be opened: the state it ends in, and the reason."""
        now, skew = time.time(), self._security.limits.max_skew
        if not now - skew - _FRESH <= turn.created <= now + skew:
            off = turn.created - now
            return FAILED, f"opened {off:+.0f} s from this node's time; compare the clocks"
        if why := self._denied(host, turn.caller, turn.protocol):
            return DENIED, why
        identity = host.identity
        callers = [caller for node, caller in list(self._holders.values()) if node == identity]
        if callers.count(turn.caller) >= self._each:
            return FAILED, f"{identity} holds {self._each} conversations already of {turn.caller}"
        if len(callers) >= MOST:
            return FAILED, f"{identity} holds {MOST} conversations already"
        expires = now + 2 * (skew + _FRESH)
        signed = min(now, turn.created)
        if not self._security.replay_guard.claim(identity, turn.id, expires, signed):
            return INTERRUPTED, f"{identity} had it before, and does not know it now"
        return None

    # -- a conversation's own thread --------------------------------------------------------------

    def _hold(self, host: Host, channel: Channel, data: Any) -> None:
        head = channel.head
        line = _HandlerConversation(channel, host, data)
        try:
            handler = self._handler(head)
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
        host.journal.count(f"conversations_{channel.state}")
        self._holders.pop(_key(head), None)
        self._certificates.pop(_key(head), None)

    def _handler(self, head: ConversationId) -> Handler:
        found = load_handler(self.folders, head.protocol)
        if found is None:
            raise MCShellError(f"{head.node} has none")
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

    def _write(self, event: str, head: ConversationId, **more: Any) -> str | None:
        """Audit a conversation; returns why it could not be, None when it was."""
        return self._security.audit.write(
            {
                "event": event,
                "identity": head.node,
                "requestid": head.id,
                "caller": head.caller,
                "agent": AGENT,
                "action": head.protocol,
                "via": Via.DIRECT.value,
                **more,
            },
            vital=event in ("accepted", "finished"),
        )


def _head(turn: Turn) -> ConversationId:
    return ConversationId(
        id=turn.id,
        protocol=turn.protocol,
        caller=turn.caller,
        node=turn.node,
        collective=turn.collective,
        session=turn.session,
        digest=turn.digest,
    )


def _key(one: Turn | ConversationId) -> str:
    """Its name here: ids are of their makers' choice, and no node's are another's."""
    return f"{one.node}/{one.id}"
