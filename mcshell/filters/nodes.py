"""Names of nodes: in their one form, as sets such as `web[01-40]`, and back.

ClusterShell is loaded when a bracket is seen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcshell.errors import FilterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    GroupLookup = Callable[[str], Iterable[str]]
    """Gives the names of a group's nodes, FilterError where there is no such group."""

__all__ = ["MAX_NODES", "canonical", "count", "expand", "fold", "has_group", "no_groups", "parts"]

MAX_NODES = 100_000
"""Names that one range may stand for: more is a slip, and would fill the memory."""

_MOST_SAID = 10 * MAX_NODES
"""Names that all sets of a line may say, before those that are said twice are one."""

MAX_NAME = 200
"""Letters of a name, as in a certificate (`pki.identity`)."""

_PIECE = re.compile(r"\[[^\]]*\]?|[,!&^]|[^\[,!&^]+")
_OPERATORS = frozenset(",!&^")
_NO_START = ("@", "-", "pool:")
# What no certificate's name has; `[` and `]` are seen to before.
_UNFIT = re.compile(r"""[\s*?\[\],#/\\<>"'`$&;|(){}!^=]""")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]{1,12})(?:-([0-9]{1,12})(?:/([0-9]{1,6}))?)?")
_FOLDABLE = re.compile(r"[A-Za-z0-9._-]*[0-9][A-Za-z0-9._-]*")
_NUMBERED = re.compile(r"([^0-9]*)([0-9]{1,12})([^0-9]*)")
_LAST_NUMBER = re.compile(r"(.*?)([0-9]{1,12})([^0-9]*)")
_MANY = 500
_ADDRESS = re.compile(r"[0-9.]+")


def canonical(name: str) -> str:
    """The one form of a node's name: lower case, without white space, BOM or last dot around it.

    Empty when nothing is left. FilterError for what is no node's name.
    """
    fine = name.strip(" \t\r\n\ufeff").lower().removesuffix(".")
    unseen = next((one for one in fine if not one.isprintable()), None)
    strange = _UNFIT.search(fine)
    if (
        unseen is None
        and strange is None
        and len(fine) <= MAX_NAME
        and not fine.startswith(_NO_START)
    ):
        return fine
    if unseen is not None:
        why = f"it has U+{ord(unseen):04X} in it"
    elif strange is not None:
        why = f"it has {strange[0]!r} in it"
    else:
        start = next((one for one in _NO_START if fine.startswith(one)), "")
        why = f"it begins with {start!r}" if start else f"over {MAX_NAME} letters"
    raise FilterError(f"{_short(name)} is no name of a node: {why}", name)


def parts(text: str) -> list[str]:
    """The parts of a folded set of nodes: `db1`, `web[1,3]`."""
    return [operand for _operator, operand in _terms(text)]


def has_group(text: str) -> bool:
    """Whether a group, `@NAME`, is in a set of nodes."""
    return "@" in text and any(part.strip().startswith("@") for part in parts(text))


def no_groups(name: str) -> Iterable[str]:
    """No groups at all, as on a node: FilterError."""
    raise FilterError(f"@{name}: no group means anything here", f"@{name}")


def expand(names: Iterable[str], groups: GroupLookup = no_groups) -> list[str]:
    """Expand sets of nodes: each name once, in its one form, in the order given.

    An entry is a name or a set as ClusterShell writes them: `web[01-03,7],db1`, and from the left
    `!` without, `&` that are in both, `^` in one only. `groups` gives the names of an `@GROUP`.
    FilterError for what is none, or stands for more than `MAX_NODES` names, or says names so often
    that it would take minutes.
    """
    seen: dict[str, None] = {}
    said = 0
    for entry in names:
        found, more = _evaluated(entry, groups, _MOST_SAID - said)
        said += more
        if len(seen) + len(found) > MAX_NODES and len({*seen, *found}) > MAX_NODES:
            raise FilterError(f"more than {MAX_NODES:,} nodes at {_short(entry)}", entry)
        seen.update(found)
    return list(seen)


def _terms(text: str) -> list[tuple[str, str]]:
    """Operators outside brackets, each with what stands behind it; the first is a comma."""
    terms: list[tuple[str, list[str]]] = [(",", [])]
    for piece in _PIECE.findall(text):
        if piece in _OPERATORS:
            terms.append((piece, []))
        else:
            terms[-1][1].append(piece)
    return [(operator, "".join(pieces)) for operator, pieces in terms]


def _evaluated(entry: str, groups: GroupLookup, room: int) -> tuple[dict[str, None], int]:
    """The names of an entry, and how many were said for it, which may be `room` at most."""
    found: dict[str, None] = {}
    before, said = "", 0
    for operator, text in _terms(entry):
        other = _operand(text, groups)
        said += len(other)
        if said > room:
            raise FilterError(f"the same nodes over and over at {_short(entry)}", entry)
        if operator != "," and not (before.strip() and text.strip()):
            raise FilterError(f"{_short(entry)} is no set of nodes: {operator} stands alone", entry)
        before = text
        if operator == ",":
            found.update(other)
        elif operator == "&":
            found = {name: None for name in found if name in other}
        else:
            both = found.keys() & other.keys()
            new = {} if operator == "!" else other
            found = {name: None for name in (*found, *new) if name not in both}
        if len(found) > MAX_NODES:
            raise FilterError(f"more than {MAX_NODES:,} nodes at {_short(entry)}", entry)
    return found, said


def _operand(text: str, groups: GroupLookup) -> dict[str, None]:
    name = text.strip()
    if name.startswith("@"):
        return dict.fromkeys(groups(name[1:].strip()))
    if ("[" in name or "]" in name) and name.isprintable():
        return dict.fromkeys(map(canonical, _ranged(name.lower())))
    fine = canonical(name)
    return {fine: None} if fine else {}


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
    return [part for part in parts(folded) if part]


def _ranged(name: str) -> list[str]:
    if (size := count(name)) > MAX_NODES:
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


def count(name: str) -> int:
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
