"""The old wire of one client: requests go out, replies come in as the values that we know.

One reply queue serves all requests of a client for as long as it lives (MCollective's own client
makes one for each): so a reply that comes late still joins its request.

Who answers a discovery there says nothing of itself. So each node that is met is asked for its
inventory, once in a while and in the background. From then on it is known by its facts, classes and
agents as our own nodes are: it is a row when it is dead.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import threading
import time
from collections import Counter, OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.client.discovery.node_cache import CachedNode
from mcshell.client.messaging.receive_buffer import ReceiveBuffer
from mcshell.client.store.records import ReplyRecord
from mcshell.errors import Reason, Rejected, not_kept
from mcshell.interrupts import InterruptibleCondition
from mcshell.message import Filter, Request, Via, new_nonce
from mcshell.wire.mcollective import stored as kept
from mcshell.wire.mcollective.filters import to_ruby
from mcshell.wire.mcollective.layouts import Stamp
from mcshell.wire.mcollective.messages import DISCOVERY, read_reply, write_request
from mcshell.wire.mcollective.setup import connector, layout_for, open_wire

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Sequence

    from mcshell.client.mcollective.routes import Routes
    from mcshell.config import Settings
    from mcshell.message import Reply
    from mcshell.wire.mcollective.envelope import ReplyEnvelope
    from mcshell.wire.mcollective.layouts import Layout, Target
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["InventoryPoller", "MCollectiveConnection", "ReplyKeeper"]

log = logging.getLogger(__name__)

_GROUP: Final = 400
_REMEMBERED: Final = 1000
_FRESH: Final = 3600.0
_CHUNK: Final = 100
_SEQUENCE = itertools.count(1)
_UNNAMED = re.compile(r"[^A-Za-z0-9_.-]")


class ReplyKeeper(Protocol):
    """Whoever keeps the replies that come in (`messaging.hub.SessionHub`)."""

    def enter(self, replies: Iterable[ReplyRecord]) -> None:
        """Keep replies that were checked, and enter them."""

    def expected(self, requestid: str) -> Container[str] | None:
        """The targets of a request; None when nobody asked."""


class MCollectiveConnection:
    """A client's connection to the old wire's broker. `junk` counts what was refused, by reason."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        self.wire = open_wire(settings.mcollective, "client")
        self.trust = self.wire.security.name
        self.junk: Counter[str] = Counter()
        self._native = settings.collective.main
        self._routes = routes
        self.transport = connector(settings)
        self._client = f"{_UNNAMED.sub('_', self.wire.sender)}_{os.getpid()}"
        self._sequence = next(_SEQUENCE)
        self._lock = threading.Lock()
        self._ready: set[str] = set()
        self._ponged: set[str] = set()
        self._asked: OrderedDict[str, Container[str] | None] = OrderedDict()
        self.poller = InventoryPoller(self, routes, self._native)
        self._inbox = ReceiveBuffer()
        self._quiet = True
        self._handled = time.monotonic()
        self._thread: threading.Thread | None = None

    def start(self, keeper: ReplyKeeper) -> None:
        """Connect; ConnectError with the broker's reason, ConfigError for a broker of no use."""
        self.transport.start()
        layout_for(self.wire.settings, self.transport.dialect)
        self._thread = threading.Thread(
            target=self._run, args=(keeper,), name="mcshell-mco", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Disconnect, once what has arrived is entered."""
        self.transport.close()
        self._inbox.end()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def quiet_since(self) -> float:
        """Since when (monotonic) nothing has come in; now, while there is something to do."""
        if not self._quiet or not self._inbox.empty():
            return time.monotonic()
        return self._handled

    def collective(self, ours: str) -> str | None:
        """The collective there that stands for one of ours: the main one, or of the same name."""
        known = self.wire.settings.collectives
        if ours in known:
            return ours
        return self.wire.settings.main if ours == self._native else None

    # -- out

    def send(self, request: Request, names: Sequence[str], others: Sequence[str]) -> None:
        """Send a request to all, or to each of `names`; nothing where it has no such collective.

        `others` are targets that are asked over our own wire. Where one of them is on this one,
        too, nothing is sent to all: it would be asked twice.
        """
        collective = self.collective(request.collective)
        if collective is None:
            return
        self._expect(request.id, names)
        both = request.via is Via.BROADCAST and not self._ponged.isdisjoint(others)
        via = Via.DIRECT if both else request.via
        self._send(replace(request, collective=collective, via=via), names)

    def rpcutil(self, action: str, requestid: str, names: Sequence[str]) -> None:
        """Ask each of `names` what it is: `inventory`, `agent_inventory`."""
        self._expect(requestid, names)
        asked = self._question(requestid, self.wire.settings.main, Filter())
        self._send(replace(asked, agent="rpcutil", action=action, via=Via.DIRECT), names)

    def ping(self, question: str, collective: str, filter_: Filter) -> None:
        """Ask all that match whether they are there, under the id of a question."""
        there = self.collective(collective)
        if there is not None:
            self._expect(question, None)
            self._send(self._question(question, there, filter_), ())

    def ping_each(
        self, question: str, collective: str, names: Sequence[str], filter_: Filter | None = None
    ) -> None:
        """Ask each of `names` whether it is there, and matches."""
        there = self.collective(collective)
        if there is not None and names:
            self._expect(question, frozenset(names))
            asked = replace(self._question(question, there, Filter()), via=Via.DIRECT)
            self._send(asked, names, filter_)

    @staticmethod
    def check(filter_: Filter) -> None:
        """Refuse a filter that MCollective cannot express; FilterError."""
        to_ruby(filter_)

    def _question(self, question: str, collective: str, filter_: Filter) -> Request:
        now = time.time()
        return Request(
            id=question,
            agent=DISCOVERY,
            action="ping",
            caller=self.wire.security.callerid,
            collective=collective,
            via=Via.BROADCAST,
            session="",
            created=now,
            expires=now + self.wire.settings.ttl,
            filter=filter_,
        )

    def _expect(self, requestid: str, names: Collection[str] | None) -> None:
        """Take answers of these from now on, or (None) of anyone."""
        with self._lock:
            before = self._asked.pop(requestid, ())
            if names is not None and isinstance(before, frozenset):
                names = before.union(names)
            self._asked[requestid] = names if names is None else frozenset(names)
            while len(self._asked) > _REMEMBERED:
                self._asked.popitem(last=False)

    def _send(self, request: Request, names: Sequence[str], filter_: Filter | None = None) -> None:
        """Seal once: whom a direct request is for stands in its headers only.

        A direct request has no filter but for its agent, unless one is given along.
        """
        direct = request.via is Via.DIRECT
        if direct and not self.wire.settings.direct_addressing:
            direct, named = False, Filter(identity=tuple(names))
            request = replace(request, via=Via.BROADCAST, filter=named)
        asked = replace(request, identity=names[0]) if direct else request
        sender, callerid = self.wire.sender, self.wire.security.callerid
        envelope = write_request(asked, callerid=callerid, sender=sender)
        if filter_ is not None:
            envelope = replace(envelope, filter=to_ruby(filter_))
        body = self.wire.wrapped(self.wire.security.seal_request(envelope))
        layout = layout_for(self.wire.settings, self.transport.dialect)
        reply_to = self._reply_to(layout, request.collective, request.agent)
        stamp = Stamp(sender, envelope.ttl, time.time(), reply_to)
        collective, agent = request.collective, request.agent
        if not direct:
            self._put(layout.broadcast(collective, agent, stamp), body)
            return
        for name in names:
            self._put(layout.direct(collective, agent, name, stamp), body)

    def _put(self, target: Target, body: bytes) -> None:
        self.transport.send(target.destination, body, target.headers)

    def _reply_to(self, layout: Layout, collective: str, agent: str) -> str:
        """Where replies are to go, and we listen."""
        reply_to = layout.reply_to(collective, agent, self._client, self._sequence)
        with self._lock:
            if reply_to not in self._ready:
                place = layout.replies(collective, reply_to)
                if place is None:
                    self.transport.expect(reply_to, self._inbox)
                else:
                    self.transport.subscribe(
                        place.destination, self._inbox, ack="auto", headers=place.headers
                    )
                self._ready.add(reply_to)
        return reply_to

    # -- in

    def _run(self, keeper: ReplyKeeper) -> None:
        while (group := self._inbox.take(_GROUP)) is not None:
            self._quiet = False
            try:
                now = time.time()
                replies = [self._open(delivery, now, keeper) for delivery in group]
                keeper.enter([received for received in replies if received is not None])
                self.poller.ask()
            except Exception as error:  # noqa: BLE001 - it is logged; the next ones may do
                not_kept(log, len(group), "replies of the old wire", error)
            finally:
                self._handled = time.monotonic()
                self._quiet = True

    def _open(self, delivery: Delivery, now: float, keeper: ReplyKeeper) -> ReplyRecord | None:
        def expected(requestid: str, sender: str) -> bool:
            return self._expected(requestid, sender, keeper)

        try:
            body = self.wire.unwrapped(delivery.body)
            envelope = self.wire.security.open_reply(body, self.wire.limits, expected)
            reply = read_reply(envelope, self.trust)
            reply = self._known(envelope, reply, now)
            if self.poller.took(reply, now):
                return None
        except Rejected as refusal:
            self.junk[refusal.reason.value] += 1
            log.debug("junk on %s: %s", delivery.destination, refusal)
            return None
        return ReplyRecord(
            reply=reply,
            kept=now,
            body=kept.dump(envelope),
            signature="",
            certificate="",
            target=reply.sender,
        )

    def _expected(self, requestid: str, sender: str, keeper: ReplyKeeper) -> bool:
        """Whether it was asked over this wire, or was no target at all (its row says so)."""
        with self._lock:
            if requestid not in self._asked:
                return False
            asked = self._asked[requestid]
        if asked is None or sender in asked:
            return True
        targets = keeper.expected(requestid)
        return targets is not None and sender not in targets

    def _known(self, envelope: ReplyEnvelope, reply: Reply, now: float) -> Reply:
        """Beside a node's reply, what is known of it: here a pong says nothing but that it lives.

        Raises:
            Rejected: WRONG_SENDER for a node that is known by its certificate; for a while it
                must not be taken for one that needs none.
        """
        if envelope.senderagent == DISCOVERY:
            self._ponged.add(reply.sender)
        about = self._routes.about(self._native, reply.sender, self.trust)
        if about is None:
            raise Rejected(Reason.WRONG_SENDER, f"{reply.sender[:80]} is known by its certificate")
        if envelope.senderagent == DISCOVERY:
            self.poller.met(reply.sender, about.get("described"), now)
            return replace(reply, data={**about, "state": "alive"})
        self._routes.heard(self._native, reply, now)
        return reply


class InventoryLink(Protocol):
    """What an `InventoryPoller` asks over: a `MCollectiveConnection`."""

    def rpcutil(self, action: str, requestid: str, names: Sequence[str]) -> None:
        """Ask each of `names` what it is: `inventory`, `agent_inventory`."""


class InventoryPoller:
    """Asks each node that is met for its inventory, once an hour at most."""

    def __init__(self, connection: InventoryLink, routes: Routes, collective: str) -> None:
        self._connection = connection
        self._routes = routes
        self._collective = collective
        self._told = InterruptibleCondition()
        self._due: set[str] = set()
        self._asked: dict[str, float] = {}
        self._ids: set[str] = set()
        self._versions: dict[str, dict[str, str]] = {}

    def met(self, name: str, described: float | None, now: float) -> None:
        """Note that a node is there; it is due when it was not described lately."""
        with self._told:
            last = max(described or 0.0, self._asked.get(name, 0.0))
            if now - last > _FRESH:
                self._asked[name] = now
                self._due.add(name)

    def again(self, names: Iterable[str]) -> None:
        """Ask nodes anew, of which what is known is no longer true."""
        with self._told:
            self._due.update(names)
        self.ask()

    def wait_described(self, names: Sequence[str], timeout: float) -> None:
        """Ask nodes for their agents' versions, and wait (seconds) until all have said them."""
        self.again(names)
        with self._told:
            self._told.wait_for(lambda: self._versions.keys() >= {*names}, timeout)

    def ask(self) -> None:
        """Ask the nodes that are due; called by the thread of the connection."""
        with self._told:
            due, self._due = sorted(self._due), set()
        for start in range(0, len(due), _CHUNK):
            for action in ("agent_inventory", "inventory"):
                requestid = new_nonce()
                self._ids.add(requestid)
                self._connection.rpcutil(action, requestid, due[start : start + _CHUNK])

    def took(self, reply: Reply, now: float) -> bool:
        """Take a reply, if it answers a question of ours: what it says is kept; whether it did."""
        if reply.requestid not in self._ids:
            return False
        data = reply.data
        if reply.statuscode == 0 and isinstance(listed := data.get("agents"), list):
            versions = {
                str(one["agent"]): str(one.get("version", ""))
                for one in listed
                if isinstance(one, dict) and "agent" in one
            }
            if versions:  # the answer of `agent_inventory`, where `inventory` lists names
                self._routes.versions(self._collective, reply.sender, versions)
                with self._told:
                    self._versions[reply.sender] = versions
                    self._told.notify_all()
                return True
        if reply.statuscode == 0:
            node = CachedNode(
                identity=reply.sender,
                seen=now,
                facts=_mapping(data.get("facts")),
                classes=frozenset(_words(data.get("classes"))),
                agents=frozenset(_words(data.get("agents"))),
                collectives=tuple(_words(data.get("collectives"))),
                version=f"mcollective {data.get('version')}",
                trust=reply.trust,
                described=now,
                agent_versions=self._versions.get(reply.sender, {}),
            )
            self._routes.learn(self._collective, node)
        return True


def _words(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return _plain(value) if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    """A fact as JSON can keep it."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
