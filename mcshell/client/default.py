"""The client that `df.mco` asks through: of those that are open, the one that was opened last."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from mcshell.client.rpc.history import EarlierRequest
    from mcshell.client.rpc.replies import Replies

__all__ = ["client", "current", "forget", "use"]


class DefaultClient(Protocol):
    """What `df.mco` asks through: a `client.Client`."""

    @property
    def closed(self) -> bool:
        """Whether it can ask nothing any more."""

    def rpc(self, agent: str, action: str, /, **others: Any) -> Replies:
        """Ask the nodes."""

    def replies(self, request: str | None = None) -> Replies:
        """The replies to an earlier request."""

    def explain(self, node: str | Iterable[str], request: str | None = None) -> pd.DataFrame:
        """Why there is no reply of a node, or of several."""

    def again(self, request: str | None = None) -> EarlierRequest:
        """An earlier request as it may be asked again."""


_sources: list[Callable[[], DefaultClient | None]] = []
_of_lines: list[Callable[[], DefaultClient | None]] = []


def use(source: Callable[[], DefaultClient | None], *, lines: bool = False) -> None:
    """Have `df.mco` ask through what `source` returns when it is asked, until that is closed.

    `lines`: it is the client of the `%mco` lines.
    """
    gone = [one for one in _sources if isinstance(one, weakref.ref) and one() is None]
    _sources[:] = [*(one for one in _sources if one not in gone), source]
    if lines:
        _of_lines.append(source)


def forget(source: Callable[[], DefaultClient | None]) -> None:
    """Take back `use`."""
    for sources in (_sources, _of_lines):
        if source in sources:
            sources.remove(source)


def client() -> DefaultClient:
    """The client to ask through.

    Raises:
        UsageError: none was opened, or it is gone.
    """
    for source in reversed(list(_sources)):
        found = source()
        if found is not None and not found.closed:
            return found
        forget(source)
    raise UsageError("not connected: mcshell.connect(), or %load_ext mcshell")


def current() -> DefaultClient:
    """The client of the `%mco` lines, else the one to ask through; raises as `client`."""
    of_lines = _of_lines[-1]() if _of_lines else None
    return of_lines or client()
