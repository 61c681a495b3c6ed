"""`mcshell emulate N`: N identities on the daemon's own code, in one process, over few connections.

Each identity has its own certificate and does its own verification, policy, DDL and audit; what
they share is the event loop, the connections and one SQLite file with an identity column.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import logging
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from mcshell.ddl.library import shipped_dir
from mcshell.errors import ConnectionLost, UsageError, WireError
from mcshell.message import Via
from mcshell.node.admission.direct_documents import took
from mcshell.node.admission.intake import MessageIntake
from mcshell.node.agents.registry import load_agents
from mcshell.node.audit.history import AuditHistory
from mcshell.node.builtin import builtin_agents
from mcshell.node.context import open_security
from mcshell.node.emulator.machines import machine
from mcshell.node.emulator.worker import EmulatedWorker
from mcshell.node.execution.action import run_action
from mcshell.node.facts.machine_id import hashed
from mcshell.node.host import Host
from mcshell.node.process import hold_state_directory, say_ready
from mcshell.node.registration import RegistrationWriter, next_turn
from mcshell.node.replies.writer import ReplyWriter
from mcshell.node.revocation import Revocation
from mcshell.node.store.spool import Spool
from mcshell.node.verdicts import Admitted, refused
from mcshell.pki import Authority
from mcshell.private import private_folder
from mcshell.wire import destinations
from mcshell.wire.credentials import load_verifier, tls_files
from mcshell.wire.documents.envelope import Arrival
from mcshell.wire.documents.signatures import Signer
from mcshell.wire.stomp.aio import AioConnection
from mcshell.wire.stomp.reconnect import RETURN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.node.verdicts import Refusal
    from mcshell.wire.stomp.transport import Delivery

__all__ = ["Emulator", "run"]

log = logging.getLogger(__name__)

_CHUNK = 50
_PER_CONNECTION = 2500
# So many registrations a second at most, for each connection: answers go before them.
_REGISTRATIONS = 200


@dataclass(slots=True)
class _Node:
    """One identity: its host and its voice."""

    host: Host
    writer: ReplyWriter
    announcer: RegistrationWriter


@dataclass(slots=True)
class _ConnectionState:
    """One connection and the identities that speak over it."""

    nodes: list[_Node]
    inbox: asyncio.Queue[tuple[Delivery, list[tuple[_Node, Arrival]]]] = field(
        default_factory=asyncio.Queue
    )
    soon: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    """Nodes, by number, that have something new to say of themselves."""
    link: AioConnection | None = None
    lost: asyncio.Event = field(default_factory=asyncio.Event)


class Emulator:
    """N nodes made up from a seed, with certificates that it issues from the CA in `pki_dir`."""

    def __init__(
        self, settings: Settings, count: int, pki_dir: Path, *, seed: int = 1, prefix: str = "emu"
    ) -> None:
        if count < 1:
            raise UsageError(f"emulate {count}: at least one node is meant")
        self._settings = settings
        state = private_folder(settings.state_dir / f"emulate-{prefix}")
        self._lock = hold_state_directory(state)
        self._collectives = settings.collective.member or (settings.collective.main,)
        self._served = load_agents([*settings.node.agents, shipped_dir()], builtin_agents())
        security = open_security(settings, load_verifier(settings.pki), self._served, state)
        self._revocation = Revocation(security.verifier, state / "crl.pem", security.audit)
        self._audit, self._audit_history = security.audit, AuditHistory(security.audit.path)
        self._controller, self._replay_guard = security.controller, security.replay_guard
        self._intake = MessageIntake(self._controller, self._replay_guard)
        self._nodes = list(self._make(Authority.open(pki_dir), count, seed, prefix))
        self._served.activate(self._nodes[0].host)
        self._spool = Spool(state / "work.sqlite")
        for one in self._nodes:
            one.host.spool = self._spool
        self._lane = EmulatedWorker(self._controller, self._spool, self._nodes, settings, seed=seed)

    def _make(self, authority: Authority, count: int, seed: int, prefix: str) -> Iterator[_Node]:
        width = max(4, len(str(count)))
        for number in range(1, count + 1):
            identity = f"{prefix}{number:0{width}d}"
            made_up = machine(identity, number, seed)
            signer = Signer.from_pem(*authority.issue_pem(identity, "node", renew=True))
            host = Host(
                identity,
                facts=_constant(made_up.facts),
                served=self._served,
                classes=made_up.classes,
                collectives=self._collectives,
                settings=self._settings.agents,
                pools=self._settings.node.serve,
                revocation=self._revocation,
                audit_history=self._audit_history,
                machine=hashed(made_up.seed),
            )
            announcer = RegistrationWriter(host, signer, self._settings.node.register_every)
            yield _Node(host, ReplyWriter(signer, self._settings.node.max_reply), announcer)

    async def serve(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Connect, call `ready` once every subscription stands, and answer until `stop`."""
        lines = [
            _ConnectionState(self._nodes[start : start + _PER_CONNECTION])
            for start in range(0, len(self._nodes), _PER_CONNECTION)
        ]
        for line in lines:
            for number, node in enumerate(line.nodes):
                node.host.announce = partial(line.soon.put_nowait, number)
        try:
            if not await self._connect_all(lines, stop):
                return
            ready()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._work(line)) for line in lines]
                tasks += [group.create_task(self._keep(line)) for line in lines]
                tasks += [group.create_task(_register(line)) for line in lines]
                tasks += [group.create_task(one) for one in (self._lane.run(), self._lane.speak())]
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await asyncio.gather(*(line.link.close() for line in lines if line.link))
            self._replay_guard.close()
            self._spool.close()
            self._audit.close()
            self._lock.close()

    async def _connect_all(self, lines: list[_ConnectionState], stop: asyncio.Event) -> bool:
        """Connect, however long it takes; False when it is stopped meanwhile."""
        pause = 0.5
        while not stop.is_set():
            try:
                await asyncio.gather(*(self._connect(one) for one in lines if one.link is None))
            except WireError as error:
                log.warning("%s; next try in %g s", error, pause)
            else:
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 2, 10.0)
        return False

    async def _keep(self, line: _ConnectionState) -> None:
        """Connect again whenever the connection is lost; go back to the list's first broker."""
        while True:
            if not await self._lost(line):
                await self._return(line)
                continue
            pause = 0.2
            while line.lost.is_set():
                try:
                    await self._connect(line)
                except WireError as error:
                    log.warning("%s; next try in %g s", error, pause)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 10.0)

    async def _lost(self, line: _ConnectionState) -> bool:
        """Wait until the connection is lost; false when it is time to look for an earlier broker."""
        first = line.link is not None and line.link.url == self._settings.broker.urls[0]
        try:
            async with asyncio.timeout(None if first else RETURN):
                return await line.lost.wait()
        except TimeoutError:
            return False

    async def _return(self, line: _ConnectionState) -> None:
        """Go over to a broker that is named earlier than this one, if one is there again."""
        urls, here = self._settings.broker.urls, line.link
        if here is None or here.url not in urls[1:]:
            return
        try:
            await self._connect(line, urls[: urls.index(here.url)])
        except WireError as error:
            log.debug("not back yet: %s", error)
            if here.connected:
                line.link = here
                line.lost.clear()
        else:
            await here.close()

    async def _connect(self, line: _ConnectionState, urls: Sequence[str] = ()) -> None:
        broker = self._settings.broker
        line.lost.clear()

        def lost(reason: str) -> None:
            log.warning("connection lost: %s", reason)
            line.lost.set()

        try:
            line.link = await AioConnection.open(
                urls or broker.urls,
                user=broker.user,
                passcode=broker.passcode(),
                tls=tls_files(self._settings),
                on_lost=lost,
            )
            for collective in self._collectives:
                await self._listen(line, collective)
        except WireError:
            line.lost.set()
            if line.link is not None:
                await line.link.close()
                line.link = None
            raise

    async def _listen(self, line: _ConnectionState, collective: str) -> None:
        assert line.link is not None
        everyone = [
            (node, Arrival(collective, Via.BROADCAST, node.host.identity)) for node in line.nodes
        ]
        await line.link.subscribe(
            destinations.broadcast(collective), _into(line, everyone), ack="auto"
        )
        waiting = [
            line.link.subscribe(
                destinations.node(collective, node.host.identity),
                _into(line, [(node, Arrival(collective, Via.DIRECT, node.host.identity))]),
                ack="auto",
            )
            for node in line.nodes
        ]
        for start in range(0, len(waiting), 500):
            await asyncio.gather(*waiting[start : start + 500])
        await self._lane.subscribe(line.link, line, line.nodes, collective)

    async def _work(self, line: _ConnectionState) -> None:
        """Answer, a chunk of nodes at a time, so that the first replies leave at once."""
        while True:
            delivery, whom = await line.inbox.get()
            for start in range(0, len(whom), _CHUNK):
                self._answer(line, delivery, whom[start : start + _CHUNK])
                if line.link is not None:
                    await line.link.drain()
                await asyncio.sleep(0)

    def _answer(
        self, line: _ConnectionState, delivery: Delivery, whom: Sequence[tuple[_Node, Arrival]]
    ) -> None:
        by_host = {id(node.host): node for node, _arrival in whom}
        pairs = [(node.host, arrival) for node, arrival in whom]
        try:
            if len(whom) == 1 and took(delivery, whom[0][1], whom[0][0].host, self._controller):
                return
            for host, verdict in self._intake.take(
                delivery.body, delivery.headers, pairs, time.time()
            ):
                self._reply(line, by_host[id(host)], verdict)
        except ConnectionLost as error:
            log.warning("answers are lost: %s", error)
        except Exception:
            log.exception("could not handle a message on %s", delivery.destination)

    def _reply(self, line: _ConnectionState, node: _Node, verdict: Admitted | Refusal) -> None:
        request = verdict.request
        if isinstance(verdict, Admitted):
            outcome = run_action(verdict, node.host, time.monotonic() + verdict.action.timeout)
        else:
            outcome = refused(verdict)
        node.host.journal.note(request.id, outcome.state.value, statuscode=outcome.statuscode)
        node.host.journal.count(outcome.state.value)
        sealed = node.writer.final(request, outcome)
        assert line.link is not None
        line.link.send(ReplyWriter.destination(request), sealed.body, sealed.headers)


async def _register(line: _ConnectionState) -> None:
    """Register each node at the start and at its turns, paced: a thousand starts are no burst."""
    now = time.time()
    due = [(now, number) for number, node in enumerate(line.nodes) if node.announcer.interval > 0]
    while due:
        when, number = due[0]
        early = await _early(line, when)
        announcer = line.nodes[number if early is None else early].announcer
        if line.link is not None and not line.lost.is_set():
            try:
                announcer.send(line.link)
            except ConnectionLost as error:
                log.info("not registered: %s", error)
        if early is None:
            turn = next_turn(announcer.host.identity, announcer.interval, time.time())
            heapq.heapreplace(due, (turn, number))


async def _early(line: _ConnectionState, when: float) -> int | None:
    """Wait until it is time, or a node has something new to say; in any case for a moment."""
    await asyncio.sleep(1 / _REGISTRATIONS)
    try:
        async with asyncio.timeout(max(0.0, when - time.time())):
            return await line.soon.get()
    except TimeoutError:
        return None


def _constant(facts: dict[str, object]) -> Callable[[], dict[str, object]]:
    return lambda: facts


def _into(line: _ConnectionState, whom: list[tuple[_Node, Arrival]]) -> Callable[[Delivery], None]:
    return lambda delivery: line.inbox.put_nowait((delivery, whom))


def run(
    settings: Settings,
    count: int,
    pki_dir: Path,
    *,
    seed: int = 1,
    prefix: str = "emu",
) -> None:
    """Serve until SIGTERM or SIGINT; says `ready` on standard error once it does."""
    emulator = Emulator(settings, count, pki_dir, seed=seed, prefix=prefix)
    gc.freeze()  # what N nodes are made of stays: looking through it for garbage is for nothing

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await emulator.serve(say_ready, stop)

    asyncio.run(main())
