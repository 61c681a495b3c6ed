"""`df.mco` and `series.mco`: the rows are the targets.

They rely on columns and levels of the index, never on `df.attrs`, which pandas drops at will.
Registered by `Replies.frame()` and by `load_ipython_extension`; they ask through `client.default`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mcshell import table
from mcshell.client import default as current
from mcshell.client.analysis import diff, fold, outliers, select, summary
from mcshell.client.analysis.answers import flat, of_frame
from mcshell.client.arguments import checks_methods
from mcshell.client.discovery.targeting import names_of
from mcshell.client.rpc.history import inputs_again
from mcshell.client.rpc.outputs import columns_for
from mcshell.errors import NoTargets, UsageError
from mcshell.message import Via

if TYPE_CHECKING:
    from collections.abc import Container

    from mcshell.client.analysis.answers import Answers
    from mcshell.client.analysis.plots import Plot
    from mcshell.client.rpc.replies import Replies

__all__ = ["Accessor", "SeriesAccessor"]

_BAD = ("failed", "denied", "interrupted")
_FINAL = ("ok", *_BAD)
_ABSENT = ("silent", "expired")
_ROW = ("sender", "state", "requestid")  # what says which row it is, and what became of it


@pd.api.extensions.register_dataframe_accessor("mco")
@checks_methods
class Accessor:
    """What a table with a `sender`, a column or a level of its index, can do for the fleet.

    As sets of nodes: `a.mco - b.mco` are the rows of `a` whose sender is not in `b`; so are `&`,
    `|` and `^`. The other side may be a table, its `.mco`, a Series or names.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        if "sender" not in frame.columns and "sender" not in frame.index.names:
            raise AttributeError("mco: the DataFrame has no `sender`, as a column or in its index")
        self._frame = frame

    @property
    def _table(self) -> pd.DataFrame:
        """The rows with what names them, such as the sender, as columns."""
        return _with_sender(self._frame)

    @property
    def _senders(self) -> list[Any]:
        return list(self._table["sender"])

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
        if "nodes" in arguments:
            raise UsageError("nodes: the rows are the targets (client.rpc takes others)")
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
        earlier = current.client().again(self._requestid("retry"))
        if not earlier.bound:
            raise UsageError(f"retry: {earlier}: ask anew with `rpc`")
        rows = self._of(earlier.names, wanted=True)
        if rows.empty:
            raise NoTargets("retry: none of these rows failed or stayed silent")
        record = earlier.replies.tracker.record
        given = {**arguments.pop("inputs", {})}
        given |= {name: arguments.pop(name) for name in record.data if name in arguments}
        inputs = inputs_again(record, given)
        if record.via is Via.POOL:
            where: dict[str, Any] = {"via": record.via.value, "pool": record.pool}
        else:
            where = {
                "nodes": rows,
                "collective": record.collective,
            }
            if record.via.durable:
                where["via"] = record.via.value
        as_then = {**earlier.options, **where, "inputs": inputs}
        return self._asked(record.agent, record.action, **{**as_then, **arguments})

    def _asked(self, agent: str, action: str, **arguments: Any) -> Replies | pd.DataFrame:
        replies = current.client().rpc(agent, action, **arguments)
        return replies.frame() if arguments.get("wait", True) else replies

    # -- the request that these rows are of

    def replies(self) -> Replies:
        """The replies that these rows were taken from, of these rows' nodes, as they come in.

        Raises:
            UsageError: the rows are of several requests, or say of none.
            SessionError: no session has the request.
        """
        requestid = self._requestid("replies")
        found = current.client().replies(requestid)
        workers = {entry.sender: entry.worker or entry.sender for entry in found.entries()}
        return found.narrowed([workers.get(name, name) for name in names_of(self._frame)])

    def refresh(self) -> pd.DataFrame:
        """The reply table of these rows' nodes as it stands now: late replies are in it."""
        return self.replies().frame()

    def ledger(self) -> pd.DataFrame:
        """Each of these rows' nodes: its state, and when it came into it."""
        return self.replies().ledger()

    def explain(self) -> pd.DataFrame:
        """Why there is no last reply of those of these rows' nodes that gave none.

        A DataFrame as of `Client.explain`. All of them are asked at once: a second or two.
        """
        replies = self.replies()
        names = [row.sender for row in replies.rows() if row.state not in _FINAL]
        return current.client().explain(names, replies.requestid)

    def _requestid(self, verb: str) -> str:
        table = self._table
        if "requestid" not in table.columns:
            raise UsageError(f"{verb}: the rows say of no request: there is no column 'requestid'")
        ids = list(dict.fromkeys(map(str, table["requestid"].dropna())))
        if len(ids) != 1:
            raise UsageError(f"{verb}: the rows of one request are meant, not of {len(ids)}")
        return ids[0]

    # -- looking

    def flat(self) -> pd.DataFrame:
        """The table with a column for each path into hashes, such as `value.os.name`."""
        answers, frame = self._answers(), self._frame
        found: dict[str, pd.Series[Any]] = {}
        for place, label in enumerate(map(str, frame.columns)):
            paths = flat(label, answers.columns[label])
            if list(paths) == [label]:
                found[_free(label, found)] = frame.iloc[:, place]
                continue
            for path, values in paths.items():
                cells = table.frame_of_rows(["cells"], [(value,) for value in values])["cells"]
                found[_free(path, found)] = cells.set_axis(frame.index)
        return pd.DataFrame(found, index=frame.index)

    def explode(self, column: str) -> pd.DataFrame:
        """A row for each element of the lists in a column, or where a path leads: `value.disks`.

        Of hashes each key is a column. Who has none keeps a row, in which nothing is.

        Raises:
            UsageError: there is no such column.
        """
        answers = self._answers()
        pairs: list[tuple[str | None, Any]] = []
        for sender, value in zip(answers.senders, answers.column(column), strict=True):
            elements = (value or [None]) if isinstance(value, list | tuple) else [value]
            pairs += [(sender or None, element) for element in elements]
        said = [element for _sender, element in pairs if element is not None]
        if not said or not all(isinstance(element, dict) for element in said):
            pairs = [(sender, {column: element}) for sender, element in pairs]
            said = [{column: None}]
        keys = columns_for({key: None for element in said for key in element}, ("sender",))
        rows = [(sender, *((one or {}).get(key) for key in keys)) for sender, one in pairs]
        return table.frame_of_rows(["sender", *keys.values()], rows)

    def fold(self, *columns: str) -> pd.DataFrame:
        """Nodes with equal answers as one row; without columns, equal in all outputs."""
        return table.frame_of_rows(*fold.rows(of_frame(self._table), columns), kinds=fold.KINDS)

    def diff(self, later: pd.DataFrame, *columns: str) -> pd.DataFrame:
        """What changed from these rows to later ones: a row for each node and column."""
        changes = diff.diff(of_frame(self._table), of_frame(_with_sender(later)), columns)
        return table.frame_of_rows([*diff.COLUMNS], diff.rows(changes), kinds=diff.COLUMNS)

    def outliers(self, *columns: str, share: float = outliers.SHARE) -> pd.DataFrame:
        """The odd ones out; a value that more than `share` of the nodes have is not odd."""
        found = outliers.outliers(of_frame(self._table), columns, share=share)
        return table.frame_of_rows(
            [*outliers.COLUMNS], outliers.rows(found), kinds=outliers.COLUMNS
        )

    def odd(self, column: str) -> pd.DataFrame:
        """The rows whose value in a column is not the one that most have."""
        return self._frame.iloc[select.odd(self._answers(), column)]

    def top(self, count: int, column: str) -> pd.DataFrame:
        """The rows with the largest numbers in a column, the largest first.

        A path into a list of hashes, such as "processes.rss_bytes", makes a row of each hash.
        """
        if count < 1:
            raise UsageError(f"top {count}: a number of rows above 0 is meant")
        answers = self._answers()
        spread = select.spread(answers, column)
        if spread is None:
            return self._frame.iloc[select.top(answers, count, column)]
        answers, column = spread
        found = answers.at(select.top(answers, count, column)).columns
        return table.frame_of_rows(list(found), list(zip(*found.values(), strict=True)))

    def _answers(self) -> Answers:
        """The rows as answers; one without a sender keeps its place."""
        rows = self._table
        senders = rows["sender"].astype(object)
        senders[senders.isna()] = ""
        return of_frame(rows.assign(sender=senders))

    def summary(self, *columns: str) -> pd.DataFrame:
        """Each column in one row: how many answered, what is usual, the span of numbers."""
        rows = summary.rows(of_frame(self._table), columns)
        return table.frame_of_rows([*summary.COLUMNS], rows, kinds=summary.COLUMNS)

    def plot(self, what: str = "states", column: str | None = None) -> Plot:
        """Draw "states", "lag", "map" (a cell a node) or "distribution" (of a column).

        Raises:
            UsageError: there is no such picture or column, or matplotlib is missing.
        """
        from mcshell.client.analysis.plots import plot  # noqa: PLC0415 - needs the `report` extra

        return plot(of_frame(self._table), what, column)

    def to_excel(self, path: str | Path) -> None:
        """Write the rows as a sheet: moments in UTC, as Excel has no zones; nested values as JSON.

        Text is text there: no formula and no link is made of what a node has said.

        Raises:
            UsageError: it cannot be written there, or XlsxWriter is missing.
            MachineError: the disk takes nothing.
        """
        from mcshell.client.analysis.sheet import save_sheet  # noqa: PLC0415 - needs `report`, too

        save_sheet(self._table, Path(path))

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
        if isinstance(other, pd.DataFrame):
            other = Accessor(other)
        if not isinstance(other, Accessor):
            other = Accessor(pd.DataFrame({"sender": pd.array(names_of(other), dtype="string")}))
        parts = [one for one in (self._table, _with_sender(other - mine)) if not one.empty]
        return pd.concat(parts, ignore_index=True) if parts else self._frame

    def __xor__(self, other: Any) -> pd.DataFrame:
        """The rows of either whose sender the other lacks."""
        theirs = other if isinstance(other, Accessor | pd.DataFrame) else list(names_of(other))
        found: pd.DataFrame = Accessor(self - theirs) | _rest(theirs, _names(self))
        return found

    def _of(self, names: Container[str], *, wanted: bool) -> pd.DataFrame:
        inside = [at for at, name in enumerate(self._senders) if (name in names) is wanted]
        return self._frame.iloc[inside]

    def _in(self, *states: str) -> pd.DataFrame:
        if "state" not in self._table.columns:
            raise AttributeError("mco: the DataFrame has no `state` column")
        return self._frame[self._table["state"].isin(states).to_numpy()]


@pd.api.extensions.register_series_accessor("mco")
class SeriesAccessor(Accessor):
    """The same of a Series: names of nodes, values by their `sender`, or one row of a table."""

    def __init__(self, series: pd.Series[Any]) -> None:
        if series.name == "sender":
            frame = series.to_frame().reset_index(drop=True)
        elif "sender" in series.index.names:
            frame = series.to_frame("value" if series.name is None else series.name)
        elif "sender" in series.index:
            frame = pd.DataFrame([series.to_dict()], columns=list(series.index))
        else:
            raise AttributeError("mco: the Series is no `sender`, and has none in its index")
        super().__init__(frame)


def _with_sender(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with the levels of the index, and of the columns, in the names of columns.

    Raises:
        UsageError: there is no `sender`, or what says which row this is stands there twice.
    """
    named = [name for name in frame.index.names if isinstance(name, str)]
    levels = [name for name in named if name not in frame.columns]
    found = frame.reset_index(levels) if levels else frame
    if found.columns.nlevels > 1:  # such as a pivot's
        labels = [".".join(str(part) for part in label if part != "") for label in found.columns]
        found = found.set_axis(labels, axis=1)
    for name in _ROW:
        count = sum(isinstance(label, str) and label == name for label in found.columns)
        if count > 1 or (name == "sender" and not count):
            raise UsageError(f"mco: one column {name!r} is meant, and there are {count or 'none'}")
    return found


def _names(other: Any) -> set[str]:
    return set(names_of(other._frame if isinstance(other, Accessor) else other))  # noqa: SLF001 - our own kind


def _rest(other: Any, names: set[str]) -> Any:
    if isinstance(other, list):
        return [name for name in other if name not in names]
    return (other if isinstance(other, Accessor) else Accessor(other)) - names


def _free(name: str, taken: dict[str, Any]) -> str:
    """The name of a column beside others."""
    while name in taken:
        name = f"data_{name}"
    return name
