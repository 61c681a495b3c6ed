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
    over many domains reads better so, and it is quick.
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
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet  # noqa: PLC0415 - only for ranges

    digits = [label for label in labels if any(char.isdigit() for char in label)]
    folded = str(NodeSet.fromlist(digits, resolver=RESOLVER_NOGROUP)) if digits else ""
    rest = [label for label in labels if label not in set(digits)]
    return [*rest, *(part for part in _OUTSIDE.split(folded) if part)]


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
