"""Summaries of one output over all replies, as a DDL declares them.

A function of the kind `aggregate` (`mcshell.plugins`) takes the values (never None) and the DDL's
options, and gives a mapping from label to count, or one number, or None when there is nothing to
say. The format strings are MCollective's: `"%s nodes: %s"`, `"Average: %.2f s"`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from itertools import islice
from typing import Any, Final

from mcshell import plugins
from mcshell.errors import DDLError
from mcshell.values import dataclass

__all__ = ["Aggregate", "Spec", "average", "boolean_summary", "compute", "summary", "total"]

_LINES: Final = 100  # for a reader; a program gets all
_LONGEST: Final = 500  # characters of a label: each line is as wide as the widest

Result = Mapping[str, int] | float | None


@dataclass(frozen=True, slots=True)
class Spec:
    """One `aggregate` entry of a DDL: the function, the output it is about, options, format."""

    function: str
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A summary, computed: `values` for a program, `lines` for a reader."""

    title: str
    function: str
    output: str
    values: Mapping[str, int] | float
    lines: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Its form in JSON."""
        values = dict(self.values) if isinstance(self.values, Mapping) else self.values
        return {"title": self.title, "function": self.function, "output": self.output} | {
            "values": values
        }


def compute(spec: Spec, title: str, rows: Sequence[Mapping[str, Any]]) -> Aggregate | None:
    """Compute one summary over the replies' data; None when no reply has the output.

    Raises:
        DDLError: the format string does not fit the function, or a foreign one failed on what nodes said.
        PluginError: there is no such function.
    """
    values = [value for row in rows if (value := row.get(spec.output)) is not None]
    function = plugins.find("aggregate", spec.function)
    try:
        result: Result = function(values, spec.options)
    except Exception as error:  # a foreign one may raise anything, and one summary hides no replies
        raise DDLError(f"aggregate {spec.function}: {type(error).__name__}: {error}") from error
    if result is None or (isinstance(result, Mapping) and not result):
        return None
    if isinstance(result, float) and not math.isfinite(result):
        return None  # what one node said is beyond all reckoning
    try:
        lines = _lines(spec, title, result)
    except (TypeError, ValueError) as error:
        raise DDLError(
            f"format {spec.format!r} does not fit the aggregate {spec.function}: {error}"
        ) from error
    return Aggregate(f"Summary of {title}", spec.function, spec.output, result, lines)


def _lines(spec: Spec, title: str, result: Mapping[str, int] | float) -> tuple[str, ...]:
    if isinstance(result, Mapping):
        shown = [
            (str(label).replace("\n", "\\n"), count)
            for label, count in islice(result.items(), _LINES)
        ]
        width = max(len(label) for label, _ in shown)
        form = spec.format or f"%{width}s = %s"
        lines = [form % one for one in shown]
        if len(result) > _LINES:
            lines.append(f"and {len(result) - _LINES} more")
        return (*lines,)
    if spec.format is not None:
        return (spec.format % result,)
    label = {"average": "Average", "sum": "Sum"}.get(spec.function, spec.function.capitalize())
    return (f"{label} of {title}: {result if isinstance(result, int) else f'{result:f}'}",)


def summary(values: Iterable[Any], options: Mapping[str, Any]) -> Mapping[str, int]:
    """Count each value, the most frequent first; of an array, each element."""
    del options
    counts = Counter(_label(one) for value in values for one in _elements(value))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def boolean_summary(values: Iterable[Any], options: Mapping[str, Any]) -> Mapping[str, int]:
    """Count true and false, under the labels that the options give them."""
    counts = Counter(
        str(options.get(_label(one), _label(one)))
        for value in values
        for one in _elements(value)
        if isinstance(one, bool)
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def average(values: Iterable[Any], options: Mapping[str, Any]) -> float | None:
    """Average the numbers; None without any."""
    del options
    numbers = _numbers(values)
    return _finite(lambda: sum(numbers) / len(numbers)) if numbers else None


def total(values: Iterable[Any], options: Mapping[str, Any]) -> float | None:
    """Add the numbers up; None without any."""
    del options
    numbers = _numbers(values)
    return _finite(lambda: sum(numbers)) if numbers else None


def _finite(reckon: Callable[[], float]) -> float | None:
    """A result, if a float can hold it: integers may be of any size on MCollective's wire."""
    try:
        return reckon()
    except OverflowError:
        return None


def _elements(value: Any) -> Iterable[Any]:
    return (one for one in value if one is not None) if isinstance(value, list) else (value,)


def _numbers(values: Iterable[Any]) -> list[float]:
    return [
        value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]


def _label(value: Any) -> str:
    text = value
    if not isinstance(value, str):
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
