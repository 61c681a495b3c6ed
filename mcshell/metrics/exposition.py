"""Prometheus' text format, version 0.0.4: declared metrics and their figures become text. Pure.

A metric has at most one label of its own, whose values are ours (states, reasons), beside those that
say who is measured: nothing that a stranger writes becomes a label, and so the number of series stands.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Figures", "Metric", "exposition"]

Figures: TypeAlias = "Mapping[str, float | Mapping[str, float]]"
"""By the metric's name: a figure, or one for each value of its label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric as it is declared; `label` is the name of its own label, "" where it has none."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    label: str = ""


def exposition(metrics: Iterable[Metric], figures: Figures, about: Mapping[str, str]) -> str:
    """Write the metrics of which there are figures; `about` are the labels that each line has."""
    return "".join(line for metric in metrics for line in _family(metric, figures, about))


def _family(metric: Metric, figures: Figures, about: Mapping[str, str]) -> Iterator[str]:
    found = figures.get(metric.name)
    if found is None or found == {}:
        return
    yield f"# HELP {metric.name} {_escaped(metric.help)}\n"
    yield f"# TYPE {metric.name} {metric.kind}\n"
    if isinstance(found, int | float):
        yield _sample(metric.name, about, found)
        return
    for value, figure in found.items():
        yield _sample(metric.name, {**about, metric.label: value}, figure)


def _sample(name: str, labels: Mapping[str, str], figure: float) -> str:
    pairs = ",".join(f'{label}="{_quoted(value)}"' for label, value in labels.items())
    return f"{name}{{{pairs}}} {_number(figure)}\n" if pairs else f"{name} {_number(figure)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(figure: float) -> str:
    if math.isinf(figure):
        return "+Inf" if figure > 0 else "-Inf"
    return "NaN" if math.isnan(figure) else repr(figure)
