"""How a request is put: checked, its targets fixed, recorded, sent by its way, and waited for.

An interactive call ends when every target has a final reply, or at the timeout; sooner for the
absent. Once it has been quiet, those of whom there was no reply are probed: who does not answer
within `probe` seconds is silent; who is busy with the request is waited for (§5).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.methods import nobody
from mcshell.client.discovery.targeting import RequestOptions, batches, route, share
from mcshell.client.messaging.hub import SessionHub, Submission
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.replies import Replies
from mcshell.client.store.records import RequestRecord
from mcshell.errors import UsageError, WireError, did_you_mean
from mcshell.filters.nodes import fold
from mcshell.message import State, Via, new_request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcshell.client.discovery.methods import Discovered, Finder
    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.discovery.targeting import RequestOptions
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.store.ledger import Ledger
    from mcshell.client.store.records import JobDocument
    from mcshell.config import Settings
    from mcshell.ddl import Action
    from mcshell.ddl.library import Library
    from mcshell.message import Reply

__all__ = ["InteractiveRun", "Preview", "Requester", "RunSettings"]

log = logging.getLogger(__name__)

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
        job: JobDocument | None = None,
    ) -> Replies:
        """Ask the nodes what `ask` says; see `rpc`. Ctrl-C returns what has arrived.

        `confirm` is shown who is hit by an action that changes nodes, before anything is sent.
        `job` is that of a queued request that carries one, to be kept with it.
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
        replies = Replies(tracker, action, run.stop)
        if not ask.wait:
            thread = threading.Thread(
                target=self._run_unattended,
                args=(run, run_settings, tracker),
                name="mcshell-request",
                daemon=True,
            )
            thread.start()
            self._background = [one for one in self._background if one[1].is_alive()]
            self._background.append((replies, thread))
            return replies
        try:
            self._run(run, run_settings, tracker)
        except KeyboardInterrupt:
            replies.cancel()
        return replies

    def _run_unattended(
        self, run: InteractiveRun, run_settings: RunSettings, tracker: RequestTracker
    ) -> None:
        try:
            self._run(run, run_settings, tracker)
        except WireError as failure:  # the ledger says it of each target
            log.warning("request %s: %s", tracker.record.id, failure)

    def _run(self, run: InteractiveRun, run_settings: RunSettings, tracker: RequestTracker) -> None:
        run.run(run_settings)
        heard = [entry.sender for entry in tracker.entries() if entry.done is not None]
        self.known.touch(tracker.record.collective, heard, time.time())

    def _ask_durable(
        self,
        ask: RequestOptions,
        action: Action,
        data: dict[str, Any],
        names: list[str],
        job: JobDocument | None,
        *,
        discovered: bool,
    ) -> Replies:
        """Hand it in, and wait for the replies or for the broker's confirmation."""
        one = replace(self._submission(ask, action, data, names), discovered=discovered)
        if job is not None:
            one = replace(one, job=job)
        (tracker,) = self._hub.submit([one])
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
        request = self._hub.request_sender.request(record, data, ttl)
        return Submission(record=record, request=request, names=names, secret=data != record.data)

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


_QUIET = 0.5
_BUSY = {"received": State.RECEIVED, "running": State.RUNNING}
_ALIVE = "alive"  # is there, but cannot say what became of the request: it is waited for


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run needs to know: the inputs as they are, and the times in seconds."""

    ask: RequestOptions
    data: Mapping[str, Any]
    ttl: float
    timeout: float
    probe: float


class InteractiveRun:
    """Sends one request and waits for its replies: in the caller's thread, or one of its own."""

    def __init__(self, tracker: RequestTracker, hub: SessionHub) -> None:
        self._tracker = tracker
        self._hub = hub
        self._stop = threading.Event()

    def stop(self) -> None:
        """Send nothing more; what is on its way still comes back."""
        self._stop.set()

    def run(self, run_settings: RunSettings) -> None:
        """Send all batches and wait for them; the tracker is finished whatever happens.

        Raises:
            WireError: a batch could not be sent; the ledger says so of each target.
        """
        tracker = self._tracker
        try:
            self._run(run_settings)
        except KeyboardInterrupt:
            tracker.interrupted = True
            raise
        finally:
            tracker.finish()

    def _run(self, run_settings: RunSettings) -> None:
        tracker, ask = self._tracker, run_settings.ask
        names = [entry.sender for entry in tracker.entries()]
        allowed = None
        if ask.max_failures is not None:
            allowed = share(ask.max_failures, len(names), "--max-failures")
        waiting = list(batches(names, ask))
        canary = ask.canary is not None
        while waiting:
            batch = waiting.pop(0)
            before = tracker.wait_count()
            left = [name for some in waiting for name in some]
            self._send(run_settings, batch, left)
            self._await(run_settings, batch, before)
            if left and (why := self._halt(batch if canary else [], allowed)):
                self._hub.judge(tracker, left, f"not sent: {why}", State.PENDING)
                return
            canary = False
            if left and self._stop.wait(ask.batch_sleep):
                self._hub.judge(tracker, left, "not sent: stopped", State.PENDING)
                return

    def _send(self, run_settings: RunSettings, batch: list[str], left: list[str]) -> None:
        """Send to one batch; where that breaks off, say of it and of those `left` where they stand.

        Raises:
            WireError: it broke off; some of the batch may have been sent to.
        """
        sender = self._hub.request_sender
        request = sender.request(self._tracker.record, run_settings.data, run_settings.ttl)
        try:
            sender.send(request, batch, self._tracker)
        except WireError as failure:
            self._hub.judge(self._tracker, batch, f"sending it broke off: {failure}")
            self._hub.judge(self._tracker, left, f"not sent: {failure}", State.PENDING)
            raise

    def _halt(self, canary: list[str], allowed: int | None) -> str:
        """Why nothing more is to be sent: a canary that is not ok, or too many failures; else ""."""
        states = {entry.sender: entry.state for entry in self._tracker.entries()}
        dead = [name for name in canary if states[name] is not State.OK]
        if dead:
            return f"the canary {dead[0]} is {states[dead[0]]}"
        bad = (State.FAILED, State.DENIED, State.INTERRUPTED, State.SILENT)
        failures = sum(state in bad for state in states.values())
        return f"stopped after {failures} failures" if allowed and failures >= allowed else ""

    def _await(self, run_settings: RunSettings, batch: list[str], before: int) -> None:
        """Wait for one batch: to its end, to the probe's verdict or to the timeout."""
        tracker = self._tracker
        deadline = time.monotonic() + run_settings.timeout

        def done(ledger: Ledger) -> bool:
            return ledger.outstanding <= before or self._stop.is_set()

        while (left := min(self._quiet_since() + _QUIET, deadline) - time.monotonic()) > 0:
            if tracker.wait(done, left):
                return
        pending = tracker.pending(batch)
        if pending and time.monotonic() < deadline:
            self._probe(run_settings, pending, deadline, done)
        if not tracker.wait(done, deadline - time.monotonic()):
            self._hub.judge(tracker, batch, f"no answer within {run_settings.timeout:g} s")

    def _quiet_since(self) -> float:
        """Since when (monotonic) it is quiet; replies still being worked off are not silence."""
        return max(self._tracker.last_reply, self._hub.queries.quiet_since())

    def _probe(
        self,
        run_settings: RunSettings,
        pending: list[str],
        deadline: float,
        done: Callable[[Ledger], bool],
    ) -> None:
        """Ask the absent whether they are there, and judge by what they say.

        The verdict falls when it has been quiet for `probe` seconds: as long as anything still
        comes in, the network is slow, not silent.
        """
        tracker, queries = self._tracker, self._hub.queries
        try:
            question, answers = queries.probe(
                tracker.record.collective, pending, tracker.record.id, tracker.wake
            )
        except WireError as failure:
            log.warning("not probed, waiting for the timeout: %s", failure)
            return
        asked = time.monotonic()
        heard: set[str] = set()
        try:
            while (end := max(asked, self._quiet_since()) + run_settings.probe) > time.monotonic():
                revision = tracker.revision
                new = {name: one for name, one in answers.snapshot().items() if name not in heard}
                heard.update(new)
                self._believe({name: reply for name, (reply, _at) in new.items()})
                if tracker.wait(done, 0) or time.monotonic() > deadline:
                    return
                tracker.wait_news(revision, min(end, deadline) - time.monotonic())
        finally:
            queries.forget(question)
        silent = [name for name in pending if name not in heard]
        why = f"no reply, and no answer to a probe within {run_settings.probe:g} s"
        self._hub.judge(tracker, silent, why)
        said = answers.snapshot()
        sure = [name for name in heard if said[name][0].data.get("state") != _ALIVE]
        self._hub.judge(tracker, sure, "answered the probe, but its reply is lost")

    def _believe(self, replies: Mapping[str, Reply]) -> None:
        """Enter what nodes say of the request: busy with it, or it never came there."""
        told: dict[tuple[State, str], list[str]] = {}
        for name, reply in replies.items():
            if (verdict := _verdict(reply)) is not None:
                told.setdefault(verdict, []).append(name)
        for (state, reason), names in told.items():
            self._hub.judge(self._tracker, names, reason, state)


def _verdict(reply: Reply) -> tuple[State, str] | None:
    """Where an answer to a probe says that its node stands with the request; None: it is awaited."""
    said = str(reply.data.get("state", ""))
    if said in _BUSY:
        return _BUSY[said], "said so when probed"
    there = {
        "unknown": "is there, but the request did not reach it",
        "passed": "is there, but the filter did not match it",
        "refused": f"is there, but refused: {reply.data.get('reason', '')}",
    }
    return (State.SILENT, there[said]) if said in there else None
