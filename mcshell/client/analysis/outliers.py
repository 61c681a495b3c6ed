"""`outliers`: the odd ones out, in every column of the answers at once.

A value that few nodes have where most have another is `minority`; without a majority it is `rare`;
a number is judged by its robust z (the distance from the median in units of the median absolute
deviation: Iglewicz and Hoaglin 1993), on a logarithmic scale where the column is skewed. A value of
another type, one that is missing and one that only few have at all are odd as well; hashes are
looked at path by path.
"""

from __future__ import annotations

import math
from collections import Counter
from statistics import fmean, median, quantiles
from typing import TYPE_CHECKING, Any, Final, Literal

from mcshell.client.analysis.answers import flat, frozen, kind, number
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.client.analysis.answers import Answers

__all__ = ["COLUMNS", "SHARE", "Outlier", "outliers", "robust_z", "rows"]

COLUMNS: Final = {
    "sender": "string",
    "column": "string",
    "value": "",
    "usual": "",
    "why": "string",
    "share": "Float64",
    "z": "Float64",
}
"""Each with its dtype, whatever stands in it; where it has none, it is that of its values."""

#: A value that more than this share of the nodes has is never odd.
SHARE = 0.1

_FAR = 3.5  # robust z: what Iglewicz and Hoaglin recommend
_FEWEST = 3  # answers, below which nothing is odd
_FEWEST_NUMBERS = 5
_FEWEST_RARE = 10
_SETTING = 0.8  # a number that so many share is a setting, not a measurement
_LONG_TAIL = 1.5  # how much further the upper tenth is from the median than the lower
_DISCRETE = 10  # so few different numbers are settings too

Why = Literal["minority", "rare", "number", "type", "missing", "extra"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """One odd value. `share` is that of the nodes which have it; `z` is for numbers only."""

    sender: str
    column: str
    value: Any
    usual: Any
    why: Why
    share: float
    z: float | None = None


@dataclass(frozen=True, slots=True)
class _Column:
    """One column's answers, and how many of them may still be odd."""

    name: str
    cells: tuple[tuple[str, Any], ...]
    limit: int

    def odd(self, sender: str, value: Any, usual: Any, why: Why, many: int) -> Outlier:
        return Outlier(
            sender=sender,
            column=self.name,
            value=value,
            usual=usual,
            why=why,
            share=many / max(1, len(self.cells)),
        )


def outliers(answers: Answers, names: Sequence[str] = (), *, share: float = SHARE) -> list[Outlier]:
    """Find the odd values in the columns `names` (all outputs), the oddest first.

    Looks at the answers that came out well; with `names` at all that have the column. `share` is
    the largest share of the nodes that is still odd, from 0 to 1.

    Raises:
        UsageError: there is no such column.
    """
    looked = answers if names else answers.well()
    found: list[Outlier] = []
    for name in names or looked.outputs:
        for path, values in flat(name, looked.column(name)).items():
            cells = tuple(zip(looked.senders, values, strict=True))
            if len(cells) >= _FEWEST:
                found += _missing(_Column(path, cells, max(1, int(len(cells) * share))))
    return sorted(found, key=lambda one: (one.share, -abs(one.z or 0.0), one.sender, one.column))


def _missing(column: _Column) -> list[Outlier]:
    """Those that lack what the others have, or have what the others lack; then the values."""
    absent = [sender for sender, value in column.cells if value is None]
    there = [cell for cell in column.cells if cell[1] is not None]
    if not there:
        return []
    if len(there) <= column.limit and absent:
        return [column.odd(*cell, None, "extra", len(there)) for cell in there]
    found: list[Outlier] = []
    if len(absent) <= column.limit:
        usual = Counter(frozen(value) for _, value in there).most_common(1)[0][0]
        value = next(value for _, value in there if frozen(value) == usual)
        found = [column.odd(sender, None, value, "missing", len(absent)) for sender in absent]
    return found + _types(_Column(column.name, tuple(there), column.limit))


def _types(column: _Column) -> list[Outlier]:
    """Those whose value is of another type than the rest; then the values of the usual type."""
    kinds = Counter(kind(value) for _, value in column.cells)
    usual = kinds.most_common(1)[0][0]
    odd = [cell for cell in column.cells if kind(cell[1]) != usual]
    found = []
    if len(odd) <= column.limit:
        found = [column.odd(*cell, usual, "type", len(odd)) for cell in odd]
    alike = tuple(cell for cell in column.cells if kind(cell[1]) == usual)
    return found + _values(_Column(column.name, alike, column.limit))


def _values(column: _Column) -> list[Outlier]:
    if len(column.cells) < _FEWEST:
        return []
    counts = Counter(frozen(value) for _, value in column.cells)
    total = len(column.cells)
    ((top, many),) = counts.most_common(1)
    setting = many / total >= _SETTING or len(counts) <= min(_DISCRETE, total // 5)
    if not setting and all(number(value) for _, value in column.cells):
        return _numbers(column)
    usual = next(value for _, value in column.cells if frozen(value) == top)
    odd: list[tuple[str, Any, int]] = []
    if many * 2 > total:
        why: Why = "minority"
        odd = [
            (*cell, n) for cell in column.cells if (n := counts[frozen(cell[1])]) <= column.limit
        ]
    elif total >= _FEWEST_RARE:
        why = "rare"
        few = max(1, column.limit // 2)
        odd = [(*cell, n) for cell in column.cells if (n := counts[frozen(cell[1])]) <= few]
        odd = odd if len(odd) <= column.limit else []  # names and addresses are all rare
    return [column.odd(sender, value, usual, why, n) for sender, value, n in odd]


def _numbers(column: _Column) -> list[Outlier]:
    if len(column.cells) < _FEWEST_NUMBERS:
        return []
    values = [float(value) for _, value in column.cells]
    scores = robust_z([math.log(value) for value in values] if _skewed(values) else values)
    middle = median(values)
    return [
        Outlier(
            sender=sender,
            column=column.name,
            value=value,
            usual=middle,
            why="number",
            share=1 / len(values),
            z=z,
        )
        for (sender, value), z in zip(column.cells, scores, strict=True)
        if abs(z) > _FAR
    ]


def _skewed(values: Sequence[float]) -> bool:
    """Whether a column of positive numbers has a long tail, as sizes and times have."""
    if min(values) <= 0:
        return False
    low, *_, high = quantiles(values, n=10)
    middle = median(values)
    return high - middle > _LONG_TAIL * (middle - low)


def robust_z(values: Sequence[float]) -> list[float]:
    """The modified z-score of each value; by the mean deviation where the median one is 0."""
    middle = median(values)
    distances = [abs(value - middle) for value in values]
    unit = 1.4826 * median(distances) or 1.2533 * fmean(distances)
    return [0.0 if unit == 0 else (value - middle) / unit for value in values]


def rows(found: Sequence[Outlier]) -> list[tuple[Any, ...]]:
    """The rows of the table, under `COLUMNS`."""
    return [
        (one.sender, one.column, one.value, one.usual, one.why, round(one.share, 4), one.z)
        for one in found
    ]
