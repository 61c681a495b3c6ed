"""A connection that a test holds in its hand: what is sent is seen, and confirmed or broken by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcshell.errors import ConnectionLost
from mcshell.wire.stomp.transport import PendingReceipt

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HeldTransport", "SentMessage"]


@dataclass(slots=True)
class SentMessage:
    """One SEND, with its receipt."""

    destination: str
    body: bytes
    headers: dict[str, str]
    options: dict[str, object]
    receipt: PendingReceipt


@dataclass
class HeldTransport:
    """The part of a `Transport` that senders of confirmed messages use.

    `answer`: what becomes of each receipt at once: "" confirmed, a reason broken, None is left open.
    """

    url: str = "stomp://one:1"
    answer: str | None = ""
    down: bool = False
    broken_at: float = 0.0
    sent: list[SentMessage] = field(default_factory=list)

    def send(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        **options: object,
    ) -> PendingReceipt | None:
        """Note a SEND; ConnectionLost while it is down."""
        if self.down:
            raise ConnectionLost("the connection is down", unsent=True)
        receipt = PendingReceipt(f"r{len(self.sent)}", destination)
        if self.answer is not None:
            receipt.resolve(self.answer)
        self.sent.append(SentMessage(destination, body, dict(headers or {}), options, receipt))
        return receipt if options.get("receipt") else None

    @property
    def bodies(self) -> list[bytes]:
        """What was sent, in order."""
        return [one.body for one in self.sent]
