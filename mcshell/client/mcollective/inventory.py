"""What nodes of the old wire are: there, who answers a discovery says nothing of itself.

So each that is met is asked for its inventory, once in a while and in the background. From then on
it is known by its facts, classes and agents as our own nodes are: it is a row when it is dead.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.client.discovery.node_cache import CachedNode
from mcshell.message import new_request_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcshell.client.mcollective.routes import Routes
    from mcshell.message import Reply

__all__ = ["InventoryPoller"]

_FRESH: Final = 3600.0
_CHUNK: Final = 100


class InventoryLink(Protocol):
    """What an `InventoryPoller` asks over: a `MCollectiveConnection`."""

    def inventory(self, requestid: str, names: Sequence[str]) -> None:
        """Ask each of `names` what it is."""


class InventoryPoller:
    """Asks each node that is met for its inventory, once an hour at most."""

    def __init__(self, connection: InventoryLink, routes: Routes, collective: str) -> None:
        self._connection = connection
        self._routes = routes
        self._collective = collective
        self._lock = threading.Lock()
        self._due: set[str] = set()
        self._asked: dict[str, float] = {}
        self._ids: set[str] = set()

    def met(self, name: str, described: float | None, now: float) -> None:
        """Note that a node is there; it is due when it was not described lately."""
        with self._lock:
            last = max(described or 0.0, self._asked.get(name, 0.0))
            if now - last > _FRESH:
                self._asked[name] = now
                self._due.add(name)

    def again(self, names: Iterable[str]) -> None:
        """Ask nodes anew, of which what is known is no longer true."""
        with self._lock:
            self._due.update(names)
        self.ask()

    def ask(self) -> None:
        """Ask the nodes that are due; called by the thread of the connection."""
        with self._lock:
            due, self._due = sorted(self._due), set()
        for start in range(0, len(due), _CHUNK):
            requestid = new_request_id()
            self._ids.add(requestid)
            self._connection.inventory(requestid, due[start : start + _CHUNK])

    def took(self, reply: Reply, now: float) -> bool:
        """Take a reply, if it answers a question of ours: what it says is kept; whether it did."""
        if reply.requestid not in self._ids:
            return False
        data = reply.data
        if reply.statuscode == 0:
            node = CachedNode(
                identity=reply.sender,
                seen=now,
                facts=_mapping(data.get("facts")),
                classes=frozenset(_words(data.get("classes"))),
                agents=frozenset(_words(data.get("agents"))),
                collectives=tuple(_words(data.get("collectives"))),
                version=f"mcollective {data.get('version')}",
                trust=reply.trust,
                described=now,
            )
            self._routes.learn(self._collective, node)
        return True


def _words(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return _plain(value) if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    """A fact as JSON can keep it."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
