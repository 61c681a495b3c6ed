"""The client that `df.mco` asks through: the one that was opened last in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.client import Client

__all__ = ["client", "use"]


class _Source:
    get: Callable[[], Client | None] | None = None


def use(source: Callable[[], Client | None] | None) -> None:
    """Have `df.mco` ask through what `source` returns when it is asked; None for nobody."""
    _Source.get = source


def client() -> Client:
    """The client to ask through.

    Raises:
        UsageError: none was opened, or it is gone.
    """
    found = None if _Source.get is None else _Source.get()
    if found is None:
        raise UsageError("df.mco: not connected: mcshell.connect(), or %load_ext mcshell")
    return found
