"""Which bytes an earlier process has signed about a request: read once for all who answer it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mcshell.client.store.store import SessionStore

__all__ = ["StoredDigests"]

_MOST: Final = 100_000


class StoredDigests:
    """What a session file has of this, at most some `most` digests of it in memory.

    Where a backlog is of more requests than fit, each reply is looked up by itself, until as many
    were: then others are remembered.
    """

    def __init__(self, store: SessionStore, most: int = _MOST) -> None:
        self._store = store
        self._most = most
        self._digests: dict[str, frozenset[tuple[str, str]]] = {}
        self._count = self._looked_up = 0
        self._loading = threading.Lock()

    def has(self, request: str, sender: str, digest: str) -> bool:
        """Whether bytes of this digest were signed about a request, for this target or for any."""
        known = self._digests.get(request)
        if known is None:
            known = self._load(request)
        if ("*", digest) in known or (sender, digest) in known:
            return True
        # what another process has signed since then
        return self._store.signed(request, sender, digest)

    def _load(self, request: str) -> frozenset[tuple[str, str]]:
        with self._loading:
            if self._count >= self._most:
                self._looked_up += 1
                if self._looked_up < self._most:
                    return frozenset()
                self._digests.clear()
                self._count = self._looked_up = 0
            found = frozenset(self._store.digests(request))
            self._digests[request] = found
            self._count += len(found) + 1
            return found
