"""A session whose requests were asked long ago, as far as its file knows: nothing goes over a broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcshell.client.session.session import Session
from mcshell.client.store.records import NewRequest, OutgoingMessage, RequestRecord
from mcshell.message import Filter, Via

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcshell.config import Settings

__all__ = ["keep_requests"]

GOOD = 1e6  # seconds


def keep_requests(
    settings: Settings, session: str, requests: Iterable[str], nodes: Sequence[str]
) -> None:
    """Have alice's session hold a queued ping of these nodes under each id, and the broker have it.

    The id is what was asked, too: a reply is to have the digest of those bytes.
    """
    collective, now = settings.collective.main, time.time()
    kept = Session.open(settings.state_dir, "cert=alice", collective, session)
    for request in requests:
        record = RequestRecord(
            id=request,
            agent="rpcutil",
            action="ping",
            via=Via.QUEUE,
            collective=collective,
            created=now,
            expires=now + GOOD,
            filter=Filter(),
            data={},
        )
        asked = OutgoingMessage(
            request=request,
            sender="*",
            destination="",
            body=request.encode(),
            signature="",
            certificate="",
        )
        kept.store.add_all([NewRequest(record, nodes, [asked])])
        kept.store.mark_confirmed([asked], now)
    kept.close()
