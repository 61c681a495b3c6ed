"""The order of versions, as Debian's and RPM's package managers have it."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from mcshell.filters.facts import lookup

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["are_versions", "compare_versions", "uses_rpm"]

_VERSION: Final = re.compile(r"[vV]?(?:[0-9]{1,9}:)?[0-9][0-9A-Za-z.+~^_-]{0,200}")
_DOTTED: Final = re.compile(r"[0-9]\.[0-9]")
_DEBIAN_PART: Final = re.compile(r"([^0-9]*)([0-9]*)")
_RPM_FAMILIES: Final = frozenset({"redhat", "rhel", "fedora", "suse", "mandrake", "mageia"})


def are_versions(one: str, other: str) -> bool:
    """Whether both look like versions, and one of them like nothing else: `6.18`, `1:2.3-4~rc1`."""
    return (
        _VERSION.fullmatch(one) is not None
        and _VERSION.fullmatch(other) is not None
        and (_DOTTED.search(one) or _DOTTED.search(other)) is not None
    )


def uses_rpm(facts: Mapping[str, Any]) -> bool:
    """Whether a node says of itself that its packages are RPM's."""
    family = lookup(facts, "os.family", None) or lookup(facts, "osfamily", None)
    return str(family).lower() in _RPM_FAMILIES


def compare_versions(one: str, other: str, *, rpm: bool = False) -> int:
    """Below 0 when `one` comes first, 0 when they are the same, above 0 when `other` does.

    The order is dpkg's, with `rpm` that of rpm, to which a version without a release is any of it.
    """
    mine, theirs = _parts(one), _parts(other)
    if mine[0] != theirs[0]:
        return mine[0] - theirs[0]
    compare = _rpm if rpm else _debian
    if found := compare(mine[1], theirs[1]):
        return found
    if rpm and not (mine[2] and theirs[2]):
        return 0
    return compare(mine[2], theirs[2])


def _parts(version: str) -> tuple[int, str, str]:
    """Epoch, version, and what is behind the last hyphen."""
    epoch, colon, rest = version.lstrip("vV").rpartition(":")
    upstream, hyphen, revision = rest.rpartition("-")
    return int(epoch) if colon else 0, upstream if hyphen else rest, revision if hyphen else ""


def _debian(one: str, other: str) -> int:
    """Words and numbers by turns; `~` comes before the end, letters before other signs."""
    nothing = ("", "")
    pairs = zip_longest(_DEBIAN_PART.findall(one), _DEBIAN_PART.findall(other), fillvalue=nothing)
    for (word, number), (other_word, other_number) in pairs:
        mine, theirs = _debian_word(word), _debian_word(other_word)
        if mine != theirs:
            return -1 if mine < theirs else 1
        if difference := int(number or 0) - int(other_number or 0):
            return difference
    return 0


def _debian_word(word: str) -> list[int]:
    return [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in word] + [0]


def _rpm(one: str, other: str) -> int:
    """Segments of digits or letters; `~` comes before the end, `^` behind it."""
    while one or other:
        one, other = _separated(one), _separated(other)
        signs = {text[0] for text in (one, other) if text[:1] in ("~", "^")}
        if signs and one[:1] == other[:1]:
            one, other = one[1:], other[1:]
            continue
        if "~" in signs:
            return -1 if one.startswith("~") else 1
        if signs:
            first = not one or (bool(other) and one.startswith("^"))
            return -1 if first else 1
        if not (one and other):
            break
        mine = _leading(one, digits=one[0].isdigit())
        theirs = _leading(other, digits=one[0].isdigit())
        if not theirs:
            return 1 if mine.isdigit() else -1
        if difference := _rpm_segment(mine, theirs):
            return difference
        one, other = one[len(mine) :], other[len(theirs) :]
    return bool(one) - bool(other)


def _separated(text: str) -> str:
    return re.sub(r"^[^0-9A-Za-z~^]+", "", text)


def _leading(text: str, *, digits: bool) -> str:
    """The digits, or else the letters, that a text begins with."""
    found = re.match(r"[0-9]*" if digits else r"[A-Za-z]*", text)
    return found[0] if found else ""


def _rpm_segment(one: str, other: str) -> int:
    if one.isdigit():
        return int(one) - int(other)
    return (one > other) - (one < other)
