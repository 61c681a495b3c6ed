"""`diff`: what is different between two answers to the same question, by node and column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from mcshell.client.analysis.answers import flat, frozen
from mcshell.errors import UsageError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.client.analysis.answers import Answers

__all__ = ["COLUMNS", "Change", "diff", "rows", "summary_line"]

COLUMNS: Final = {
    **dict.fromkeys(("sender", "change", "column"), "string"),
    **dict.fromkeys(("before", "after"), ""),
}
"""Each with its dtype, whatever stands in it; where it has none, it is that of its values."""

_NODE = "sender"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `column` is "sender" where the node itself came or went."""

    sender: str
    change: Literal["added", "gone", "changed"]
    column: str
    before: Any
    after: Any


def diff(before: Answers, after: Answers, names: Sequence[str] = ()) -> list[Change]:
    """Compare node by node, in the columns `names` (the state and all outputs, hashes by path).

    `added` and `gone` are nodes that were asked only once, or values that only one side has. Of a
    node that answered only one time the state has changed; its values are not compared.

    Raises:
        UsageError: neither side has such a column, or one has two rows for a node.
    """
    old, new = _places(before), _places(after)
    mine, yours = _columns(before, names), _columns(after, names)
    wanted = list(dict.fromkeys([*mine, *yours]))
    changes = [Change(name, "gone", _NODE, name, None) for name in old if name not in new]
    changes += [Change(name, "added", _NODE, None, name) for name in new if name not in old]
    for name in old.keys() & new.keys():
        here, there = old[name], new[name]
        spoke = _spoke(before, here), _spoke(after, there)
        for column in wanted:
            if column == "state" or spoke[0] == spoke[1]:
                was, now = _cell(mine, column, here), _cell(yours, column, there)
                if frozen(was) != frozen(now):
                    changes.append(_change(name, column, was, now))
    order = {column: place for place, column in enumerate([_NODE, *wanted])}
    return sorted(changes, key=lambda one: (one.sender, order[one.column]))


def _places(answers: Answers) -> dict[str, int]:
    places = {name: place for place, name in enumerate(answers.senders)}
    if len(places) < len(answers.senders):
        twice = next(n for p, n in enumerate(answers.senders) if places[n] != p)
        raise UsageError(f"diff: {twice} is there twice: the rows of one request are meant")
    return places


def _columns(answers: Answers, names: Sequence[str]) -> dict[str, Sequence[Any]]:
    if names:
        return {name: answers.column(name) for name in names}
    found: dict[str, Sequence[Any]] = {}
    if "state" in answers.columns:
        found["state"] = answers.columns["state"]
    for name in answers.outputs:
        found.update(flat(name, answers.columns[name]))
    return found


def _spoke(answers: Answers, place: int) -> bool:
    """Whether a node said anything that can be compared."""
    codes = answers.columns.get("statuscode")
    return codes is None or codes[place] is not None


def _cell(columns: dict[str, Sequence[Any]], name: str, place: int) -> Any:
    return columns[name][place] if name in columns else None


def _change(sender: str, column: str, was: Any, now: Any) -> Change:
    if was is None:
        return Change(sender, "added", column, was, now)
    return Change(sender, "gone" if now is None else "changed", column, was, now)


def rows(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """The rows of the table, under `COLUMNS`."""
    return [(one.sender, one.change, one.column, one.before, one.after) for one in changes]


def summary_line(changes: Sequence[Change], before: Answers, after: Answers) -> str:
    """The differences in one line."""
    nodes = {
        word: sum(one.change == word for one in changes if one.column == _NODE)
        for word in ("added", "gone")
    }
    values = [one for one in changes if one.column != _NODE]
    touched = {one.sender for one in values}
    both = set(before.senders) & set(after.senders)
    return (
        f"{nodes['added']} nodes added, {nodes['gone']} gone; {len(values)} values differ "
        f"on {len(touched)} nodes, {len(both - touched)} are the same"
    )
