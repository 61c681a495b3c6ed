"""Ruby's Marshal 4.8 for plain data, and nothing but plain data.

What is read: nil, true, false, Integers, Floats, Strings, Symbols, Arrays, Hashes without a
default, Regexps, and links to what was read before. What is written: the same, without links.
Every other type is an error with its offset; a body costs at most what its `Bounds` say. A link to
something that is not complete (a cycle) is refused.

Format: Ruby's doc/marshal.rdoc. For the numbers that links take, every object but nil, true,
false, Symbol and small Integer counts, in the order in which it begins.
"""

from __future__ import annotations

import re
from typing import Any, Final

from mcshell.errors import MarshalError
from mcshell.wire.mcollective.marshal_write import MAGIC, dump
from mcshell.wire.mcollective.values import (
    MAX_INTEGER,
    Bounds,
    Meter,
    RubyRegexp,
    RubySymbol,
)

__all__ = ["MAGIC", "dump", "load"]

_DEFAULT: Final = Bounds()
_UNFINISHED: Final = object()
_CONSTANTS: Final = {ord("0"): None, ord("T"): True, ord("F"): False}
_FLOAT = re.compile(rb"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:e[+-]?[0-9]{1,4})?")
_SPECIAL: Final = {b"inf": float("inf"), b"-inf": float("-inf"), b"nan": float("nan")}
_OPTIONS = 7
_STRING, _REGEXP, _SYMBOL, _LINK_TO_SYMBOL = b'"/:;'

# Only these: Python knows codecs (punycode) that take quadratic time.
_CODECS: Final = {
    "UTF-8": "utf_8",
    "US-ASCII": "ascii",
    "Shift_JIS": "shift_jis",
    "Windows-31J": "cp932",
    "EUC-JP": "euc_jp",
    "ISO-2022-JP": "iso2022_jp",
    "EUC-KR": "euc_kr",
    "GBK": "gbk",
    "GB18030": "gb18030",
    "Big5": "big5",
    "KOI8-R": "koi8_r",
    "UTF-16LE": "utf_16_le",
    "UTF-16BE": "utf_16_be",
    "UTF-32LE": "utf_32_le",
    "UTF-32BE": "utf_32_be",
    **{f"ISO-8859-{n}": f"iso8859_{n}" for n in (*range(1, 12), 13, 14, 15, 16)},
    **{f"Windows-125{n}": f"cp125{n}" for n in range(9)},
}
_REFUSED: Final = {
    "}": "a Hash with a default",
    "o": "an object",
    "u": "an object (user-defined)",
    "U": "an object (user-marshalled)",
    "S": "a Struct",
    "C": "a subclass of a plain type",
    "e": "an object extended by a module",
    "c": "a Class",
    "m": "a Module",
    "M": "a Class or Module",
    "d": "a Data object",
}


def load(body: bytes, bounds: Bounds = _DEFAULT) -> Any:
    """Read one value (`mcshell.wire.mcollective.values` says as what); MarshalError otherwise."""
    if len(body) > bounds.max_body:
        raise MarshalError(f"{len(body)} bytes: more than {bounds.max_body}", 0)
    if body[:2] != MAGIC:
        raise MarshalError("not Marshal 4.8", 0)
    reader = _MarshalReader(body, bounds)
    try:
        value = reader.value(0)
    except ValueError as error:
        raise MarshalError(str(error), reader.at) from error
    if reader.at != len(body):
        raise MarshalError(f"{len(body) - reader.at} bytes after the value", reader.at)
    return value


class _Entry:
    """One object that links may name, and what it costs to have it once more."""

    __slots__ = ("depth", "text", "value", "values")

    def __init__(self) -> None:
        self.value: Any = _UNFINISHED
        self.values = self.text = self.depth = 0


class _MarshalReader:
    __slots__ = ("at", "body", "entries", "meter", "symbols")

    def __init__(self, body: bytes, bounds: Bounds) -> None:
        self.body = body
        self.at = 2
        self.meter = Meter(bounds)
        self.symbols: list[RubySymbol | None] = []
        self.entries: list[_Entry] = []

    def value(self, depth: int) -> Any:
        kind = self.byte()
        self.meter.enter(depth)
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        match kind:
            case 0x69:  # i
                return self.fixnum()
            case 0x3A | 0x3B:  # : ;
                return self.symbol(kind)
            case 0x40:  # @
                return self.link(depth)
            case 0x49:  # I
                return self.with_variables(depth)
            case _:
                return self.counted(kind, depth)

    def counted(self, kind: int, depth: int) -> Any:
        """Read an object that takes a number; its cost is what the meter shows in the end."""
        meter, entry = self.meter, _Entry()
        values, text, peak = meter.values, meter.text, meter.peak
        meter.peak = depth
        self.entries.append(entry)
        value = self.object(kind, depth)
        entry.values = meter.values - values + 1
        entry.text = meter.text - text
        entry.depth = meter.peak - depth
        meter.peak = max(peak, meter.peak)
        entry.value = value
        return value

    def object(self, kind: int, depth: int) -> Any:
        match kind:
            case 0x22:  # "
                return self.string()
            case 0x5B:  # [
                return [self.value(depth + 1) for _ in range(self.length("elements", 1))]
            case 0x7B:  # {
                return self.hash(depth)
            case 0x66:  # f
                return self.float()
            case 0x6C:  # l
                return self.bignum()
            case 0x2F:  # /
                return self.pattern(self.string(), self.byte(), "US-ASCII")
            case _:
                self.at -= 1
                what = _REFUSED.get(chr(kind), f"the unknown type {bytes((kind,))!r}")
                raise ValueError(f"{what}: not plain data,")

    def byte(self) -> int:
        if self.at >= len(self.body):
            raise ValueError("it ends too soon")
        self.at += 1
        return self.body[self.at - 1]

    def take(self, count: int) -> bytes:
        if count > len(self.body) - self.at:
            raise ValueError(f"{count} bytes announced, {len(self.body) - self.at} there")
        self.at += count
        return self.body[self.at - count : self.at]

    def fixnum(self) -> int:
        first = self.byte()
        signed = first - 256 if first > 127 else first  # noqa: PLR2004 - a signed byte
        if -4 <= signed <= 4:  # noqa: PLR2004 - a count of bytes
            raw = self.take(abs(signed))
            number = int.from_bytes(raw, "little")
            return number - (1 << 8 * len(raw)) if signed < 0 else number
        return signed + 5 if signed < 0 else signed - 5

    def length(self, what: str, least: int) -> int:
        """Read a count of things that take at least so many bytes each."""
        count = self.fixnum()
        if not 0 <= count * least <= len(self.body) - self.at:
            raise ValueError(f"{count} {what} announced, {len(self.body) - self.at} bytes there")
        return count

    def string(self) -> bytes:
        raw = self.take(self.length("bytes", 1))
        self.meter.text += len(raw)
        return raw

    def hash(self, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for _ in range(self.length("pairs", 2)):
            key = self.value(depth + 1)
            self.meter.put(result, key, self.value(depth + 1))
        return result

    def float(self) -> float:
        raw = self.take(self.length("bytes", 1))
        if raw in _SPECIAL:
            return _SPECIAL[raw]
        if not _FLOAT.fullmatch(raw):
            raise ValueError(f"a Float written as {raw[:40]!r}")
        return float(raw)

    def bignum(self) -> int:
        sign = self.byte()
        if sign not in b"+-":
            raise ValueError("an Integer without a sign")
        count = self.length("pairs of bytes", 2)
        if count * 16 > MAX_INTEGER:
            raise ValueError(f"an Integer of more than {MAX_INTEGER} bits")
        number = int.from_bytes(self.take(2 * count), "little")
        return number if sign == ord("+") else -number

    def symbol(self, kind: int) -> RubySymbol:
        if kind == _LINK_TO_SYMBOL:
            index = self.fixnum()
            if not 0 <= index < len(self.symbols) or (known := self.symbols[index]) is None:
                raise ValueError(f"a link to Symbol {index}, which is not there")
            return known
        self.symbols.append(None)
        return self.named(len(self.symbols) - 1, self.string(), "US-ASCII")

    def named(self, index: int, raw: bytes, encoding: str | None) -> RubySymbol:
        name = _text(raw, encoding)
        if not isinstance(name, str):
            raise ValueError(f"a Symbol that is not text: {raw[:40]!r}")  # noqa: TRY004 - data
        symbol = self.symbols[index] = RubySymbol(name)
        return symbol

    def pattern(self, raw: bytes, options: int, encoding: str | None) -> RubyRegexp:
        source = _text(raw, encoding)
        if not isinstance(source, str):
            raise ValueError(f"a Regexp that is not text: {raw[:40]!r}")  # noqa: TRY004 - data
        return RubyRegexp(source, options & _OPTIONS)

    def link(self, depth: int) -> Any:
        index = self.fixnum()
        if not 0 <= index < len(self.entries):
            raise ValueError(f"a link to object {index}, which is not there")
        entry = self.entries[index]
        if entry.value is _UNFINISHED:
            raise ValueError(f"a link to object {index}, which holds it")
        self.meter.spend(entry.values - 1, entry.text, depth + entry.depth)
        return entry.value

    def with_variables(self, depth: int) -> Any:
        """Read a String, Symbol or Regexp whose encoding follows."""
        kind = self.byte()
        if kind == _SYMBOL:
            index = len(self.symbols)
            self.symbols.append(None)
            return self.named(index, self.string(), self.encoding(depth))
        if kind not in (_STRING, _REGEXP):
            self.at -= 1
            what = _REFUSED.get(chr(kind), "a value")
            raise ValueError(f"{what} with instance variables: not plain data,")
        entry = _Entry()
        self.entries.append(entry)
        raw = self.string()
        entry.values, entry.text = 1, len(raw)
        if kind == _REGEXP:
            entry.value = self.pattern(raw, self.byte(), self.encoding(depth))
        else:
            entry.value = _text(raw, self.encoding(depth))
        return entry.value

    def encoding(self, depth: int) -> str | None:
        """Read the instance variables, which may say the encoding and nothing else."""
        encoding: str | None = None
        for _ in range(self.length("variables", 2)):
            name, value = self.value(depth + 1), self.value(depth + 1)
            if name == RubySymbol("E") and isinstance(value, bool):
                encoding = "UTF-8" if value else "US-ASCII"
            elif name == RubySymbol("encoding") and isinstance(value, (str, bytes)):
                encoding = value if isinstance(value, str) else value.decode("latin-1")
            else:
                raise ValueError(f"the instance variable {str(name)[:40]}: not plain data,")
        return encoding


def _text(raw: bytes, encoding: str | None) -> str | bytes:
    """Text where it is text in an encoding that is known, else its bytes."""
    codec = _CODECS.get(encoding or "")
    if codec is None:
        return raw
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return raw
