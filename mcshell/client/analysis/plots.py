"""Pictures of answers, in matplotlib (the `report` extra): small, quiet, and readable in print.

Figures are made without pyplot, so that nothing global is touched and nothing is drawn twice.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from mcshell.client.analysis.answers import number
from mcshell.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mcshell.client.analysis.answers import Answers

__all__ = ["COLOURS", "Plot", "plot"]

#: One colour a state: blue is well and red is not, which colour-blind eyes tell apart.
COLOURS = {
    "ok": "#4477aa",
    "failed": "#cc3311",
    "denied": "#ee7733",
    "interrupted": "#aa3377",
    "silent": "#bbbbbb",
    "expired": "#777777",
    "pending": "#e0e0e0",
    "received": "#ccddaa",
    "running": "#99cc66",
}
_OTHER = "#4477aa"
_MOST = 12
_LONGEST = 32
_DPI = 90


class Plot:
    """A figure that a notebook shows as a PNG. `figure` is matplotlib's own, to go on with."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        """What a notebook shows: the picture, and its title for who cannot see it."""
        del include, exclude
        data = {"image/png": self.png(), "text/plain": repr(self)}
        return data, {"image/png": {"alt": repr(self)[7:-1]}}

    def png(self) -> bytes:
        """The picture's bytes."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight")
        return buffer.getvalue()

    def __repr__(self) -> str:
        """The title of the picture."""
        title = self.figure.axes[0].get_title(loc="left")
        return f"<Plot: {title}>"

    def save(self, path: Path | str) -> None:
        """Write it into a file; the ending says the format (png, svg, pdf)."""
        self.figure.savefig(path, dpi=_DPI, bbox_inches="tight")


def plot(answers: Answers, what: str, column: str | None = None) -> Plot:
    """Draw one of `states`, `lag`, `map` (by state or `column`), `distribution` of `column`.

    Raises:
        UsageError: there is no such picture or column, nothing to draw, or no matplotlib.
    """
    pictures: dict[str, Callable[[Answers, str | None], Figure]] = {
        "states": _states,
        "lag": lambda answers, column: _distribution(answers, column or "lag"),
        "map": _map,
        "distribution": _distribution,
    }
    if what not in pictures:
        raise UsageError(
            f"no plot {what!r}{did_you_mean(what, pictures)}: {', '.join(pictures)} are there"
        )
    try:
        return Plot(pictures[what](answers, column))
    except ImportError as error:
        raise UsageError("plots need matplotlib: pip install matplotlib") from error


def _canvas(title: str, height: float, width: float = 7.0) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and a second to load

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _states(answers: Answers, column: str | None) -> Figure:
    counts = Counter(answers.column(column or "state"))
    figure, axes = _canvas(f"{len(answers.senders)} targets by state", 1.3)
    left = 0
    for state in sorted(counts, key=_rank):
        label = f"{_label(state)} {counts[state]}"
        axes.barh(0, counts[state], left=left, color=COLOURS.get(state, _OTHER), label=label)
        left += counts[state]
    axes.set_yticks([])
    axes.set_xlim(0, max(1, left))
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=5, frameon=False, fontsize=8)
    return figure


def _distribution(answers: Answers, column: str | None) -> Figure:
    """Numbers as a histogram, anything else as bars of its values."""
    if column is None:
        raise UsageError("plot distribution: of which column?")
    values = [value for value in answers.well().column(column) if value is not None]
    if not values:
        raise UsageError(f"plot: nothing in column {column!r}")
    if all(number(value) for value in values) and len(set(values)) > _MOST:
        return _histogram(column, values)
    counts = Counter(_label(value) for value in values).most_common()
    shown = counts[:_MOST]
    if rest := sum(many for _, many in counts[_MOST:]):
        shown.append((f"{len(counts) - _MOST} others", rest))
    figure, axes = _canvas(f"{column}: {len(values)} answers", 0.6 + 0.26 * len(shown))
    bars = axes.barh(
        [label for label, _ in reversed(shown)],
        [many for _, many in reversed(shown)],
        color=_OTHER,
    )
    axes.bar_label(bars, padding=2, fontsize=8)
    axes.tick_params(labelsize=8)
    return figure


def _histogram(column: str, values: Sequence[float]) -> Figure:
    figure, axes = _canvas(f"{column}: {len(values)} answers", 2.4)
    bins = min(40, max(8, math.isqrt(len(values)) * 2))
    axes.hist([float(value) for value in values], bins=bins, color=_OTHER, edgecolor="white")
    axes.set_xlabel("seconds" if column == "lag" else _label(column), fontsize=8)
    axes.set_ylabel("nodes", fontsize=8)
    axes.tick_params(labelsize=8)
    return figure


def _map(answers: Answers, column: str | None) -> Figure:
    """A cell a node, in the order of their names: by state, or by how large a number is."""
    from matplotlib.colors import ListedColormap  # noqa: PLC0415 - as above

    name = column or "state"
    cells = dict(sorted(zip(answers.senders, answers.column(name), strict=True)))
    wide = max(1, min(40, math.ceil(math.sqrt(len(cells) * 3))))
    high = math.ceil(len(cells) / wide) or 1
    numeric = any(number(value) for value in cells.values())
    if numeric:
        values = [float(value) if number(value) else math.nan for value in cells.values()]
        colours: Any = "viridis"
    else:
        labels = [_label(value) for value in cells.values()]
        kinds = sorted(sorted(set(labels)), key=_rank)
        values = [float(kinds.index(label)) for label in labels]
        colours = ListedColormap([*_palette(kinds)])
    values += [math.nan] * (wide * high - len(values))
    figure, axes = _canvas(f"{name}: {len(cells)} nodes", 0.7 + high * 0.3)
    grid = [values[row * wide : (row + 1) * wide] for row in range(high)]
    mesh = axes.pcolormesh(grid, cmap=colours, edgecolors="white", linewidth=1)
    if not numeric:
        mesh.set_clim(-0.5, len(kinds) - 0.5)
    bar = figure.colorbar(mesh, ax=axes, pad=0.01, ticks=None if numeric else range(len(kinds)))
    if not numeric:
        bar.ax.set_yticklabels(kinds, fontsize=8)
    _name_cells(axes, list(cells), wide)
    return figure


def _name_cells(axes: Axes, names: Sequence[str], wide: int) -> None:
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.set_yticks([place + 0.5 for place in range(math.ceil(len(names) / wide))])
    axes.set_yticklabels([_label(name) for name in names[::wide]], fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _rank(state: str) -> int:
    """The place of a state in the order of `COLOURS`; what is none comes last."""
    return list(COLOURS).index(state) if state in COLOURS else len(COLOURS)


def _palette(kinds: Sequence[str]) -> list[str]:
    spare = ["#4477aa", "#ddcc77", "#cc6677", "#117733", "#88ccee", "#aa4499", "#999933", "#332288"]
    return [COLOURS.get(one, spare[place % len(spare)]) for place, one in enumerate(kinds)]


def _label(value: Any) -> str:
    """Foreign text as a label: short, printable, and never read as a formula."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)[:200])
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return text.replace("$", r"\$")
