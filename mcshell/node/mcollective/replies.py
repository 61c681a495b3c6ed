"""A node's answers on the old wire: last replies only, each to where its request said."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from mcshell.errors import BodyError, ConnectionLost, Rejected
from mcshell.message import Reply, ReplySequence, State, StatusCode
from mcshell.node.verdicts import Outcome
from mcshell.wire.mcollective.layouts import Stamp
from mcshell.wire.mcollective.messages import DISCOVERY, write_reply
from mcshell.wire.mcollective.values import RubySymbol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.message import Request
    from mcshell.node.mcollective.admission import Asked
    from mcshell.node.mcollective.host import MCollectiveHost
    from mcshell.wire.mcollective.layouts import Layout
    from mcshell.wire.mcollective.setup import Wire
    from mcshell.wire.stomp.transport import Transport

__all__ = ["MCollectiveReplies"]

log = logging.getLogger(__name__)

_TTL = 60
_SYMBOLS = {("rpcutil", "daemon_stats"): "times", ("rpcutil", "agent_inventory"): "agents"}
"""Outputs in which `mco inventory` and `mco plugin` look for keys that are Symbols."""


class MCollectiveReplies:
    """Answers requests that were announced by `expect`. `max_reply` in bytes."""

    def __init__(
        self, wire: Wire, transport: Transport, mco_host: MCollectiveHost, max_reply: int
    ) -> None:
        self._wire = wire
        self._transport = transport
        self._mco_host = mco_host
        self._max_reply = max_reply
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Asked, Layout]] = {}

    def expect(self, asked: Asked, layout: Layout) -> None:
        """Remember whom to answer, and where."""
        with self._lock:
            self._open[asked.request.id] = (asked, layout)

    def working(self, request: Request, state: State) -> None:
        """Say nothing: that wire has no replies before the last."""

    def final(self, request: Request, outcome: Outcome) -> None:
        """Say how it came out."""
        with self._lock:
            asked, layout = self._open.pop(request.id)
        journal = self._mco_host.journal
        journal.note(request.id, outcome.state.value, statuscode=outcome.statuscode)
        journal.count(outcome.state.value)
        if asked.incoming.answer:
            self._send(asked, layout, outcome)

    def pong(self, asked: Asked, layout: Layout) -> None:
        """Answer a discovery."""
        self._send(asked, layout, Outcome(State.OK, StatusCode.OK, "OK"))

    def _send(self, asked: Asked, layout: Layout, outcome: Outcome) -> None:
        request = asked.request
        try:
            body = self._sealed(asked, outcome)
            stamp = Stamp(self._wire.sender, _TTL, time.time())
            target = layout.reply(asked.reply_to, stamp)
            self._transport.send(target.destination, body, target.headers)
            self._mco_host.count("replies")
        except (ConnectionLost, Rejected) as error:
            self._mco_host.journal.count("unsent")
            log.warning("the answer to %s is lost: %s", request.id, error)

    def _sealed(self, asked: Asked, outcome: Outcome) -> bytes:
        """What goes out; what cannot is said to have failed, and why."""
        try:
            body = self._written(asked, outcome)
        except BodyError as error:
            text = f"the reply cannot be sent: {error}"
            return self._written(asked, Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text))
        if len(body) > self._max_reply:
            text = f"reply too large: {len(body)} bytes, {self._max_reply} are allowed (max_reply)"
            return self._written(asked, Outcome(State.FAILED, StatusCode.UNKNOWN_ERROR, text))
        return body

    def _written(self, asked: Asked, outcome: Outcome) -> bytes:
        request = asked.request
        reply = Reply(
            requestid=request.id,
            sender=self._wire.sender,
            sequence=ReplySequence.FINAL,
            statuscode=outcome.statuscode,
            statusmsg=outcome.statusmsg,
            data=_symbolic(request, outcome.data),
            created=time.time(),
            state=outcome.state,
        )
        envelope = write_reply(reply, request.agent, outputs=self._outputs(request))
        security = self._wire.security
        return self._wire.wrapped(security.seal_reply(envelope, asked.incoming.callerid))

    def _outputs(self, request: Request) -> dict[str, Any]:
        """The outputs that the DDL declares, at their defaults."""
        service = self._mco_host.service(request.agent)
        action = None if service is None else service.ddl.actions.get(request.action)
        if request.agent == DISCOVERY or action is None:
            return {}
        return {name: output.default for name, output in action.outputs.items()}


def _symbolic(request: Request, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The outputs, with Symbols where MCollective's own agents have them below the top."""
    name = _SYMBOLS.get((request.agent, request.action))
    if name is None or name not in data:
        return data
    return {**data, name: _keyed(data[name])}


def _keyed(value: Any) -> Any:
    if isinstance(value, list):
        return [_keyed(one) for one in value]
    return (
        {RubySymbol(key): one for key, one in value.items()} if isinstance(value, dict) else value
    )
