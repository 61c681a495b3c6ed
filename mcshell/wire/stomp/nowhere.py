"""A connection to no broker, for a client that speaks another wire alone: nothing goes out over it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from mcshell.errors import ConnectionLost
from mcshell.wire.stomp.dialects import MCSHELL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcshell.wire.stomp.dialects import Dialect
    from mcshell.wire.stomp.transport import AckMode, Delivery, Inbox, Receipt

__all__ = ["NoConnection"]


class NoConnection:
    """A `Transport` that takes what is said to all and delivers nothing; it promises nobody anything."""

    dialect: Dialect = MCSHELL
    connected = False
    url = ""
    broken_at = 0.0
    connected_at = 0.0
    connections = 0

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """There is nothing to connect to."""

    def send(
        self,
        destination: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        persistent: bool = False,
        expires: float | None = None,
        receipt: bool = False,
    ) -> Receipt | None:
        """Drop it; ConnectionLost where it was to be confirmed."""
        del destination, body, headers, persistent, expires
        if receipt:
            raise ConnectionLost("there is no connection but to MCollective's network")
        return None

    def check_sending(self, destination: str, timeout: float) -> None:
        """Nothing is held back."""

    def subscribe(
        self,
        destination: str,
        inbox: Inbox,
        *,
        ack: AckMode = "client-individual",
        prefetch: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Nothing ever comes."""
        del destination, inbox, ack, prefetch, headers
        return str(next(self._numbers))

    def subscribe_all(
        self,
        wanted: Iterable[tuple[str, Inbox]],
        *,
        ack: AckMode = "client-individual",
        prefetch: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Nothing ever comes."""
        return [
            self.subscribe(destination, inbox, ack=ack, prefetch=prefetch, headers=headers)
            for destination, inbox in wanted
        ]

    def expect(self, subscription: str, inbox: Inbox) -> None:
        """Nothing ever comes."""

    def pause(self, subscription: str) -> None:
        """Nothing ever comes."""

    def lend(self, subscription: str, destination: str) -> None:
        """Nothing ever comes."""

    def resume(self, subscription: str) -> None:
        """Nothing ever comes."""

    def unsubscribe(self, subscription: str) -> None:
        """Nothing ever came."""

    def ack(self, delivery: Delivery) -> None:
        """Nothing ever came."""

    def renew(self, reason: str) -> None:
        """There is nothing to renew."""

    def close(self) -> None:
        """There is nothing to close."""
