"""`summary`: each column of the answers in one line."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.analysis.answers import flat, frozen, kind, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.client.analysis.answers import Answers

__all__ = ["COLUMNS", "rows"]

COLUMNS: Final = {
    **dict.fromkeys(("column", "type"), "string"),
    **dict.fromkeys(("answers", "missing", "distinct"), "Int64"),
    "usual": "",
    "share": "Float64",
    "min": "",
    "median": "",
    "max": "",
}
"""Each with its dtype, whatever stands in it; where it has none, it is that of its values."""


def rows(answers: Answers, names: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """Describe the columns `names`: without them the state, the lag and all outputs.

    `usual` is the value that most nodes have, `share` how many have it (0 to 1) of those that gave
    one. Of outputs only the answers that came out well count.
    """
    well = answers.well()
    wanted = names or [
        *(name for name in ("state", "lag") if name in answers.columns),
        *answers.outputs,
    ]
    found = []
    for name in wanted:
        values = (answers if name == "state" else well).column(name)
        found += [_describe(*one) for one in flat(name, values).items()]
    return found


def _describe(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    there = [value for value in values if value is not None]
    counts = Counter(frozen(value) for value in there)
    kinds = Counter(kind(value) for value in there)
    usual = share = None
    if counts:
        top, many = counts.most_common(1)[0]
        if many > 1 or len(there) == 1:
            usual = next(value for value in there if frozen(value) == top)
            share = round(many / len(there), 4)
    numbers = [value for value in there if number(value)]
    whole = bool(numbers) and len(numbers) == len(there)
    span = (min(numbers), median(numbers), max(numbers)) if whole else (None, None, None)
    word = "/".join(one for one, _ in kinds.most_common()) or "none"
    return (name, word, len(there), len(values) - len(there), len(counts), usual, share, *span)
