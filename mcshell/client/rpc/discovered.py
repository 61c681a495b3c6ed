"""What had been answered when Ctrl-C came while nodes were looked for, as the replies of a request."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.replies import Replies
from mcshell.client.store.ledger import LedgerEntry
from mcshell.client.store.records import RequestRecord
from mcshell.message import State, Via

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.discovery.methods import Discovered
    from mcshell.client.discovery.node_cache import CachedNode
    from mcshell.message import Filter

__all__ = ["answers_so_far"]


def answers_so_far(found: Discovered, collective: str, filter_: Filter, client: object) -> Replies:
    """The answers of those who had given one; of the known who had not, that nobody waits for them.

    No session keeps them, as it keeps no discovery.
    """
    began = time.time() - found.elapsed
    ids = [answer.reply.requestid for answer in found.answers.values() if answer.reply]
    record = RequestRecord(
        id=ids[0] if ids else "",
        agent="discovery",
        action="ping",
        via=Via.BROADCAST,
        collective=collective,
        created=began,
        expires=began + found.elapsed,
        filter=filter_,
        data={},
    )
    tracker = RequestTracker(record, entries=list(_entries(found, began)), elapsed=found.elapsed)
    tracker.interrupted = True
    return Replies(tracker, None, client=client)


def _entries(found: Discovered, began: float) -> Iterator[LedgerEntry]:
    for name in found.names:
        answer = found.answers.get(name)
        if answer is None or answer.reply is None:
            why = f"stopped waiting after {found.elapsed:.1f} s"
            yield LedgerEntry(sender=name, state=State.SILENT, sent=began, reason=why)
        else:
            reply = replace(answer.reply, data=_said(answer.node))
            done = began + answer.rtt
            yield LedgerEntry(sender=name, state=reply.state, sent=began, done=done, reply=reply)


def _said(node: CachedNode) -> dict[str, object]:
    """What a node has said of itself, as `discovery.ping` answers it."""
    return {
        "facts": dict(node.facts),
        "classes": sorted(node.classes),
        "agents": sorted(node.agents),
        "collectives": list(node.collectives),
        "version": node.version,
    }
