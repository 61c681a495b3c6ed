"""Writing Ruby's Marshal 4.8: the other half of `marshal`, which says what and how."""

from __future__ import annotations

from typing import Any, Final

from mcshell.errors import MarshalError
from mcshell.wire.mcollective.values import MAX_INTEGER, Bounds, RubyRegexp, RubySymbol, check_keys

__all__ = ["MAGIC", "dump"]

MAGIC: Final = b"\x04\x08"
"""The version that a body begins with."""

_DEFAULT: Final = Bounds()
_SMALL = 1 << 30
_OPTIONS = 7
_FIXED_ENCODING = 16


def dump(value: Any, bounds: Bounds = _DEFAULT) -> bytes:
    """Write one value; MarshalError when Ruby could not read it as the same."""
    writer = _MarshalWriter(bounds)
    writer.value(value, 0)
    body = b"".join(writer.parts)
    if len(body) > bounds.max_body:
        raise MarshalError(f"{len(body)} bytes: more than {bounds.max_body}")
    return body


class _MarshalWriter:
    __slots__ = ("bounds", "parts", "symbols")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.parts: list[bytes] = [MAGIC]
        self.symbols: dict[str, int] = {}

    def value(self, value: Any, depth: int) -> None:
        put = self.parts.append
        if depth > self.bounds.max_depth:
            raise MarshalError(f"nested deeper than {self.bounds.max_depth} levels")
        if value is None:
            put(b"0")
        elif isinstance(value, bool):
            put(b"T" if value else b"F")
        elif isinstance(value, str):
            raw = _utf8(value)
            put(b'I"' + _fixnum(len(raw)) + raw)
            self.encoding(ascii_only=False)
        elif isinstance(value, int):
            put(_integer(value))
        elif isinstance(value, RubySymbol):
            self.symbol(value.name)
        elif isinstance(value, bytes):
            put(b'"' + _fixnum(len(value)) + value)
        elif isinstance(value, float):
            put(_float(value))
        else:
            self.compound(value, depth)

    def compound(self, value: Any, depth: int) -> None:
        put = self.parts.append
        if isinstance(value, (list, tuple)):
            put(b"[" + _fixnum(len(value)))
            for one in value:
                self.value(one, depth + 1)
        elif isinstance(value, dict):
            try:
                check_keys(value)
            except ValueError as error:
                raise MarshalError(str(error)) from None
            put(b"{" + _fixnum(len(value)))
            for key, one in value.items():
                self.value(key, depth + 1)
                self.value(one, depth + 1)
        elif isinstance(value, RubyRegexp):
            raw = _utf8(value.source)
            plain = raw.isascii()
            options = (value.options & _OPTIONS) | (0 if plain else _FIXED_ENCODING)
            put(b"I/" + _fixnum(len(raw)) + raw + bytes((options,)))
            self.encoding(ascii_only=plain)
        else:
            raise MarshalError(f"a {type(value).__name__} is no plain data: Ruby cannot read it")

    def encoding(self, *, ascii_only: bool) -> None:
        self.parts.append(_fixnum(1))
        self.symbol("E")
        self.parts.append(b"F" if ascii_only else b"T")

    def symbol(self, name: str) -> None:
        if (index := self.symbols.get(name)) is not None:
            self.parts.append(b";" + _fixnum(index))
            return
        self.symbols[name] = len(self.symbols)
        raw = _utf8(name)
        plain = raw.isascii()
        self.parts.append((b":" if plain else b"I:") + _fixnum(len(raw)) + raw)
        if not plain:
            self.encoding(ascii_only=False)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MarshalError(f"text that is not Unicode: {text[:40]!r}") from error


def _fixnum(number: int) -> bytes:
    if number == 0:
        return b"\0"
    if 0 < number < 123:  # noqa: PLR2004 - what one byte holds
        return bytes((number + 5,))
    if -124 < number < 0:  # noqa: PLR2004 - what one byte holds
        return bytes((number - 5 & 255,))
    count = next(n for n in range(1, 5) if -(1 << 8 * n) <= number < 1 << 8 * n)
    raw = (number % (1 << 8 * count)).to_bytes(count, "little")
    return bytes((count if number > 0 else 256 - count,)) + raw


def _integer(number: int) -> bytes:
    if -_SMALL <= number < _SMALL:
        return b"i" + _fixnum(number)
    if number.bit_length() > MAX_INTEGER:
        raise MarshalError(f"an integer of more than {MAX_INTEGER} bits")
    count = (number.bit_length() + 15) // 16
    sign = b"l+" if number > 0 else b"l-"
    return sign + _fixnum(count) + abs(number).to_bytes(2 * count, "little")


def _float(number: float) -> bytes:
    text = {float("inf"): "inf", float("-inf"): "-inf"}.get(number) or (
        "nan" if number != number else repr(number)  # noqa: PLR0124 - what NaN is known by
    )
    return b"f" + _fixnum(len(text)) + text.encode()
