"""Answers as columns of plain values: what all analysis works on, made of replies or of a table.

Cells are foreign: of any type, nested, huge, absent. `frozen` makes any of them comparable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from mcshell.client.rpc.outputs import FIXED, UNFIT
from mcshell.errors import UsageError, did_you_mean
from mcshell.filters.facts import lookup
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from mcshell.client.rpc.replies import Replies

__all__ = ["Answers", "flat", "frozen", "kind", "number", "of_frame", "of_replies"]

_MOST_PATHS = 500


@dataclass(frozen=True, slots=True)
class Answers:
    """Who answered what: one place a row in `senders` and in each column; None is no value."""

    senders: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]

    @property
    def outputs(self) -> list[str]:
        """The names of the columns that hold what the nodes said."""
        return [name for name in self.columns if name not in FIXED]

    def column(self, name: str) -> Sequence[Any]:
        """A column by its name, or by a dotted path into nested values: `value.release.major`.

        Raises:
            UsageError: there is no such column.
        """
        if name in self.columns:
            return self.columns[name]
        head, dot, path = name.partition(".")
        while dot and head not in self.columns:
            more, dot, path = path.partition(".")
            head = f"{head}.{more}"
        if not dot:
            hint = did_you_mean(name, self.columns)
            raise UsageError(
                f"no column {name!r}{hint} (there are {', '.join(self.columns)})"
                if not hint
                else f"no column {name!r}{hint}"
            )
        return [
            lookup(value, path, None) if isinstance(value, Mapping) else None
            for value in self.columns[head]
        ]

    def well(self) -> Answers:
        """Only the answers that came out well; all of them where no state is known."""
        if "state" not in self.columns:
            return self
        return self.only([state == "ok" for state in self.columns["state"]])

    def only(self, wanted: Sequence[bool]) -> Answers:
        """The rows for which `wanted` is true."""
        return self.at([place for place, want in enumerate(wanted) if want])

    def at(self, places: Sequence[int]) -> Answers:
        """The rows at these places, in this order."""
        return Answers(
            tuple(self.senders[place] for place in places),
            {name: [values[at] for at in places] for name, values in self.columns.items()},
        )


def of_replies(replies: Replies) -> Answers:
    """The answers of a request as they stand now, with the columns of its table."""
    rows = replies.rows()
    columns: dict[str, list[Any]] = {
        "sender": [row.sender for row in rows],
        "state": [row.state.value for row in rows],
        "statuscode": [row.statuscode for row in rows],
        "statusmsg": [row.statusmsg for row in rows],
    }
    outputs = replies.outputs()
    cells, unfit = outputs.cells(row.data for row in rows)
    for name, place in outputs.columns.items():
        columns[place] = [_plain(value) for value in cells[name]]
    if any(unfit):
        columns[UNFIT] = unfit
    columns["lag"] = [row.lag for row in rows]
    columns["late"] = [row.late for row in rows]
    columns["trust"] = [row.trust or None for row in rows]
    columns["requestid"] = [row.requestid for row in rows]
    return Answers(tuple(row.sender for row in rows), columns)


def of_frame(frame: pd.DataFrame) -> Answers:
    """The answers in a DataFrame with a `sender` column; rows without a sender are left out."""
    names = [str(name) for name in frame.columns]
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(names):
        series = frame.iloc[:, place]
        values = zip(series.astype(object), series.isna(), strict=True)
        columns.setdefault(name, [None if absent else _plain(value) for value, absent in values])
    named = [sender is not None for sender in columns["sender"]]
    found = Answers(tuple(map(str, columns["sender"])), columns)
    return found if all(named) else found.only(named)


def _plain(value: Any) -> Any:
    """A value without numpy's wrapping; what is no number is no value."""
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())  # numpy's scalars and arrays
    return value


def frozen(value: Any) -> Any:
    """A hashable stand-in that is equal exactly when values are: 1 is 1.0, and neither "1" nor true."""
    match value:
        case None | str():
            found: Any = value
        case bool():
            found = ("boolean", value)
        case int() | float():
            found = ("number", value)
        case Mapping():
            pairs = ((str(key), frozen(inner)) for key, inner in value.items())
            found = ("hash", tuple(sorted(pairs, key=itemgetter(0))))
        case list() | tuple():
            found = ("list", tuple(map(frozen, value)))
        case set() | frozenset():
            found = ("set", frozenset(map(frozen, value)))
        case bytes() | bytearray():
            found = ("bytes", bytes(value))
        case _:
            found = (type(value).__name__, str(value))
    return found


def kind(value: Any) -> str:
    """The kind of a value, in a word: none, text, boolean, number, hash, list or its type's name."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return "text"
    found = frozen(value)[0] if not isinstance(value, Mapping | list | tuple) else None
    return str(found or ("hash" if isinstance(value, Mapping) else "list"))


def number(value: Any) -> bool:
    """Whether a value can be reckoned with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def flat(name: str, values: Sequence[Any]) -> dict[str, list[Any]]:
    """A column of hashes as one column a path: `os.name`; any other column as it is.

    A value that is no hash among hashes stays under the column's own name. Beyond 500 paths the
    rest is left out.
    """
    if not any(isinstance(value, Mapping) for value in values):
        return {name: list(values)}
    found: dict[str, list[Any]] = {}
    for place, value in enumerate(values):
        for path, inner in _leaves(name, value):
            if path not in found:
                if len(found) == _MOST_PATHS:
                    continue
                found[path] = [None] * len(values)
            found[path][place] = inner
    return found


def _leaves(path: str, value: Any) -> list[tuple[str, Any]]:
    """Every value in a tree with its path; of two keys that read alike the last one counts."""
    if not isinstance(value, Mapping) or not value:
        return [] if value is None else [(path, value)]
    return [leaf for key, inner in value.items() for leaf in _leaves(f"{path}.{key}", inner)]
