"""Node ranges: `web[01-40]` to names and back. ClusterShell is loaded when a bracket is seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcshell.errors import FilterError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_NODES", "expand", "fold"]

MAX_NODES = 100_000
"""Names that one range may stand for: more is a slip, and would fill the memory."""

_OUTSIDE = re.compile(r",(?![^\[]*\])")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]{1,12})(?:-([0-9]{1,12})(?:/([0-9]{1,6}))?)?")
_FOLDABLE = re.compile(r"[A-Za-z0-9._-]*[0-9][A-Za-z0-9._-]*")
_NUMBERED = re.compile(r"([^0-9]*)([0-9]{1,12})([^0-9]*)")
_LAST_NUMBER = re.compile(r"(.*?)([0-9]{1,12})([^0-9]*)")
_MANY = 500
_ADDRESS = re.compile(r"[0-9.]+")


def expand(names: Iterable[str]) -> list[str]:
    """Expand ranges: each name once, lower case, in the order given.

    An entry may hold several, parted by commas: `web[01-03,7],db1`. FilterError when a range is
    none or stands for more than `MAX_NODES` names.
    """
    seen: dict[str, None] = {}
    for entry in names:
        for part in _OUTSIDE.split(entry):
            name = part.strip().lower()
            if "[" in name or "]" in name:
                seen.update(dict.fromkeys(_ranged(name)))
            elif name:
                seen[name] = None
            if len(seen) > MAX_NODES:
                raise FilterError(f"more than {MAX_NODES:,} nodes at {_short(entry)}", entry)
    return list(seen)


def fold(names: Iterable[str]) -> str:
    """Write names as ranges, sorted: `db1,web[01-40]`. `expand([fold(names)])` gives them back.

    Numbers are folded in a name's first label only (in an address, in its last number): a fleet
    over many domains reads better so, and it is quick. Of labels with several numbers a few are
    folded in all of them, `r[1-2]n[1-9]`, many in the last.
    """
    plain: list[str] = []
    groups: dict[tuple[str, str], list[str]] = {}
    for name in sorted(set(names)):
        if not _FOLDABLE.fullmatch(name):
            plain.append(name)
        elif _ADDRESS.fullmatch(name):
            head, dot, last = name.rpartition(".")
            groups.setdefault((head + dot, ""), []).append(last)
        else:
            label, dot, domain = name.partition(".")
            groups.setdefault(("", dot + domain), []).append(label)
    for (head, tail), labels in groups.items():
        if len(labels) == 1:
            plain.append(f"{head}{labels[0]}{tail}")
        else:
            plain.extend(f"{head}{folded}{tail}" for folded in _folded(labels))
    return ",".join(sorted(plain))


def _folded(labels: list[str]) -> list[str]:
    """Fold labels; those of one number here, for ClusterShell takes minutes for 50,000 of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    several, rest = [], []
    many = len(labels) > _MANY
    for label in labels:
        match = _NUMBERED.fullmatch(label) or (_LAST_NUMBER.fullmatch(label) if many else None)
        if match is not None:
            groups.setdefault((match[1], match[3]), []).append(match[2])
        elif any(char.isdigit() for char in label):
            several.append(label)
        else:
            rest.append(label)
    found = [f"{head}{_ranges(numbers)}{tail}" for (head, tail), numbers in groups.items()]
    return [*rest, *found, *_by_clustershell(several)]


def _ranges(numbers: list[str]) -> str:
    """Numbers as ranges: `[001-412,420]`; one alone stays as it is.

    A number is padded where one as long begins with a zero: 099 and 100 are of one range.
    """
    if len(numbers) == 1:
        return numbers[0]
    padded = {len(text) for text in numbers if len(text) > 1 and text[0] == "0"}
    runs: list[list[int]] = []
    for width, number in sorted((len(t) if len(t) in padded else 0, int(t)) for t in numbers):
        if runs and runs[-1][0] == width and runs[-1][2] == number - 1:
            runs[-1][2] = number
        else:
            runs.append([width, number, number])
    ends = [(str(a).zfill(width), str(b).zfill(width)) for width, a, b in runs]
    return "[" + ",".join(a if a == b else f"{a}-{b}" for a, b in ends) + "]"


def _by_clustershell(labels: list[str]) -> list[str]:
    if not labels:
        return []
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet  # noqa: PLC0415 - only for ranges

    folded = str(NodeSet.fromlist(labels, resolver=RESOLVER_NOGROUP))
    return [part for part in _OUTSIDE.split(folded) if part]


def _ranged(name: str) -> list[str]:
    if (size := _size(name)) > MAX_NODES:
        raise FilterError(
            f"{_short(name)} stands for {size:,} nodes: more than {MAX_NODES:,}", name
        )
    from ClusterShell.NodeSet import (  # noqa: PLC0415 - only for ranges
        RESOLVER_NOGROUP,
        NodeSet,
        NodeSetException,
    )

    try:
        return list(NodeSet(name, resolver=RESOLVER_NOGROUP))
    except (NodeSetException, ValueError) as error:
        raise FilterError(f"{_short(name)} is no range of nodes: {error}", name) from error


def _size(name: str) -> int:
    """Count before anything is made; FilterError for what is no plain range."""
    size = 1
    for bracket in _BRACKET.finditer(name):
        total = 0
        for part in bracket[1].split(","):
            match = _RANGE.fullmatch(part.strip())
            if match is None:
                raise FilterError(
                    f"{_short(name)} is no range of nodes: write web[01-40] or web[1,3,5-9]",
                    name,
                    bracket.start() + 1,
                )
            first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
            total += abs(last - first) // max(step, 1) + 1
        size *= total
    rest = _BRACKET.sub("", name)
    if re.search(r"[\[\]@!&^%*\s]", rest):
        raise FilterError(f"{_short(name)} is no range of nodes", name)
    return size


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")  # noqa: PLR2004 - half a line
