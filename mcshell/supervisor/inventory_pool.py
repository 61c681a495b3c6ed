"""Serves the pool `inventory`: clients that have not listened are told what this one has heard.

Any operator may ask, as any may listen to registrations. A question is answered at once and leaves
no trace, so that a second answer to it does no harm.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from mcshell.ddl.ddl_library import builtin_dir, read
from mcshell.errors import ConnectionLost, InputError, Rejected
from mcshell.message import State, StatusCode, Via
from mcshell.node.replies import ReplyWriter
from mcshell.node.verdicts import Outcome
from mcshell.wire.documents.envelope import Arrival, BodyLimits, open_request

if TYPE_CHECKING:
    from mcshell.message import Request
    from mcshell.supervisor.inventory import Inventory
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.stomp.transport import Delivery, Transport

__all__ = ["POOL", "InventoryResponder"]

log = logging.getLogger(__name__)

POOL: Final = "inventory"
_HEADS: Final = 5000
_HEAD: Final = 100
"""Bytes of one head in a reply, and the most heads in one."""
_ENVELOPE: Final = 16_384
"""What of a reply is not registrations."""


class InventoryResponder:
    """Answers questions about an inventory; `max_reply` in bytes."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        inventory: Inventory,
        max_reply: int,
    ) -> None:
        self._transport = transport
        self._verifier = credentials.verifier
        self._identity = credentials.signer.identity.name
        self._inventory = inventory
        self._writer = ReplyWriter(credentials.signer, max_reply)
        # JSON doubles quotes and backslashes, and a registration is full of them.
        self._most = max(0, max_reply - _ENVELOPE) // 2
        self._ddl = read(builtin_dir() / f"{POOL}.json")

    def answer(self, delivery: Delivery, collective: str, now: float) -> None:
        """Answer one question; what cannot be believed gets none. Acknowledged either way."""
        arrival = Arrival(collective, Via.POOL, self._identity, POOL)
        try:
            request = open_request(
                delivery.body, delivery.headers, self._verifier, arrival, BodyLimits(), now
            )
        except Rejected as refusal:
            log.info("a question is refused: %s", refusal)
        else:
            sealed = self._writer.final(request, self._outcome(request))
            try:
                self._transport.send(ReplyWriter.destination(request), sealed.body, sealed.headers)
            except ConnectionLost as error:
                log.warning("the answer to %s is lost: %s", request.id, error)
        self._transport.ack(delivery)

    def _outcome(self, request: Request) -> Outcome:
        action = self._ddl.actions.get(request.action) if request.agent == POOL else None
        if action is None:
            text = f"nobody does {request.agent}.{request.action} here"
            return Outcome(State.FAILED, StatusCode.UNKNOWN_ACTION, text)
        try:
            data = action.check(request.data)
        except InputError as error:
            return Outcome(State.FAILED, error.statuscode, str(error))
        page = self._heads(data) if action.name == "heads" else self._page(request.collective, data)
        return Outcome(State.OK, StatusCode.OK, "OK", page)

    def _heads(self, data: dict[str, Any]) -> dict[str, Any]:
        """Heads of a log; one line of it with several heads is not divided between two pages."""
        most = max(2, min(_HEADS, self._most // _HEAD))
        found = self._inventory.heads(data["node"], data.get("after") or 0, most)
        complete = len(found) < most
        if not complete:
            found = [one for one in found if one[0] < found[-1][0]] or found
        return {"heads": [list(one) for one in found], "complete": complete}

    def _page(self, collective: str, data: dict[str, Any]) -> dict[str, Any]:
        found, complete = self._inventory.page(collective, data.get("after") or "", self._most)
        return {"registrations": [one.portable for one in found], "complete": complete}
