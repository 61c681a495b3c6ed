"""What others have heard: the pool `inventory`, which supervisors serve, for who did not listen.

It hands out registrations as the nodes have signed them, page by page, and each is verified here:
nobody is believed about another.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.discovery.node_cache import registered
from mcshell.errors import Rejected
from mcshell.message import State
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.registration import open_registration, read_registration

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
_IDLE: Final = 100
"""Pages one after another in which nothing holds: who goes on making them up is left."""


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
        self._told: dict[str, bool] = {}

    def fill(self, collective: str) -> bool:
        """Learn what the pool has heard of a collective, unless it was asked just now.

        Whether it has told all that; where there is no such pool, that is nothing. What is known stays
        as it is.
        """
        now = time.monotonic()
        if self._pool is None:
            return True
        if now - self._asked.get(collective, float("-inf")) >= _AGAIN:
            self._asked[collective] = now
            self._told[collective] = self._filled(collective)
        return self._told[collective]

    def _filled(self, collective: str) -> bool:
        after, patience, idle = "", _FIRST, 0
        while idle < _IDLE and (reply := self._page(collective, after, patience)) is not None:
            nodes, last = self._verified(collective, reply.data.get("registrations"))
            self._known.learn(collective, nodes)
            if reply.data.get("complete"):
                return True
            if last <= after:
                break
            after, patience = last, _PAGE
            idle = 0 if nodes else idle + 1
        log.info("the pool %s has not told all", POOL)
        return False

    def heads(self, collective: str, node: str) -> list[tuple[int, str]] | None:
        """The heads of a node's audit log that one of the pool has heard; None without an answer."""
        found: list[tuple[int, str]] = []
        after = 0
        while True:
            reply = self._ask(collective, "heads", {"node": node, "after": after}, _PAGE)
            if reply is None:
                return None
            page = _heads(reply.data.get("heads"))
            found += page
            if reply.data.get("complete"):
                return found
            if not page or page[-1][0] <= after:
                return None
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
        """The nodes whose registration is in a page, and the last name in it, be it believed or not.

        A page of nodes that are revoked since must not hide those that come behind it.
        """
        now, last = time.time(), ""
        found: list[CachedNode] = []
        for one in page if isinstance(page, list) else []:
            try:
                body = str(one["body"]).encode()
                last = max(last, read_registration(body, BodyLimits(), stored=True).identity)
                node = open_registration(body, one, self._verifier, BodyLimits(), now, stored=True)
            except (Rejected, KeyError, TypeError, ValueError, AttributeError) as refusal:
                log.info("a registration from the pool is refused: %s", refusal)
                continue
            if collective in node.collectives:
                # When it came there, and so how its clock was, nobody here can tell.
                found.append(replace(registered(node, now), skew=None))
        return found, last


def _heads(page: Any) -> list[tuple[int, str]]:
    """The heads in a page: what is none is left out, for anybody of the pool may have written it."""
    found = []
    for one in page if isinstance(page, list) else []:
        match one:
            case [int(count), str(digest)]:
                found.append((count, digest))
    return found
