"""A conversation with one node: an ordered two-way channel for many turns.

>>> with client.open("web1", "echo") as talk:
...     talk.send({"say": "hello"})
...     talk.receive(timeout=5)
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from mcshell import interrupts
from mcshell.client.arguments import patience_of
from mcshell.errors import ConversationError, ForkedClient, Reason, Rejected, UsageError
from mcshell.message import made_id, new_nonce
from mcshell.wire import destinations
from mcshell.wire.conversation.channel import OPENING, PATIENCE, Channel, ConversationId
from mcshell.wire.conversation.multiplexer import Multiplexer
from mcshell.wire.documents import fields
from mcshell.wire.documents.envelope import digest_of
from mcshell.wire.documents.turn import OPEN, TURN, open_turn_of_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.arguments import Duration
    from mcshell.message import Turn
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Signer, Verifier
    from mcshell.wire.stomp.transport import Delivery, Transport

__all__ = ["Conversation", "ConversationClient"]

log = logging.getLogger(__name__)


class Conversation:
    """One conversation; its methods may be called from any thread.

    It outlives a lost connection of either side. It does not outlive the node's daemon nor this
    process: then `state` is "interrupted", and what was not answered may or may not have arrived.
    """

    def __init__(self, channel: Channel, client: object) -> None:
        self._channel = channel
        self._client = client  # stays open for as long as this is there

    @property
    def id(self) -> str:
        """Its id, as the node's audit has it."""
        return self._channel.head.id

    @property
    def node(self) -> str:
        """The node that it is held with."""
        return self._channel.head.node

    @property
    def protocol(self) -> str:
        """What is spoken."""
        return self._channel.head.protocol

    @property
    def state(self) -> str:
        """Where it stands: open, closed, denied, failed or interrupted."""
        return self._channel.state

    @property
    def reason(self) -> str:
        """Why it was denied, failed or was interrupted."""
        return self._channel.reason

    def send(self, data: Any, timeout: Duration | None = PATIENCE) -> None:
        """Send one turn: anything that JSON carries, and bytes.

        Waits (seconds, 60 by default; None: for ever) while 32 turns are not acknowledged.

        Raises:
            InputError: data that no turn can carry.
            TurnTimeout: the node took nothing that long; the turn is not sent.
            ConversationError: it is over.
            Stopped: Ctrl-C; the turn is not sent, and the conversation goes on.
        """
        with interrupts.call():
            self._channel.send(data, patience_of(timeout))

    def receive(self, timeout: Duration | None = None) -> Any:
        """Return the data of the node's next turn, waiting so many seconds (None: for ever).

        Raises:
            TurnTimeout: none came in time.
            ConversationError: it is over, and all that came was returned; `state` says how.
            Stopped: Ctrl-C; the conversation goes on.
        """
        with interrupts.call():
            return self._channel.receive(patience_of(timeout))

    def __iter__(self) -> Iterator[Any]:
        """Each turn of the node, until it closes.

        Raises:
            ConversationError: it was interrupted, or failed.
            Stopped: Ctrl-C; the conversation goes on.
        """
        turns, end = iter(self._channel), object()
        while True:
            with interrupts.call():
                turn = next(turns, end)
            if turn is end:
                return
            yield turn

    def close(self, timeout: float = 5.0) -> None:
        """End it once the node has got what was sent; what it says meanwhile is not read."""
        with suppress(ForkedClient), interrupts.call(asks=False):
            if not self._channel.close(timeout):
                log.info("%s did not say good-bye within %g s", self.node, timeout)

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Say with whom, about what, and how it stands."""
        return f"<Conversation {self.protocol} with {self.node}: {self.state}>"


class ConversationClient(Multiplexer["Delivery"]):
    """All conversations of a client. `junk` counts the turns that were refused, by reason."""

    def __init__(
        self, transport: Transport, signer: Signer, verifier: Verifier, session: str
    ) -> None:
        super().__init__(transport)
        self._signer = signer
        self._verifier = verifier
        self._session = session
        self.junk: Counter[str] = Counter()

    def open(
        self,
        node: str,
        protocol: str,
        *,
        collective: str,
        data: Any,
        timeout: float,
        client: object,
    ) -> Conversation:
        """Open a conversation of a client and wait for the node's reply.

        Raises:
            UsageError: names that mean nothing.
            TurnTimeout: the node did not answer.
            ConversationError: it said no; `state` is denied or failed.
        """
        caller, nonce = self._signer.identity.callerid, new_nonce()
        head = ConversationId(
            id=made_id(TURN, caller, nonce),
            nonce=nonce,
            protocol=protocol,
            caller=caller,
            node=node.lower(),
            collective=collective,
            session=self._session,
        )
        try:
            fields.name({"node": head.node}, "node")
            fields.word({"protocol": protocol}, "protocol")
        except Rejected as error:
            raise UsageError(error.detail) from error
        channel = self.channel(head.id, head, time.monotonic(), asks=True)
        try:
            channel.put_open(data)
            channel.wait_open(timeout)
        except BaseException as error:
            if not isinstance(error, ConversationError) or error.state == OPENING:
                channel.end("interrupted", "the caller did not wait longer")
            raise
        return Conversation(channel, client)

    def hear(self, message: Delivery) -> None:
        """Verify a turn, and give it to its conversation."""
        turn = open_turn_of_node(
            message.body, message.headers, self._verifier, time.time(), self._partner
        )
        channel = self._channels[turn.id]
        if not channel.head.heads(turn):
            raise Rejected(Reason.MALFORMED, f"not the conversation {turn.id} that we hold")
        if turn.digest not in channel.opens:
            raise Rejected(Reason.UNBOUND, f"{turn.node} answers no open of ours")
        channel.opens = {turn.digest}
        channel.heard(turn, time.monotonic())

    def _partner(self, conversation: str) -> str | None:
        channel = self._channels.get(conversation)
        return None if channel is None else channel.head.node

    def refuse(self, message: Delivery, refusal: Rejected) -> None:
        """Count a turn that was refused, by its reason."""
        self.junk[refusal.reason.value] += 1
        log.debug("junk on %s: %s", message.destination, refusal)

    def seal(self, turn: Turn) -> SealedMessage:
        """Sign it; which `open` the node has answered is in each later turn of ours.

        So a node that has forgotten the conversation can still say so.
        """
        opens = self._channels[turn.id].opens
        if turn.word != OPEN:
            return super().seal(replace(turn, digest=min(opens, default="")))
        sealed = super().seal(turn)
        opens.add(digest_of(sealed.body))
        return sealed

    def signer(self, turn: Turn) -> Signer:  # noqa: ARG002 - one speaks here
        """Ours."""
        return self._signer

    def destination(self, turn: Turn) -> str:
        """Where a turn goes: the node's own queue."""
        return destinations.node(turn.collective, turn.node)
