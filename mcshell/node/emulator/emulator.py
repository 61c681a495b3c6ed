"""`mcshell emulate N`: N identities on the daemon's own workers, in one process, over few connections.

Each identity has its own certificate and does its own verification, policy, DDL and audit; what it
says of itself is made up from a seed. Their actions run in threads, those of their queues too: what
is pretended needs no process of its own.
"""

from __future__ import annotations

import gc
import logging
import random
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mcshell.config import read_duration
from mcshell.ddl.ddl_library import shipped_dir
from mcshell.errors import UsageError
from mcshell.filters.nodes import canonical
from mcshell.node.agents.registry import load_agents
from mcshell.node.audit.history import AuditHistory
from mcshell.node.builtin import builtin_agents
from mcshell.node.context import open_security
from mcshell.node.emulator.machines import named_by_role, numbered
from mcshell.node.emulator.pretended_system import PretendedSystem
from mcshell.node.execution.thread_runner import ThreadRunner
from mcshell.node.execution.threads import ActionThreads
from mcshell.node.facts.machine_id import hashed
from mcshell.node.host import Host
from mcshell.node.process.service import hold_state_directory, say_ready
from mcshell.node.revocation import Revocation
from mcshell.node.server import NodeServer
from mcshell.node.store.spool import Spool
from mcshell.pki import Authority
from mcshell.private import private_folder
from mcshell.wire.credentials import load_verifier
from mcshell.wire.documents.signatures import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.node.context import SecurityContext
    from mcshell.node.emulator.machines import Machine
    from mcshell.node.store.records import WorkItem

__all__ = ["Emulator", "run"]

log = logging.getLogger(__name__)

_MOST: Final = 100_000
_SPARE: Final = 255


class Emulator:
    """Nodes on machines that are made up, with certificates that it issues from the CA in `pki_dir`."""

    def __init__(
        self,
        settings: Settings,
        machines: Iterable[Machine],
        pki_dir: Path,
        *,
        seed: int = 1,
        prefix: str = "emu",
    ) -> None:
        if settings.node.metrics is not None:
            log.warning("node.metrics: emulated nodes write none")
        state = private_folder(settings.state_dir / f"emulate-{prefix}")
        self._lock = hold_state_directory(state)
        served = load_agents(
            [*settings.node.agents, shipped_dir()],
            builtin_agents(lambda: self._server.jobs, lambda: security.approvals),
            lenient=settings.node.unknown_validators == "warn",
        )
        security = open_security(settings, load_verifier(settings.pki), served, state)
        spool = Spool(state / "work.sqlite")
        make_host = partial(
            Host,
            served=served,
            collectives=settings.collective.member or (settings.collective.main,),
            settings=served.configure(settings.agents),
            pools=settings.node.serve,
            revocation=Revocation(security.verifier, state / "crl.pem", security.audit),
            audit_history=AuditHistory(security.audit.path),
            records=spool,
        )
        authority = Authority.open(pki_dir)
        nodes = [_node(one, make_host, authority, security) for one in machines]
        served.activate(nodes[0][0])
        self._server = NodeServer(
            settings,
            security,
            spool,
            nodes,
            ThreadRunner(_threads(), settings.node, state / "runs", _delay(settings, seed)),
            threads=_threads,
        )

    def stop(self) -> None:
        """End `serve`; may be called from a signal handler."""
        self._server.stop()

    def serve(self, ready: Callable[[], None]) -> None:
        """Connect, call `ready` once every subscription stands, and work."""
        try:
            self._server.serve(ready)
        finally:
            self._lock.close()


def _node(
    one: Machine,
    make_host: Callable[..., Host],
    authority: Authority,
    security: SecurityContext,
) -> tuple[Host, Signer]:
    """A machine as a node, with a new certificate."""
    signer = Signer.from_pem(*authority.issue_pem(one.identity, "node", renew=True))
    system = PretendedSystem(one)
    host = make_host(
        one.identity,
        facts=system.facts,
        classes=one.classes,
        machine=hashed(one.seed),
        system=system,
        flaws=lambda: (
            *security.approvals.flaws(one.identity),
            *security.authorisation.flaws(),
        ),
    )
    return host, signer


def _threads(
    _slots: int = 0, _each: int | None = None, *, handle: Callable[[Any], None] | None = None
) -> ActionThreads:
    """One for all nodes: their actions end at once, and for one that does not another stands in."""
    return ActionThreads(1, spare=_SPARE, handle=handle)


def _delay(settings: Settings, seed: int) -> Callable[[WorkItem], float]:
    """How long queued work takes: up to `[agents.emulate] delay`, by a seeded dice."""
    longest = read_duration(settings.agents.get("emulate", {}).get("delay", 0))

    def delay(work: WorkItem) -> float:
        dice = random.Random(f"{seed}:{work.identity}:{work.id}")  # noqa: S311 - no secret
        return dice.uniform(0, longest)

    return delay if longest else lambda _work: 0.0


def run(
    settings: Settings,
    count: int,
    pki_dir: Path,
    *,
    seed: int = 1,
    prefix: str = "emu",
    roles: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT; says `ready` on standard error once it does.

    With `roles` the nodes are named by what they are for, as the demo's are.
    """
    if not 0 < count <= _MOST:
        raise UsageError(f"emulate {count}: from one to {_MOST} nodes are meant")
    canonical(f"{prefix}{count:04d}")  # before a folder is called so
    machines = named_by_role(count, seed) if roles else numbered(prefix, count, seed)
    emulator = Emulator(settings, machines, pki_dir, seed=seed, prefix=prefix)
    gc.freeze()  # what N nodes are made of stays: looking through it for garbage is for nothing
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: emulator.stop())
    emulator.serve(say_ready)
