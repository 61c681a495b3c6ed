"""`df.mco`: the rows of a DataFrame are the targets.

It relies on columns, never on `df.attrs`, which pandas drops at will. Registered by
`Replies.frame()` and by `load_ipython_extension`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.client import Client
    from mcshell.client.replies import Replies

__all__ = ["Accessor", "use"]

_BAD = ("failed", "denied", "interrupted")
_ABSENT = ("silent", "expired")


class _Source:
    """Where the accessor gets its client from: the process's one, set by whoever opened it."""

    get: Callable[[], Client] | None = None


def use(client: Callable[[], Client]) -> None:
    """Have `df.mco` ask through this client."""
    _Source.get = client


@pd.api.extensions.register_dataframe_accessor("mco")
class Accessor:
    """What a table with a `sender` column can do for the fleet."""

    def __init__(self, frame: pd.DataFrame) -> None:
        if "sender" not in frame.columns:
            raise AttributeError("mco: the DataFrame has no `sender` column")
        self._frame = frame

    @property
    def ok(self) -> pd.DataFrame:
        """The rows that came out well."""
        return self._in("ok")

    @property
    def failed(self) -> pd.DataFrame:
        """The rows that failed, were denied or interrupted."""
        return self._in(*_BAD)

    @property
    def silent(self) -> pd.DataFrame:
        """The rows of targets that gave no word in time."""
        return self._in(*_ABSENT)

    def rpc(self, agent: str, action: str, /, **arguments: Any) -> Replies | pd.DataFrame:
        """Ask the nodes of these rows; takes what `Client.rpc` takes, but no other targets.

        Returns a DataFrame; with `wait=False` the `Replies`.
        """
        if _Source.get is None:
            raise AttributeError("mco.rpc: not connected (mcshell.connect(), or %load_ext mcshell)")
        replies = _Source.get().rpc(agent, action, nodes=self._frame, **arguments)
        return replies.frame() if arguments.get("wait", True) else replies

    def _in(self, *states: str) -> pd.DataFrame:
        if "state" not in self._frame.columns:
            raise AttributeError("mco: the DataFrame has no `state` column")
        return self._frame[self._frame["state"].isin(states)]
