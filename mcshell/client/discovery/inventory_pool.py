"""What others have heard: the pool `inventory`, which supervisors serve, for who did not listen.

It hands out registrations as the nodes have signed them, page by page, and each is verified here:
nobody is believed about another.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.discovery.node_cache import registered
from mcshell.errors import Rejected
from mcshell.message import State
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.registration import open_registration

if TYPE_CHECKING:
    from mcshell.client.discovery.node_cache import CachedNode, NodeCache
    from mcshell.client.messaging.queries import NodeQueries
    from mcshell.config import Settings
    from mcshell.message import Reply
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["POOL", "InventoryPool"]

log = logging.getLogger(__name__)

POOL: Final = "inventory"
_AGAIN: Final = 60.0
_FIRST: Final = 2.0
_PAGE: Final = 10.0


class InventoryPool:
    """Asks the pool for one client; what it has verified goes into `known`."""

    def __init__(
        self, settings: Settings, queries: NodeQueries, known: NodeCache, verifier: Verifier
    ) -> None:
        self._pool = settings.pools.get(POOL)
        self._queries = queries
        self._known = known
        self._verifier = verifier
        self._asked: dict[str, float] = {}

    def fill(self, collective: str) -> None:
        """Learn what the pool has heard of a collective, unless it was asked just now.

        Where there is no such pool, or nobody answers for it, what is known stays as it is.
        """
        now = time.monotonic()
        if self._pool is None or now - self._asked.get(collective, float("-inf")) < _AGAIN:
            return
        self._asked[collective] = now
        after, patience = "", _FIRST
        while (reply := self._page(collective, after, patience)) is not None:
            nodes, last = self._verified(collective, reply.data.get("registrations"))
            self._known.learn(collective, nodes)
            if reply.data.get("complete") or last <= after:
                return
            after, patience = last, _PAGE
        log.info("nobody answers for the pool %s", POOL)

    def heads(self, collective: str, node: str) -> list[tuple[int, str]] | None:
        """The heads of a node's audit log that one of the pool has heard; None without an answer."""
        found: list[tuple[int, str]] = []
        after = 0
        while True:
            reply = self._ask(collective, "heads", {"node": node, "after": after}, _PAGE)
            if reply is None:
                return None
            page = [(int(count), str(digest)) for count, digest in reply.data.get("heads") or []]
            found += page
            if reply.data.get("complete") or not page or page[-1][0] <= after:
                return found
            after = page[-1][0]

    def _page(self, collective: str, after: str, patience: float) -> Reply | None:
        return self._ask(collective, "registrations", {"after": after} if after else {}, patience)

    def _ask(
        self, collective: str, action: str, data: dict[str, Any], patience: float
    ) -> Reply | None:
        """What one of the pool answers; None when nobody does, or there is no such pool."""
        pool = self._pool
        if pool is None:
            return None
        question, answers = self._queries.inquire(collective, POOL, action, data, pool)
        try:
            answers.gather(window=patience, silence=0.0, linger=0.0)
            replies = [reply for reply, _at in answers.snapshot().values()]
        finally:
            self._queries.forget(question)
        good = (one for one in replies if one.sender in pool and one.state is State.OK)
        return next(good, None)

    def _verified(self, collective: str, page: Any) -> tuple[list[CachedNode], str]:
        """The nodes whose registration is in a page, and the last name in it."""
        now, last = time.time(), ""
        found: list[CachedNode] = []
        for one in page if isinstance(page, list) else []:
            try:
                body = str(one["body"]).encode()
                node = open_registration(body, one, self._verifier, BodyLimits(), now, stored=True)
            except (Rejected, KeyError, TypeError, AttributeError) as refusal:
                log.info("a registration from the pool is refused: %s", refusal)
                continue
            last = max(last, node.identity)
            if collective in node.collectives:
                found.append(registered(node, now))
        return found, last
