"""Out to the fleet: a request is signed, kept and sent, to all or to each."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.message import Request, Via
from mcshell.wire import destinations
from mcshell.wire.envelope import seal_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from mcshell.client.flight import Flight
    from mcshell.client.session import Session
    from mcshell.client.store import Record
    from mcshell.wire.envelope import Sealed
    from mcshell.wire.security import Signer
    from mcshell.wire.transport import Transport

__all__ = ["Courier"]

_CHUNK = 100


class Courier:
    """Signs and sends for one session. Safe to call from any thread."""

    def __init__(self, transport: Transport, signer: Signer, session: Session) -> None:
        self._transport = transport
        self._signer = signer
        self._session = session

    @property
    def caller(self) -> str:
        """The callerid under which everything goes out."""
        return self._signer.identity.callerid

    def request(self, record: Record, data: Mapping[str, Any], ttl: float) -> Request:
        """Build the request value of a record, from now and for `ttl` seconds.

        `data` are the inputs as they are; those in the record may be redacted.
        """
        now = time.time()
        return Request(
            id=record.id,
            agent=record.agent,
            action=record.action,
            caller=self.caller,
            collective=record.collective,
            via=record.via,
            session=self._session.name,
            created=now,
            expires=now + ttl,
            data=data,
            filter=record.filter,
        )

    def send(self, request: Request, names: Sequence[str], flight: Flight | None = None) -> None:
        """Send an interactive request: one message to all, or one to each of `names`.

        The bytes are kept after the SEND: an interactive request is never sent again.
        """
        if request.via is Via.BROADCAST:
            self._send_some([("*", request)], names, flight)
            return
        for start in range(0, len(names), _CHUNK):
            some = names[start : start + _CHUNK]
            self._send_some([(name, _to(request, name)) for name in some], some, flight)

    def _send_some(
        self,
        requests: Sequence[tuple[str, Request]],
        names: Sequence[str],
        flight: Flight | None,
    ) -> None:
        at = time.time()
        if flight is not None:
            flight.sent(names, at)
        outgoing = [(key, self._send_one(request)) for key, request in requests]
        if flight is not None:
            self._session.store.add_outgoing(requests[0][1].id, outgoing)
            self._session.store.mark_sent(requests[0][1].id, names, at)

    def _send_one(self, request: Request) -> Sealed:
        sealed = seal_request(request, self._signer)
        destination = (
            destinations.broadcast(request.collective)
            if request.identity is None
            else destinations.node(request.collective, request.identity)
        )
        self._transport.send(destination, sealed.body, sealed.headers, expires=request.expires)
        return sealed


def _to(request: Request, name: str) -> Request:
    return replace(request, identity=name, filter=type(request.filter)())
