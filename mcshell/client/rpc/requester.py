"""How a request is put: checked, its targets fixed, recorded, and sent by its way."""

from __future__ import annotations

import logging
import math
import time
import weakref
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from mcshell import interrupts
from mcshell.client.discovery.methods import nobody
from mcshell.client.discovery.targeting import RequestOptions, route
from mcshell.client.messaging.hub import Submission
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.origin import noted
from mcshell.client.rpc.interactive_run import NEWS, InteractiveRun, RunSettings
from mcshell.client.rpc.replies import Replies
from mcshell.client.rpc.schemas import RequestSchemas, fitting
from mcshell.client.store.ledger import UNHEARD
from mcshell.client.store.records import RequestRecord
from mcshell.errors import (
    MachineError,
    Stopped,
    UsageError,
    WireError,
    did_you_mean,
    not_kept,
)
from mcshell.filters.nodes import fold
from mcshell.message import Via, new_request_id
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.client.discovery.methods import Discovered, Finder
    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.rpc.interactive_run import BackgroundRequests
    from mcshell.client.rpc.pool_tasks import PoolTasks
    from mcshell.client.rpc.schemas import DividedRequest
    from mcshell.config import Settings
    from mcshell.ddl import Action
    from mcshell.ddl.ddl_library import Library

__all__ = ["INTERACTIVE_TTL", "Preview", "Requester"]

log = logging.getLogger(__name__)

INTERACTIVE_TTL = 60.0
_DAY = 86400.0
_DURABLE_TTL = 7 * _DAY
# Seconds that each target adds to the default timeout: a large fleet takes longer to drain.
_PER_TARGET = 0.002
_MANY = 1 << 30  # targets: more than are asked one by one


@dataclass(frozen=True, slots=True)
class Preview:
    """A request whose action changes nodes, before anything is sent.

    `known` is how many nodes there are, the targets among them; `limit` is
    `client.confirm_share`, a percentage of them or a number of nodes.
    """

    agent: str
    action: str
    names: tuple[str, ...]
    known: int
    limit: str

    @property
    def share(self) -> float:
        """The targets' share of the known fleet, 0 to 1."""
        return len(self.names) / max(self.known, len(self.names), 1)

    @property
    def exceeds(self) -> bool:
        """Whether there are more of them than the operator wants to hit unasked.

        One node is never many, however small the fleet.
        """
        if len(self.names) <= 1:
            return False
        number = int(self.limit.removesuffix("%"))
        if self.limit.endswith("%"):
            number = math.floor(max(self.known, len(self.names)) * number / 100)
        return len(self.names) > number

    def __str__(self) -> str:
        """One line for the eye."""
        count = len(self.names)
        nodes = f"{count} node{'' if count == 1 else 's'}, {self.share:.0%} of the known fleet"
        return f"{self.agent}.{self.action} changes {nodes}: {fold(self.names)}"


class Requester:
    """Puts the requests of one client; see `Client.rpc` for what an `RequestOptions` may say."""

    def __init__(
        self,
        settings: Settings,
        hub: SessionHub,
        discovery: Finder,
        ddls: Library,
        known: NodeCache,
        background: BackgroundRequests,
        client: object,
    ) -> None:
        self.client = client
        self.settings = settings
        self.ddls = ddls
        self.known = known
        self._hub = hub
        self._schemas = RequestSchemas(ddls, known, hub.queries)
        self._discovery = discovery
        self._background = background
        self._growing: tuple[Callable[[], RequestTracker | None], set[str]] = (lambda: None), set()
        """The newest request that went out on what was known, and of whom that was put right."""

    def ask(
        self,
        ask: RequestOptions,
        confirm: Callable[[Preview], bool] | None = None,
    ) -> Replies:
        """Ask the nodes what `ask` says; see `rpc`.

        `confirm` is shown who is hit by an action that changes nodes, before anything is sent.

        Raises:
            Stopped: Ctrl-C, with what has arrived; nothing more is sent.
        """
        action, data = fitting(self.ddls, ask)
        asked: Replies | None = None
        try:
            with interrupts.call():
                asked = self._ask(ask, action, data, confirm)
        except Stopped as stop:
            if asked is not None:  # it came as the call ended: what was asked is on its way
                with asked.stopping():
                    raise
            if stop.replies is not None:
                raise
            raise Stopped(self._nothing(ask, action), found=stop.found) from None
        return asked

    def _nothing(self, ask: RequestOptions, action: Action) -> Replies:
        """The replies to what was not asked: none, by nobody. No session keeps them."""
        record = self._record(ask, action, {}, ask.via or Via.DIRECT)
        tracker = RequestTracker(record)
        tracker.interrupted = True
        tracker.finish()
        return Replies(tracker, action, client=self.client)

    def _ask(
        self,
        ask: RequestOptions,
        action: Action,
        data: dict[str, Any],
        confirm: Callable[[Preview], bool] | None,
    ) -> Replies:
        self.ttl_of(ask.ttl)
        route(ask, 0)
        if ask.via is Via.POOL:
            pool = [f"pool:{self._pool(ask)}"]
            return self._ask_durable(ask, action, data, pool, discovered=False)
        ask = replace(ask, targeting=self._discovery.meant(ask.targeting))
        found = self._remembered(ask)
        grows = found is not None
        if found is None:
            found = self._discovery.find(ask.targeting, ask.agent)
        if not found.names:
            raise nobody(found, ask.agent)
        collective = ask.targeting.collective or self.settings.collective.main
        divided = self._schemas.divide(ask, collective, found.names)
        hit = replace(found, names=divided.changed)
        if confirm is not None and hit.names and not self.confirmed(confirm, ask, hit):
            raise UsageError("not confirmed: nothing was sent")
        interrupts.check()  # from here on it is kept, and a row for each
        if ask.via is Via.QUEUE:
            action, data = _undivided(divided)
            return self._ask_durable(
                ask, action, data, found.names, found.unheard, discovered=found.discovered
            )
        if found.unheard:  # a row of what was named, and is not sent to
            unfit = {**divided.unfit, **dict.fromkeys(found.unheard, UNHEARD)}
            divided = replace(divided, unfit=unfit)
            found = replace(found, names=[*found.names, *found.unheard])
        return self._ask_now(ask, divided, found, grows=grows)

    def _remembered(self, ask: RequestOptions) -> Discovered | None:
        """The targets as they are known, where a broadcast may go out on that; else None (§5)."""
        schemas = self.ddls.every(ask.agent)
        if len(schemas) != 1 or schemas[0].action(ask.action).changes:
            return None
        if route(ask, _MANY) is not Via.BROADCAST:
            return None
        self._renew()
        # Whoever is asked one by one is found first.
        return self._discovery.remembered(
            ask.targeting, ask.agent, lambda count: route(ask, count) is Via.BROADCAST
        )

    def ttl_of(self, said: float | None, default: float = _DURABLE_TTL) -> float:
        """How long a message may live, in seconds: what was said, else the default where nodes take that.

        Raises:
            UsageError: every node would refuse it unheard, and it would be `pending` to its end.
        """
        most = self.settings.node.max_ttl
        ttl = min(default, most) if said is None else said
        if not 0 < ttl <= most:
            raise UsageError(
                f"a ttl of {ttl:g} s: above 0 and at most {most:g} s ({most / _DAY:g} d, "
                "node.max_ttl) is meant"
            )
        return ttl

    def confirmed(
        self, confirm: Callable[[Preview], bool], ask: RequestOptions, found: Discovered
    ) -> bool:
        """Show who is hit, and have it confirmed."""
        with interrupts.pause():
            return confirm(self.preview(ask, found))

    def preview(self, ask: RequestOptions, found: Discovered) -> Preview:
        """Who is hit by an action, out of how many: what the operator is shown before the SEND."""
        collective = ask.targeting.collective or self.settings.collective.main
        since = time.time() - self.settings.client.known_for
        fleet = self.known.identities(collective, since).union(found.names)
        limit = self.settings.client.confirm_share
        return Preview(ask.agent, ask.action, tuple(found.names), len(fleet), limit)

    def _ask_now(
        self, ask: RequestOptions, divided: DividedRequest, found: Discovered, *, grows: bool
    ) -> Replies:
        action = divided.action
        via = route(ask, len(divided.names))
        if divided.direct and via is Via.BROADCAST:
            if ask.via is via:
                raise UsageError(
                    f"--via broadcast reaches all alike, but nodes have several schemas of {ask.agent}: "
                    "leave --via out for direct requests"
                )
            via = Via.DIRECT
        record = self._record(ask, action, divided.data, via)
        if grows:
            record = replace(record, options={**record.options, "grows": True})
        tracker = RequestTracker(record, found.names, discovered=found.discovered)
        hub = self._hub
        run = InteractiveRun(tracker, hub)
        run_settings = self._run_settings(ask, divided, len(found.names))
        hub.session.store.add(record, found.names)
        hub.watch(tracker)
        for why in set(divided.unfit.values()):
            hub.judge(tracker, [name for name, one in divided.unfit.items() if one == why], why)
        replies = Replies(tracker, action, run.stop, client=self.client)
        ask.announce(replies)
        if not ask.wait:
            self._background.start(run, lambda: self._run_unattended(run, run_settings, tracker))
            return replies
        with replies.stopping():
            self._run(run, run_settings, tracker)
        return replies

    def _run_unattended(
        self, run: InteractiveRun, run_settings: RunSettings, tracker: RequestTracker
    ) -> None:
        try:
            self._run(run, run_settings, tracker)
        except (WireError, UsageError) as failure:  # the ledger says it of each target
            log.warning("request %s: %s", tracker.record.id, failure)

    def _run(self, run: InteractiveRun, run_settings: RunSettings, tracker: RequestTracker) -> None:
        run.run(run_settings)
        record, entries = tracker.record, tracker.entries()
        heard = [entry.sender for entry in entries if entry.done is not None]
        try:
            self.known.touch(record.collective, heard, time.time())
        except MachineError as error:  # the replies are kept, and are what was asked for
            not_kept(log, len(heard), "signs of life", error)
        if record.grows:
            self._growing = weakref.ref(tracker), set()
            self._renew()

    def _renew(self) -> None:
        """Have nodes say what they are, of whom the newest answers show that something else was known.

        Some of them come when the call has ended: they are asked before the next goes out.
        """
        reference, renewed = self._growing
        if (tracker := reference()) is not None:
            new = {one.sender for one in tracker.entries() if one.reason in NEWS} - renewed
            if new:
                renewed |= new
                self._discovery.renew(tracker.record.collective, sorted(new))

    def _ask_durable(
        self,
        ask: RequestOptions,
        action: Action,
        data: dict[str, Any],
        names: list[str],
        unheard: Sequence[str] = (),
        *,
        discovered: bool,
    ) -> Replies:
        """Hand it in, and wait for the replies or for the broker's confirmation."""
        one = self._submission(ask, action, data, names)
        one = replace(one, unheard=unheard, discovered=discovered)
        (tracker,) = self._hub.submit([one])
        timeout = self.settings.client.timeout if ask.timeout is None else ask.timeout
        outbox = self._hub.outbox
        replies = Replies(tracker, action, outbox=outbox, patience=timeout, client=self.client)
        ask.announce(replies)
        if ask.wait:
            return replies.wait(timeout)
        replies.wait_confirmed(timeout)
        return replies

    def _submission(
        self, ask: RequestOptions, action: Action, data: dict[str, Any], names: list[str]
    ) -> Submission:
        """A durable request, as it is to be kept and as it is to be signed."""
        ttl = self.ttl_of(ask.ttl)
        record = self._record(ask, action, data, Via(ask.via or Via.QUEUE), ttl)
        request = self._hub.request_sender.request(record, data, ttl)
        return Submission(record=record, request=request, names=names, secret=data != record.data)

    def each(self, ask: RequestOptions, rows: Iterable[Mapping[str, Any]]) -> list[Replies]:
        """Ask a pool once for each row of inputs, all kept in one commit."""
        schema = self.ddls.get(ask.agent).action(ask.action)
        self.ttl_of(ask.ttl)
        names = [f"pool:{self._pool(ask)}"]
        checked = [schema.check(row) for row in rows]
        trackers = self._hub.submit(
            [self._submission(ask, schema, data, names) for data in checked]
        )
        outbox, client = self._hub.outbox, self.client
        return [Replies(tracker, schema, outbox=outbox, client=client) for tracker in trackers]

    def tasks(self, pool: str, ttl: float | None) -> PoolTasks:
        """The tasks of one pool, each of which may still run for `ttl` seconds (None: as `rpc`)."""
        self.ttl_of(ttl)
        asked = RequestOptions(agent=pool, action="", via=Via.POOL, ttl=ttl, pool=pool)
        target = f"pool:{self._pool(asked)}"

        @cache
        def found(what: str) -> tuple[RequestOptions, Action]:
            agent, dot, action = what.partition(".")
            if not dot:
                raise UsageError(
                    f"task {what[:60]!r}: an agent and its action are meant, agent.action"
                )
            schema = self.ddls.get(agent).action(action)
            return replace(asked, agent=agent, action=action), schema

        def task(what: str, inputs: Mapping[str, Any]) -> Submission:
            ask, schema = found(what)
            return self._submission(ask, schema, schema.check(inputs), [target])

        from mcshell.client.rpc.pool_tasks import PoolTasks  # noqa: PLC0415 - few clients have an executor

        return PoolTasks(pool, self._hub, task, self.client)

    def _pool(self, ask: RequestOptions) -> str:
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
        ask: RequestOptions,
        action: Action,
        data: dict[str, Any],
        via: Via,
        ttl: float = INTERACTIVE_TTL,
    ) -> RequestRecord:
        now = time.time()
        filter_ = ask.targeting.filter
        if ask.agent not in filter_.agent:
            filter_ = replace(filter_, agent=(*filter_.agent, ask.agent))
        requestid, nonce = new_request_id(self._hub.request_sender.caller)
        return RequestRecord(
            id=requestid,
            nonce=nonce,
            agent=ask.agent,
            action=ask.action,
            via=via,
            collective=ask.targeting.collective or self.settings.collective.main,
            created=now,
            expires=now + (ask.ttl or ttl),
            filter=filter_,
            data=action.redact(data),
            pool=self._pool(ask) if via is Via.POOL else None,
            options=noted(ask.put),
        )

    def _run_settings(
        self, ask: RequestOptions, divided: DividedRequest, count: int
    ) -> RunSettings:
        settings = self.settings.client
        timeout = ask.timeout
        if timeout is None:
            timeout = max(settings.timeout, divided.action.timeout) + count * _PER_TARGET
        ttl = ask.ttl
        if ttl is None:  # who waits longer than any request lives still has his answer
            ttl = min(max(INTERACTIVE_TTL, timeout), self.settings.node.max_ttl)
        return RunSettings(ask, divided.parts, ttl, timeout, settings.probe)


def _undivided(divided: DividedRequest) -> tuple[Action, dict[str, Any]]:
    """The one schema of a request that is kept; UsageError when its targets have several."""
    (part, *others) = divided.parts
    for name, why in divided.unfit.items():
        raise UsageError(f"via=queue asks all alike; {name}: {why}")
    if others:
        raise UsageError(
            f"via=queue asks all alike: {fold(others[0].names)} have another schema: ask them apart"
        )
    return part.action, dict(part.data)
