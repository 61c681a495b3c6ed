"""`df.mco`: the rows of a DataFrame are the targets.

It relies on columns, never on `df.attrs`, which pandas drops at will. Registered by
`Replies.frame()` and by `load_ipython_extension`; it asks through `client.default`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from mcshell import table
from mcshell.client import default as current
from mcshell.client.analysis import diff, fold, outliers, select, summary
from mcshell.client.analysis.answers import of_frame
from mcshell.client.discovery.targeting import names_of
from mcshell.client.rpc.history import inputs_again
from mcshell.errors import NoTargets, UsageError
from mcshell.message import Via

if TYPE_CHECKING:
    from collections.abc import Container

    from mcshell.client.analysis.answers import Answers
    from mcshell.client.analysis.plots import Plot
    from mcshell.client.rpc.replies import Replies

__all__ = ["Accessor"]

_BAD = ("failed", "denied", "interrupted")
_ABSENT = ("silent", "expired")


@pd.api.extensions.register_dataframe_accessor("mco")
class Accessor:
    """What a table with a `sender` column can do for the fleet.

    As sets of nodes: `a.mco - b.mco` are the rows of `a` whose sender is not in `b`; so are `&`,
    `|` and `^`. The other side may be a table, its `.mco`, a Series or names.
    """

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
        """The rows of targets that gave no reply in time."""
        return self._in(*_ABSENT)

    # -- asking

    def rpc(self, agent: str, action: str, /, **arguments: Any) -> Replies | pd.DataFrame:
        """Ask the nodes of these rows; takes what `Client.rpc` takes, but no other targets.

        Returns a DataFrame; with `wait=False` the `Replies`.
        """
        return self._asked(agent, action, nodes=self._frame, **arguments)

    def retry(self, **arguments: Any) -> Replies | pd.DataFrame:
        """Ask again what these rows are about, of those that failed or gave no reply.

        Takes what `Client.rpc` takes, such as another `timeout` or an input.

        Raises:
            NoTargets: all of them came out well.
            UsageError: the rows are of several requests, or of one that no session has; another has
                asked it, or nothing signed proves what was asked, or of whom.
            InputError: an input was kept secret, and is to be given again.
        """
        rows = self._in(*_BAD, *_ABSENT)
        if rows.empty:
            raise NoTargets("retry: none of these rows failed or stayed silent")
        kept = list(rows["requestid"].dropna()) if "requestid" in rows.columns else []
        ids = list(dict.fromkeys(map(str, kept)))
        if len(ids) != 1:
            raise UsageError(f"retry: the rows of one request are meant, not of {len(ids)}")
        earlier = current.client().again(ids[0])
        if not earlier.bound:
            raise UsageError(f"retry: {earlier}: ask anew with `rpc`")
        record = earlier.replies.tracker.record
        given = {**arguments.pop("inputs", {})}
        given |= {name: arguments.pop(name) for name in record.data if name in arguments}
        inputs = inputs_again(record, given)
        if record.via is Via.POOL:
            where: dict[str, Any] = {"via": record.via.value, "pool": record.pool}
        else:
            where = {
                "nodes": rows[rows["sender"].isin(earlier.names)],
                "collective": record.collective,
            }
            if record.via.durable:
                where["via"] = record.via.value
        return self._asked(record.agent, record.action, **{**where, "inputs": inputs, **arguments})

    def _asked(self, agent: str, action: str, **arguments: Any) -> Replies | pd.DataFrame:
        replies = current.client().rpc(agent, action, **arguments)
        return replies.frame() if arguments.get("wait", True) else replies

    # -- looking

    def fold(self, *columns: str) -> pd.DataFrame:
        """Nodes with equal answers as one row; without columns, equal in all outputs."""
        return table.frame_of_rows(*fold.rows(of_frame(self._frame), columns))

    def diff(self, later: pd.DataFrame, *columns: str) -> pd.DataFrame:
        """What changed from these rows to later ones: a row for each node and column."""
        changes = diff.diff(of_frame(self._frame), of_frame(later), columns)
        return table.frame_of_rows(diff.COLUMNS, diff.rows(changes))

    def outliers(self, *columns: str, share: float = outliers.SHARE) -> pd.DataFrame:
        """The odd ones out; a value that more than `share` of the nodes have is not odd."""
        found = outliers.outliers(of_frame(self._frame), columns, share=share)
        return table.frame_of_rows(outliers.COLUMNS, outliers.rows(found))

    def odd(self, column: str) -> pd.DataFrame:
        """The rows whose value in a column is not the one that most have."""
        return self._frame.iloc[select.odd(self._answers(), column)]

    def top(self, count: int, column: str) -> pd.DataFrame:
        """The rows with the largest numbers in a column, the largest first.

        A path into a list of hashes, such as "processes.rss_bytes", makes a row of each hash.
        """
        answers = self._answers()
        spread = select.spread(answers, column)
        if spread is None:
            return self._frame.iloc[select.top(answers, count, column)]
        answers, column = spread
        found = answers.at(select.top(answers, count, column)).columns
        return table.frame_of_rows(list(found), list(zip(*found.values(), strict=True)))

    def _answers(self) -> Answers:
        """The rows as answers; one without a sender keeps its place."""
        return of_frame(self._frame.assign(sender=self._frame["sender"].fillna("")))

    def summary(self, *columns: str) -> pd.DataFrame:
        """Each column in one row: how many answered, what is usual, the span of numbers."""
        return table.frame_of_rows(summary.COLUMNS, summary.rows(of_frame(self._frame), columns))

    def plot(self, what: str = "states", column: str | None = None) -> Plot:
        """Draw "states", "lag", "map" (a cell a node) or "distribution" (of a column).

        Raises:
            UsageError: there is no such picture or column, or matplotlib is missing.
        """
        from mcshell.client.analysis.plots import plot  # noqa: PLC0415 - needs the `report` extra

        return plot(of_frame(self._frame), what, column)

    # -- as sets of nodes

    def __sub__(self, other: Any) -> pd.DataFrame:
        """The rows whose sender is not in the other."""
        return self._of(_names(other), wanted=False)

    def __and__(self, other: Any) -> pd.DataFrame:
        """The rows whose sender is in the other too."""
        return self._of(_names(other), wanted=True)

    def __or__(self, other: Any) -> pd.DataFrame:
        """These rows, and those of the other whose sender is not among them."""
        mine = _names(self)
        if isinstance(other, Accessor):
            other = other._frame
        if not isinstance(other, pd.DataFrame):
            other = pd.DataFrame({"sender": pd.array(names_of(other), dtype="string")})
        more = other[~other["sender"].isin(mine)]
        parts = [one for one in (self._frame, more) if not one.empty]
        return pd.concat(parts, ignore_index=True) if parts else self._frame

    def __xor__(self, other: Any) -> pd.DataFrame:
        """The rows of either whose sender the other lacks."""
        theirs = other if isinstance(other, Accessor | pd.DataFrame) else list(names_of(other))
        found: pd.DataFrame = Accessor(self - theirs) | _rest(theirs, _names(self))
        return found

    def _of(self, names: Container[str], *, wanted: bool) -> pd.DataFrame:
        inside = [(name in names) is wanted for name in self._frame["sender"]]
        return self._frame[inside]

    def _in(self, *states: str) -> pd.DataFrame:
        if "state" not in self._frame.columns:
            raise AttributeError("mco: the DataFrame has no `state` column")
        return self._frame[self._frame["state"].isin(states)]


def _names(other: Any) -> set[str]:
    if isinstance(other, Accessor):
        other = other._frame  # noqa: SLF001 - our own kind
    return set(names_of(other))


def _rest(other: Any, names: set[str]) -> Any:
    if isinstance(other, list):
        return [name for name in other if name not in names]
    return (other if isinstance(other, Accessor) else Accessor(other)) - names
