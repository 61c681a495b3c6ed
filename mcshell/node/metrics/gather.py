"""Gathers a node's figures from who counts them: journal, spool, threads, audit log, connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcshell.metrics.process import ProcessFigures
from mcshell.node.metrics.figures import NodeFigures

if TYPE_CHECKING:
    from mcshell.node.context import SecurityContext
    from mcshell.node.host import Host
    from mcshell.node.server import NodeServer
    from mcshell.node.store.spool import Spool
    from mcshell.wire.documents.signatures import Signer

__all__ = ["gather"]


def gather(
    host: Host, signer: Signer, security: SecurityContext, spool: Spool, server: NodeServer
) -> NodeFigures:
    """The figures of a daemon's node, as of now; any thread may ask.

    Raises:
        MCShellError: the spool cannot be read.
    """
    (connection,), (pools,) = server.connections, server.pool_loads
    guard = security.replay_guard
    return NodeFigures(
        process=ProcessFigures.of(
            connection,
            security.verifier,
            about={"identity": host.identity},
            now=time.time(),
            started=host.journal.started,
            certificate_end=signer.identity.not_after,
        ),
        counts=dict(host.journal.counts),
        junk=dict(host.journal.junk),
        records=spool.counts(host.identity),
        lanes={"interactive": server.load, "pool": pools},
        audit=security.audit.standing,
        claims=guard.claims,
        repeated=guard.repeated,
    )
