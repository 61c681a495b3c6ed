"""The values that go over MCollective's wire, the same for Marshal and YAML.

====================  ==============================================
Ruby                  here
====================  ==============================================
nil, true, false      None, True, False
Integer, Float        int, float
String, text          str (sent as UTF-8)
String, binary        bytes (also text that is not in its encoding)
Symbol                `RubySymbol`
Regexp                `RubyRegexp`
Array                 list (a tuple where it is the key of a Hash)
Hash                  dict
====================  ==============================================

Anything else is an error: no object is ever built.
"""

from __future__ import annotations

from typing import Any, Final

from mcshell.values import dataclass

__all__ = ["MAX_INTEGER", "Bounds", "Key", "Meter", "RubyRegexp", "RubySymbol", "check_keys"]

MAX_INTEGER: Final = 8192
"""Bits of an integer: Python itself refuses to print many more."""

_KEY_BITS = 64
_ARRAY_KEYS = 1000


@dataclass(frozen=True, slots=True)
class RubySymbol:
    """A Ruby Symbol: never equal to the text that it looks like."""

    name: str

    def __str__(self) -> str:
        return f":{self.name}"


@dataclass(frozen=True, slots=True)
class RubyRegexp:
    """A Ruby Regexp, not compiled; `options` is the sum of 1 (i), 2 (x) and 4 (m)."""

    source: str
    options: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a body may cost: bytes of it, levels of nesting, values, and bytes of text.

    A value that is linked to counts each time, so that a small body cannot stand for a large one.
    """

    max_body: int = 8 * 1024 * 1024
    max_depth: int = 64
    max_values: int = 250_000
    max_text: int = 16 * 1024 * 1024


Key = Any
"""A key of a dict: what is hashable of the values."""


class Meter:
    """What reading one body has cost so far; ValueError when it is more than its bounds."""

    __slots__ = ("array_keys", "bounds", "peak", "text", "values")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.values = 0
        self.text = 0
        self.peak = 0
        self.array_keys = 0

    def enter(self, depth: int) -> None:
        """Count one value at a depth."""
        self.values += 1
        self.peak = max(self.peak, depth)
        if self.values > self.bounds.max_values:
            raise ValueError(f"more than {self.bounds.max_values} values")
        if depth > self.bounds.max_depth:
            raise ValueError(f"nested deeper than {self.bounds.max_depth} levels")

    def spend(self, values: int, text: int, depth: int) -> None:
        """Count a value once more: so many values and bytes of text, down to a depth."""
        self.text += text
        self.values += values - 1
        self.enter(depth)
        if self.text > self.bounds.max_text:
            raise ValueError(f"more than {self.bounds.max_text} bytes of text")

    def put(self, into: dict[Key, Any], key: Any, value: Any) -> None:
        """Add a pair to a hash; ValueError for a key that cannot be one here.

        The bounds on keys keep anyone from choosing keys that all fall into one slot of a dict.
        """
        key = self._key(key)
        if key in into:
            raise ValueError(f"two keys of a Hash that are one here ({str(key)[:60]!r})")
        into[key] = value

    def _key(self, value: Any) -> Key:
        if isinstance(value, list):
            self.array_keys += 1
            if self.array_keys > _ARRAY_KEYS:
                raise ValueError(f"more than {_ARRAY_KEYS} Arrays as keys")
            return tuple(self._key(one) for one in value)
        if isinstance(value, dict):
            raise ValueError("a Hash as the key of a Hash")  # noqa: TRY004 - it is data that is wrong
        if isinstance(value, int) and value.bit_length() > _KEY_BITS:
            raise ValueError(f"an Integer of more than {_KEY_BITS} bits as a key")
        return value


def check_keys(keys: Any) -> None:
    """Refuse, with ValueError, keys of a dict that would be one key in Ruby: "a" and b"a"."""
    if all(isinstance(key, (str, RubySymbol)) for key in keys):
        return
    seen = set()
    for key in keys:
        there = _ruby_key(key)
        if there in seen:
            raise ValueError(f"two keys of a dict that are one in Ruby ({key!r})")
        seen.add(there)


def _ruby_key(key: Any) -> Key:
    if isinstance(key, bytes) and key.isascii():
        return (str, key.decode())
    if isinstance(key, tuple):
        return (tuple, *(_ruby_key(one) for one in key))
    return (type(key), key)
