"""Which outputs of a request's replies have a column of their own: one reply costs one row, its own.

Nodes name outputs as they like and give them any value. The DDL's have a column each, and so have
those that most nodes name; what is left over, and what is not of the DDL's type, is in the cell
`unfit` of the row that said it, under its name.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from mcshell import table
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mcshell.ddl import Action

__all__ = ["FIXED", "MOST", "UNFIT", "Outputs", "columns_for", "outputs_of"]

#: The columns of a reply table that are not outputs.
FIXED: Final = ("sender", "state", "statuscode", "statusmsg", "lag", "late", "trust", "requestid")
UNFIT: Final = "unfit"
MOST: Final = 200
"""Columns that the DDL does not name."""
_LONGEST: Final = 200
"""Characters of a name that can be a column's."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs with a column: `kinds` are the dtypes by name, `columns` what each is called."""

    kinds: Mapping[str, str]
    columns: Mapping[str, str]

    def cells(self, said: Iterable[Mapping[str, Any]]) -> tuple[dict[str, list[Any]], list[Any]]:
        """The cells by output, as the nodes gave them, and those of `unfit`."""
        cells: dict[str, list[Any]] = {name: [] for name in self.kinds}
        unfit: list[Any] = []
        for one in said:
            data = dict(one)  # a large one is read from the file, once
            for name, column in cells.items():
                column.append(data.get(name))
            unfit.append({name: data[name] for name in data if name not in self.kinds} or None)
        return cells, unfit

    def table(self, said: Iterable[Mapping[str, Any]]) -> dict[str, table.Column]:
        """The columns: of the DDL's dtype, whatever one node says; `unfit` only if there is any.

        Where the DDL gives none, numbers are numbers if all answers are, and so are texts. Lists and
        hashes are the table's own: who changes one changes no other table.
        """
        cells, unfit = self.cells(said)
        for name, kind in self.kinds.items():
            for place in table.misfits(kind, cells[name]):
                unfit[place] = {name: cells[name][place], **(unfit[place] or {})}
                cells[name][place] = None
        found: dict[str, table.Column] = {}
        for name, column in self.columns.items():
            kind, values = self.kinds[name], cells[name]
            if kind == "object":
                kind, values = table.kind_of(values), _own(values)
            found[column] = (kind, values)
        return found | ({UNFIT: ("object", _own(unfit))} if any(unfit) else {})


def _own(value: Any) -> Any:
    """The same value in lists and hashes of its own."""
    if isinstance(value, list):
        return [_own(one) for one in value]
    if isinstance(value, dict):
        return {name: _own(one) for name, one in value.items()}
    return value


def outputs_of(action: Action | None, said: Iterable[Mapping[str, Any]]) -> Outputs:
    """The DDL's outputs, then what most nodes sent beside them, in the order it came."""
    kinds = {} if action is None else {name: one.dtype for name, one in action.outputs.items()}
    named: Counter[str] = Counter()
    for data in said:
        named.update(name for name in data if name not in kinds)
    fit = {name: count for name, count in named.items() if 0 < len(name) <= _LONGEST}
    if len(fit) > MOST:
        most = {name for name, _ in Counter(fit).most_common(MOST)}
        fit = {name: count for name, count in fit.items() if name in most}
    kinds.update(dict.fromkeys(fit, "object"))
    return Outputs(kinds, columns_for(kinds, (*FIXED, UNFIT)))


def columns_for(names: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """What each name is called in a table with other columns too: `data_…` where its own is taken."""
    found: dict[str, str] = {}
    for name in names:
        column = f"data_{name}" if name in taken else name
        while column in taken or (column != name and column in names):
            column = f"data_{column}"
        found[name] = column
    return found
