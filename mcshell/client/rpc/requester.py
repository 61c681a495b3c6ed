"""How a request is put: checked, its targets fixed, recorded, sent by its way, and waited for."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.methods import nobody
from mcshell.client.discovery.targeting import Ask, route
from mcshell.client.messaging.tracker import Flight
from mcshell.client.rpc.interactive import Course, Pilot
from mcshell.client.rpc.preview import Preview
from mcshell.client.rpc.replies import Replies
from mcshell.client.store.records import Record
from mcshell.errors import UsageError, did_you_mean
from mcshell.message import Via, new_request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcshell.client.discovery.finder import Discovery, Found
    from mcshell.client.discovery.node_cache import Known
    from mcshell.client.messaging.hub import Desk
    from mcshell.client.store.records import Outgoing
    from mcshell.config import Settings
    from mcshell.ddl import Action
    from mcshell.ddl.library import Library

__all__ = ["Asking"]

_INTERACTIVE_TTL = 60.0
_DAY = 86400.0
_DURABLE_TTL = 7 * _DAY
# Seconds that each target adds to the default timeout: a large fleet takes longer to drain.
_PER_TARGET = 0.002


class Asking:
    """Puts the requests of one client; see `Client.rpc` for what an `Ask` may say."""

    def __init__(
        self, settings: Settings, desk: Desk, discovery: Discovery, ddls: Library, known: Known
    ) -> None:
        self.settings = settings
        self.ddls = ddls
        self.known = known
        self._desk = desk
        self._discovery = discovery
        self._background: list[tuple[Replies, threading.Thread]] = []

    def stop(self) -> None:
        """End the requests that go on in the background: nothing is waited for any more."""
        for replies, thread in self._background:
            replies.cancel()
            thread.join(timeout=5)

    def ask(self, ask: Ask, confirm: Callable[[Preview], bool] | None = None) -> Replies:
        """Ask the nodes what `ask` says; see `rpc`. Ctrl-C returns what has arrived.

        `confirm` is shown who is hit by an action that changes nodes, before anything is sent.
        """
        action = self.ddls.get(ask.agent).action(ask.action)
        data = action.check(ask.data)
        self._check_ttl(ask.ttl)
        route(ask, 0)
        if ask.via is Via.POOL:
            return self._ask_durable(
                ask, action, data, [f"pool:{self._pool(ask)}"], discovered=False
            )
        found = self._discovery.find(ask.targeting, ask.agent)
        if not found.names:
            raise nobody(found, ask.agent)
        if confirm is not None and action.changes and not confirm(self.preview(ask, found)):
            raise UsageError("not confirmed: nothing was sent")
        if ask.via is Via.QUEUE:
            return self._ask_durable(ask, action, data, found.names, discovered=found.discovered)
        return self._ask_now(ask, action, data, found)

    def _check_ttl(self, ttl: float | None) -> None:
        """Refuse here what every node would refuse unheard: it would be `pending` to its end."""
        most = self.settings.node.max_ttl
        if ttl is not None and not 0 < ttl <= most:
            raise UsageError(
                f"a ttl of {ttl:g} s: above 0 and at most {most:g} s ({most / _DAY:g} d, "
                "node.max_ttl) is meant"
            )

    def preview(self, ask: Ask, found: Found) -> Preview:
        """Who is hit by an action."""
        collective = ask.targeting.collective or self.settings.collective.main
        since = time.time() - self.settings.client.known_for
        fleet = self.known.identities(collective, since).union(found.names)
        limit = self.settings.client.confirm_share
        return Preview(ask.agent, ask.action, tuple(found.names), len(fleet), limit)

    def _ask_now(self, ask: Ask, action: Action, data: dict[str, Any], found: Found) -> Replies:
        record = self._record(ask, action, data, route(ask, len(found.names)))
        flight = Flight(record, found.names)
        flight.discovered = found.discovered
        desk = self._desk
        pilot = Pilot(flight, desk.courier, desk.prober, desk.session.store)
        course = self._course(ask, action, data, len(found.names))
        desk.session.store.add(record, found.names)
        desk.watch(record.id, flight)
        replies = Replies(flight, action, pilot)
        if not ask.wait:
            thread = threading.Thread(
                target=self._fly, args=(pilot, course, flight), name="mcshell-pilot", daemon=True
            )
            thread.start()
            self._background = [one for one in self._background if one[1].is_alive()]
            self._background.append((replies, thread))
            return replies
        try:
            self._fly(pilot, course, flight)
        except KeyboardInterrupt:
            replies.cancel()
        return replies

    def _fly(self, pilot: Pilot, course: Course, flight: Flight) -> None:
        pilot.fly(course)
        heard = [entry.sender for entry in flight.entries() if entry.done is not None]
        self.known.touch(flight.record.collective, heard, time.time())

    def _ask_durable(
        self,
        ask: Ask,
        action: Action,
        data: dict[str, Any],
        names: list[str],
        *,
        discovered: bool,
    ) -> Replies:
        """Commit the signed bytes, then send; what is committed is sent, now or after a crash."""
        flight, outgoing = self._prepare(ask, action, data, names)
        flight.discovered = discovered
        self._desk.session.store.add(flight.record, names, outgoing)
        self._desk.dispatch.wake()
        replies = Replies(flight, action, dispatch=self._desk.dispatch)
        timeout = self.settings.client.timeout if ask.timeout is None else ask.timeout
        if ask.wait:
            return replies.wait(timeout)
        replies.wait_confirmed(timeout)
        return replies

    def _prepare(
        self, ask: Ask, action: Action, data: dict[str, Any], names: list[str]
    ) -> tuple[Flight, list[Outgoing]]:
        """Sign a durable request for each target; from here on its words are expected."""
        ttl = _DURABLE_TTL if ask.ttl is None else ask.ttl
        record = self._record(ask, action, data, Via(ask.via or Via.QUEUE), ttl)
        flight = Flight(record, names)
        courier = self._desk.courier
        outgoing = courier.prepare(courier.request(record, data, ttl), names)
        self._desk.watch(record.id, flight)
        return flight, outgoing

    def each(self, ask: Ask, rows: Iterable[Mapping[str, Any]]) -> list[Replies]:
        """Ask a pool once for each row of inputs, all kept in one commit."""
        schema = self.ddls.get(ask.agent).action(ask.action)
        self._check_ttl(ask.ttl)
        names = [f"pool:{self._pool(ask)}"]
        checked = [schema.check(row) for row in rows]
        prepared = [self._prepare(ask, schema, data, names) for data in checked]
        self._desk.session.store.add_all(
            [(flight.record, names, outgoing) for flight, outgoing in prepared]
        )
        self._desk.dispatch.wake()
        return [
            Replies(flight, schema, dispatch=self._desk.dispatch) for flight, _outgoing in prepared
        ]

    def _pool(self, ask: Ask) -> str:
        """The pool that a request is for."""
        pools = self.settings.pools
        name = ask.pool or ask.agent
        if name not in pools:
            raise UsageError(
                f"no pool {name!r} in the configuration ([pools.{name}] members = [...])"
                + did_you_mean(name, pools)
            )
        return name

    def _record(
        self,
        ask: Ask,
        action: Action,
        data: dict[str, Any],
        via: Via,
        ttl: float = _INTERACTIVE_TTL,
    ) -> Record:
        now = time.time()
        filter_ = ask.targeting.filter
        if ask.agent not in filter_.agent:
            filter_ = replace(filter_, agent=(*filter_.agent, ask.agent))
        return Record(
            new_request_id(),
            ask.agent,
            ask.action,
            via,
            ask.targeting.collective or self.settings.collective.main,
            now,
            now + (ask.ttl or ttl),
            filter_,
            action.redact(data),
            self._pool(ask) if via is Via.POOL else None,
        )

    def _course(self, ask: Ask, action: Action, data: dict[str, Any], count: int) -> Course:
        settings = self.settings.client
        timeout = ask.timeout
        if timeout is None:
            timeout = max(settings.timeout, action.timeout) + count * _PER_TARGET
        ttl = ask.ttl if ask.ttl is not None else max(_INTERACTIVE_TTL, timeout)
        return Course(ask, data, ttl, timeout, settings.probe)
