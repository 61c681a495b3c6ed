"""What of a node's facts can be sent: each judged on its own, so that an odd one costs itself.

A signed document holds whole numbers of 64 bits, text in UTF-8, so many levels and so many bytes
(mcshell/README.md §6). What is beyond becomes text where that says the same: a long number, infinity, a
date. What nothing says is left out by its name.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["MAX_DEPTH", "MAX_VALUES", "fitted", "plain", "sendable"]

MAX_DEPTH: Final = 24
"""Levels, of the 32 of a document: the others are for what carries the facts."""

MAX_VALUES: Final = 100_000
"""In one fact: YAML's aliases say in a line what takes years to write out."""

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1
_LONG: Final = 10**4000
"""Python writes no number in decimal that is much longer."""

_HALVES = re.compile("[\ud800-\udfff]")
_SHOWN: Final = 80
"""Characters of a fact's name that a flaw shows."""

_TWICE: Final = "another key before it has the same name as text"

_Path = tuple[str, ...]


def plain(value: Any) -> Any:
    """Make one value what JSON carries.

    Raises:
        ValueError: a part of it cannot be; it says which, and why.
    """
    copy = _PlainCopy()
    found = copy.value(value, ())
    if copy.left_out:
        raise ValueError(copy.left_out[0])
    return found


def sendable(facts: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the facts that can be sent, and of each other one a line: its dotted name, and why."""
    found: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in facts.items():
        copy = _PlainCopy()
        try:
            one = copy.hash({key: value}, ())
        except _TooManyError as error:
            left_out.append(_flaw((_text(str(key)),), error))
            continue
        left_out += copy.left_out
        if found.keys() & one.keys():
            left_out.append(_flaw((_text(str(key)),), _TWICE))
        else:
            found |= one
    return found, left_out


def fitted(facts: dict[str, Any], room: int) -> tuple[dict[str, Any], list[str]]:
    """Return as many of the facts as `room` (bytes, as JSON) holds: the largest are left out."""
    if _size(facts) <= room:
        return facts, []
    left_out: list[str] = []
    return _fitted(facts, room, (), left_out), left_out


class _UnsendableError(ValueError):
    """A value that nothing can stand for."""


class _TooManyError(ValueError):
    """A fact of too many values."""


class _PlainCopy:
    """Makes the copy of a value that is sent; `left_out` says what did not come along."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._values = 0

    def hash(self, value: Mapping[Any, Any], path: _Path) -> dict[str, Any]:
        """A hash without the entries that cannot be sent."""
        found: dict[str, Any] = {}
        for key, part in value.items():
            try:
                name = _name(key, found)
                found[name] = self.value(part, (*path, name))
            except _UnsendableError as error:
                self.left_out.append(_flaw((*path, _text(str(key))), error))
        return found

    def value(self, value: Any, path: _Path) -> Any:
        """A value as it is sent; a list of which a part cannot be is none."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise _TooManyError(f"more than {MAX_VALUES:,} values")
        if isinstance(value, dict | list | tuple | set | frozenset):
            if len(path) > MAX_DEPTH:
                raise _UnsendableError(f"nested deeper than {MAX_DEPTH} levels")
            if isinstance(value, dict):
                return self.hash(value, path)
            return [self.value(part, (*path, "[]")) for part in value]
        return _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value) if _LEAST <= value <= _MOST else _digits(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    isoformat = getattr(value, "isoformat", None)
    return _text(str(isoformat() if isoformat else value))


def _digits(value: int) -> str:
    return str(value) if abs(value) < _LONG else hex(value)


def _text(value: str) -> str:
    return str(value) if value.isascii() else _HALVES.sub("\ufffd", value)


def _name(key: Any, taken: Container[str]) -> str:
    if isinstance(key, str) and not key.isascii() and _HALVES.search(key):
        raise _UnsendableError("half of a character in its name")
    try:
        name = str(key) if isinstance(key, str) else json.dumps(key, default=str)
    except (TypeError, ValueError) as error:
        raise _UnsendableError(f"no name: {error}") from None
    if name in taken:
        raise _UnsendableError(_TWICE)
    return name


def _flaw(path: _Path, why: object) -> str:
    name = ".".join(path)
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    return f"{''.join(one if one.isprintable() else repr(one)[1:-1] for one in shown)}: {why}"


def _fitted(facts: dict[str, Any], room: int, path: _Path, left_out: list[str]) -> dict[str, Any]:
    sizes = {key: _size(value) for key, value in facts.items()}
    total = _size(facts)
    kept = dict(facts)
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        over = total - room
        if over <= 0:
            break
        value = kept.pop(key)
        # Where leaving out one part of it is enough, the others stay.
        if isinstance(value, dict) and max(map(_size, value.values()), default=0) >= over:
            kept[key] = _fitted(value, sizes[key] - over, (*path, key), left_out)
        else:
            left_out.append(_flaw((*path, key), f"too large ({sizes[key]:,} bytes)"))
        total = _size(kept)
    return {key: kept[key] for key in facts if key in kept}


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
