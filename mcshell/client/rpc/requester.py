"""How a request is put: checked, its targets fixed, recorded, sent by its way, and waited for."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.methods import nobody
from mcshell.client.discovery.targeting import RequestOptions, route
from mcshell.client.messaging.hub import SessionHub, Submission
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.interactive import InteractiveRun, RunSettings
from mcshell.client.rpc.replies import Replies
from mcshell.client.store.records import RequestRecord
from mcshell.errors import UsageError, did_you_mean
from mcshell.filters.nodes import fold
from mcshell.message import Via, new_request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcshell.client.discovery.finder import Discovered, Finder
    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.config import Settings
    from mcshell.ddl import Action
    from mcshell.ddl.library import Library

__all__ = ["Preview", "Requester"]

_INTERACTIVE_TTL = 60.0
_DAY = 86400.0
_DURABLE_TTL = 7 * _DAY
# Seconds that each target adds to the default timeout: a large fleet takes longer to drain.
_PER_TARGET = 0.002


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
    ) -> None:
        self.settings = settings
        self.ddls = ddls
        self.known = known
        self._hub = hub
        self._discovery = discovery
        self._background: list[tuple[Replies, threading.Thread]] = []

    def stop(self) -> None:
        """End the requests that go on in the background: nothing is waited for any more."""
        for replies, thread in self._background:
            replies.cancel()
            thread.join(timeout=5)

    def ask(
        self,
        ask: RequestOptions,
        confirm: Callable[[Preview], bool] | None = None,
        job: bytes | None = None,
    ) -> Replies:
        """Ask the nodes what `ask` says; see `rpc`. Ctrl-C returns what has arrived.

        `confirm` is shown who is hit by an action that changes nodes, before anything is sent.
        `job` is the document of a job, to be kept with a queued request that carries it.
        """
        action = self.ddls.get(ask.agent).action(ask.action)
        data = action.check(ask.data)
        self._check_ttl(ask.ttl)
        route(ask, 0)
        if ask.via is Via.POOL:
            return self._ask_durable(
                ask, action, data, [f"pool:{self._pool(ask)}"], job, discovered=False
            )
        found = self._discovery.find(ask.targeting, ask.agent)
        if not found.names:
            raise nobody(found, ask.agent)
        if confirm is not None and action.changes and not confirm(self.preview(ask, found)):
            raise UsageError("not confirmed: nothing was sent")
        if ask.via is Via.QUEUE:
            return self._ask_durable(
                ask, action, data, found.names, job, discovered=found.discovered
            )
        return self._ask_now(ask, action, data, found)

    def _check_ttl(self, ttl: float | None) -> None:
        """Refuse here what every node would refuse unheard: it would be `pending` to its end."""
        most = self.settings.node.max_ttl
        if ttl is not None and not 0 < ttl <= most:
            raise UsageError(
                f"a ttl of {ttl:g} s: above 0 and at most {most:g} s ({most / _DAY:g} d, "
                "node.max_ttl) is meant"
            )

    def preview(self, ask: RequestOptions, found: Discovered) -> Preview:
        """Who is hit by an action, out of how many: what the operator is shown before the SEND."""
        collective = ask.targeting.collective or self.settings.collective.main
        since = time.time() - self.settings.client.known_for
        fleet = self.known.identities(collective, since).union(found.names)
        limit = self.settings.client.confirm_share
        return Preview(ask.agent, ask.action, tuple(found.names), len(fleet), limit)

    def _ask_now(
        self, ask: RequestOptions, action: Action, data: dict[str, Any], found: Discovered
    ) -> Replies:
        record = self._record(ask, action, data, route(ask, len(found.names)))
        tracker = RequestTracker(record, found.names, discovered=found.discovered)
        hub = self._hub
        run = InteractiveRun(tracker, hub)
        run_settings = self._run_settings(ask, action, data, len(found.names))
        hub.session.store.add(record, found.names)
        hub.watch(tracker)
        replies = Replies(tracker, action, run)
        if not ask.wait:
            thread = threading.Thread(
                target=self._fly,
                args=(run, run_settings, tracker),
                name="mcshell-pilot",
                daemon=True,
            )
            thread.start()
            self._background = [one for one in self._background if one[1].is_alive()]
            self._background.append((replies, thread))
            return replies
        try:
            self._fly(run, run_settings, tracker)
        except KeyboardInterrupt:
            replies.cancel()
        return replies

    def _fly(self, run: InteractiveRun, run_settings: RunSettings, tracker: RequestTracker) -> None:
        run.fly(run_settings)
        heard = [entry.sender for entry in tracker.entries() if entry.done is not None]
        self.known.touch(tracker.record.collective, heard, time.time())

    def _ask_durable(
        self,
        ask: RequestOptions,
        action: Action,
        data: dict[str, Any],
        names: list[str],
        job: bytes | None,
        *,
        discovered: bool,
    ) -> Replies:
        """Hand it in, and wait for the replies or for the broker's confirmation."""
        one = self._submission(ask, action, data, names)
        (tracker,) = self._hub.submit([replace(one, job=job, discovered=discovered)])
        timeout = self.settings.client.timeout if ask.timeout is None else ask.timeout
        replies = Replies(tracker, action, outbox=self._hub.outbox, patience=timeout)
        if ask.wait:
            return replies.wait(timeout)
        replies.wait_confirmed(timeout)
        return replies

    def _submission(
        self, ask: RequestOptions, action: Action, data: dict[str, Any], names: list[str]
    ) -> Submission:
        """A durable request, as it is to be kept and as it is to be signed."""
        ttl = _DURABLE_TTL if ask.ttl is None else ask.ttl
        record = self._record(ask, action, data, Via(ask.via or Via.QUEUE), ttl)
        return Submission(record, self._hub.request_sender.request(record, data, ttl), names)

    def each(self, ask: RequestOptions, rows: Iterable[Mapping[str, Any]]) -> list[Replies]:
        """Ask a pool once for each row of inputs, all kept in one commit."""
        schema = self.ddls.get(ask.agent).action(ask.action)
        self._check_ttl(ask.ttl)
        names = [f"pool:{self._pool(ask)}"]
        checked = [schema.check(row) for row in rows]
        trackers = self._hub.submit(
            [self._submission(ask, schema, data, names) for data in checked]
        )
        return [Replies(tracker, schema, outbox=self._hub.outbox) for tracker in trackers]

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
        ttl: float = _INTERACTIVE_TTL,
    ) -> RequestRecord:
        now = time.time()
        filter_ = ask.targeting.filter
        if ask.agent not in filter_.agent:
            filter_ = replace(filter_, agent=(*filter_.agent, ask.agent))
        return RequestRecord(
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

    def _run_settings(
        self, ask: RequestOptions, action: Action, data: dict[str, Any], count: int
    ) -> RunSettings:
        settings = self.settings.client
        timeout = ask.timeout
        if timeout is None:
            timeout = max(settings.timeout, action.timeout) + count * _PER_TARGET
        ttl = ask.ttl if ask.ttl is not None else max(_INTERACTIVE_TTL, timeout)
        return RunSettings(ask, data, ttl, timeout, settings.probe)
