"""Some of the rows: those of which an expression is true, the odd ones, the largest.

Each function returns the places of the rows in the answers, in the order in which they are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcshell.client.analysis.answers import Answers, frozen, number
from mcshell.client.rpc.outputs import FIXED, columns_for
from mcshell.errors import UsageError
from mcshell.filters.rows import compile_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["odd", "only", "spread", "top"]

_SHOWN = 40


def only(answers: Answers, expression: str) -> list[int]:
    """The rows of which an expression over the columns is true (`filters.rows`).

    Raises:
        FilterError: the expression does not parse.
        UsageError: there is no such column.
    """
    test = compile_rows(expression)
    for name in test.columns:
        answers.column(name)
    return [
        place
        for place in range(len(answers.senders))
        if test({name: values[place] for name, values in answers.columns.items()})
    ]


def odd(answers: Answers, name: str) -> list[int]:
    """The rows whose value in a column is not the one that most have.

    Looks at the answers that came out well. Who came out well and has no value has another than
    the rest.

    Raises:
        UsageError: there is no such column, or no value that more have than any other.
    """
    values = answers.column(name)
    states = answers.columns.get("state")
    judged = [
        place
        for place in range(len(values))
        if states is None or name in FIXED or states[place] == "ok"
    ]
    if not judged:
        return []
    counts = Counter(frozen(values[place]) for place in judged)
    (usual, many), *others = counts.most_common(2)
    if others and others[0][1] == many:
        each = " and as many ".join(
            _short(next(values[place] for place in judged if frozen(values[place]) == key))
            for key in (usual, others[0][0])
        )
        raise UsageError(f"odd: no majority in {name}: {many} of {len(judged)} have {each}")
    return [place for place in judged if frozen(values[place]) != usual]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def top(answers: Answers, count: int, name: str) -> list[int]:
    """The rows with the largest numbers in a column, the largest first; at most `count`.

    Raises:
        UsageError: there is no such column, or it has values and none is a number.
    """
    values = answers.column(name)
    there = [place for place in range(len(values)) if number(values[place])]
    if not there and (told := [value for value in values if value is not None]):
        raise UsageError(f"top: no number in {name}, but {_short(told[0])}")
    return sorted(there, key=lambda place: -values[place])[:count]


def spread(answers: Answers, name: str) -> tuple[Answers, str] | None:
    """The answers with a row for each hash of a list, where a column's path leads into one.

    `processes.rss_bytes` makes a row of each process: the sender, then the hash's own keys. With
    it goes the path as it is in those rows, `rss_bytes`. None where the path leads elsewhere.
    """
    head, dot, path = name.partition(".")
    while dot:
        if head in answers.columns and (found := _elements(answers, answers.columns[head])):
            columns: dict[str, Sequence[Any]] = {
                key: [element.get(key) for _, element in found]
                for key in dict.fromkeys(key for _, element in found for key in element)
            }
            columns = {"sender": [sender for sender, _ in found], **columns}
            return Answers(tuple(sender for sender, _ in found), columns), path
        more, dot, path = path.partition(".")
        head = f"{head}.{more}"
    return None


def _elements(answers: Answers, values: Sequence[Any]) -> list[tuple[str, dict[str, Any]]] | None:
    """The hashes in lists of hashes, each with its sender; a key `sender` of theirs is renamed."""
    found = [
        (sender, element)
        for sender, value in zip(answers.senders, values, strict=True)
        if isinstance(value, list)
        for element in value
    ]
    if not found or not all(isinstance(one, Mapping) for _, one in found):
        return None
    columns = columns_for({name: None for _, one in found for name in one}, ("sender",))
    return [(sender, {columns[key]: inner for key, inner in one.items()}) for sender, one in found]
