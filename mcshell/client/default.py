"""The client that `df.mco` asks through: the one that was opened last in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.rpc.history import EarlierRequest
    from mcshell.client.rpc.replies import Replies

__all__ = ["client", "use"]


class DefaultClient(Protocol):
    """What `df.mco` asks through: a `client.Client`."""

    def rpc(self, agent: str, action: str, /, **others: Any) -> Replies:
        """Ask the nodes."""

    def again(self, request: str | None = None) -> EarlierRequest:
        """An earlier request as it may be asked again."""


class _Source:
    get: Callable[[], DefaultClient | None] | None = None


def use(source: Callable[[], DefaultClient | None] | None) -> None:
    """Have `df.mco` ask through what `source` returns when it is asked; None for nobody."""
    _Source.get = source


def client() -> DefaultClient:
    """The client to ask through.

    Raises:
        UsageError: none was opened, or it is gone.
    """
    found = None if _Source.get is None else _Source.get()
    if found is None:
        raise UsageError("df.mco: not connected: mcshell.connect(), or %load_ext mcshell")
    return found
