"""Ruby's YAML for plain data, as MCollective's ssl and aes_security may use it.

Read as Psych's safe_load reads with Symbols and Regexps allowed, from the parser's events: nothing
is constructed, any other tag is an error, an alias counts each time that it stands for its value
(and a body for no more than its `Bounds`). Written so that Psych reads the same: every text is
quoted, nothing is aliased.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

import yaml

from mcshell.errors import YAMLError
from mcshell.wire.mcollective.scalars import regexp_parts, scan
from mcshell.wire.mcollective.values import (
    MAX_INTEGER,
    Bounds,
    Meter,
    RubyRegexp,
    RubySymbol,
    check_keys,
)

__all__ = ["dump", "load"]

_DEFAULT: Final = Bounds()
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = {"!float", *(_CORE + kind for kind in ("int", "float", "bool", "null"))}
_TEXT_TAGS: Final = {"!str", "!ruby/string", f"{_CORE}str"}
_BINARY_TAGS: Final = {"!binary", f"{_CORE}binary"}
_SYMBOL_TAGS: Final = {"!ruby/symbol", "!ruby/sym"}
_PLAIN_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\U00010000-\U0010ffff]')
_LONG_KEY = 200
# Ruby writes none, and libyaml takes quadratic time for many.
_DIRECTIVE = re.compile("(?:^|[\r\n\x85\u2028\u2029])\ufeff?%")
_LETTERS: Final = ((1, "i"), (2, "x"), (4, "m"))


def load(body: bytes | str, bounds: Bounds = _DEFAULT) -> Any:
    """Read one document (`mcshell.wire.mcollective.values` says as what); YAMLError otherwise."""
    if len(body) > bounds.max_body:
        raise YAMLError(f"{len(body)} bytes: more than {bounds.max_body}")
    try:
        text = body if isinstance(body, str) else body.decode()
    except UnicodeDecodeError as error:
        raise YAMLError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    if _DIRECTIVE.search(text):
        raise YAMLError("a directive (%TAG, %YAML): not read")
    reader = _YAMLReader(text, bounds)
    try:
        return reader.document()
    except ValueError as error:
        mark = reader.mark
        raise YAMLError(str(error), mark.line + 1, mark.column + 1) from error
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark
        where = (at.line + 1, at.column + 1) if at else ()
        raise YAMLError(f"not YAML: {error.problem or error.context}", *where) from error
    except yaml.YAMLError as error:
        raise YAMLError(f"not YAML: {str(error).splitlines()[0]}") from error


def dump(value: Any, bounds: Bounds = _DEFAULT) -> bytes:
    """Write one document; YAMLError when Ruby could not read it as the same."""
    writer = _YAMLWriter(bounds)
    writer.node(value, 0, "---")
    try:
        body = ("\n".join(writer.lines) + "\n").encode()
    except UnicodeEncodeError as error:
        raise YAMLError(f"text that is not Unicode: {error.object[error.start]!r}") from error
    if len(body) > bounds.max_body:
        raise YAMLError(f"{len(body)} bytes: more than {bounds.max_body}")
    return body


class _YAMLReader:
    """Composes values from events."""

    def __init__(self, text: str, bounds: Bounds) -> None:
        self.events = yaml.parse(text, Loader=_LOADER)
        self.meter = Meter(bounds)
        self.mark: Any = yaml.Mark("", 0, 0, 0, "", 0)
        self.anchors: dict[str, tuple[Any, int, int, int] | None] = {}

    def next(self) -> Any:
        event = next(self.events)
        self.mark = event.start_mark
        return event

    def document(self) -> Any:
        self.next()
        if not isinstance(self.next(), yaml.DocumentStartEvent):
            raise ValueError("no document")  # noqa: TRY004 - it is data that is wrong
        value = self.node(self.next(), 0)
        self.next()
        if not isinstance(self.next(), yaml.StreamEndEvent):
            raise ValueError("more than one document")  # noqa: TRY004 - it is data that is wrong
        return value

    def node(self, event: Any, depth: int) -> Any:
        meter = self.meter
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), depth)
        meter.enter(depth)
        if event.anchor is None:
            return self.content(event, depth)
        values, text, peak = meter.values, meter.text, meter.peak
        meter.peak = depth
        self.anchors[event.anchor] = None
        value = self.content(event, depth)
        cost = (meter.values - values, meter.text - text, meter.peak - depth)
        self.anchors[event.anchor] = (value, *cost)
        meter.peak = max(peak, meter.peak)
        return value

    def alias(self, anchor: str, depth: int) -> Any:
        known = self.anchors.get(anchor)
        if known is None:
            raise ValueError(f"the alias *{anchor[:40]}, which stands for nothing before it")
        value, values, text, levels = known
        self.meter.spend(values + 1, text, depth + levels)
        return value

    def content(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            self.meter.text += len(event.value)
            return self.scalar(event)
        if event.tag not in (None, "!", f"{_CORE}seq", f"{_CORE}map"):
            raise ValueError(f"the tag {event.tag[:60]}: not plain data,")
        if isinstance(event, yaml.SequenceStartEvent):
            array = []
            while not isinstance(one := self.next(), yaml.SequenceEndEvent):
                array.append(self.node(one, depth + 1))
            return array
        result: dict[Any, Any] = {}
        while not isinstance(one := self.next(), yaml.MappingEndEvent):
            key = self.node(one, depth + 1)
            if key == "<<" and getattr(one, "tag", None) != f"{_CORE}str":
                raise ValueError("a merge key (<<): not plain data,")
            self.meter.put(result, key, self.node(self.next(), depth + 1))
        return result

    def scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if event.implicit[0]:
            return scan(text)
        if event.implicit[1] or tag in _TEXT_TAGS:
            return text
        if tag in _SYMBOL_TAGS:
            return RubySymbol(text)
        if tag in _BINARY_TAGS:
            return _unbase64(text)
        if tag == "!ruby/regexp":
            return RubyRegexp(*regexp_parts(text))
        if tag not in _PLAIN_TAGS:
            raise ValueError(f"the tag {tag[:60]}: not plain data,")
        value = scan(text)
        return _as_float(value) if tag in ("!float", f"{_CORE}float") else value


def _as_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"a Float written as {str(value)[:40]!r}")  # noqa: TRY004 - data
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("a Float that is too large") from error


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"binary data that is not base64: {error}") from error


class _YAMLWriter:
    """Writes block style, one line for each scalar."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.lines: list[str] = []

    def node(self, value: Any, depth: int, lead: str) -> None:
        """Write a value after `lead`: on the same line, or below it and deeper."""
        if depth > self.bounds.max_depth:
            raise YAMLError(f"nested deeper than {self.bounds.max_depth} levels")
        indent = "  " * depth
        if isinstance(value, (list, tuple)) and value:
            self.lines.append(lead)
            for one in value:
                self.node(one, depth + 1, f"{indent}-")
        elif isinstance(value, dict) and value:
            self.lines.append(lead)
            try:
                check_keys(value)
            except ValueError as error:
                raise YAMLError(str(error)) from None
            for key, one in value.items():
                self.pair(key, one, depth)
        else:
            self.lines.append(f"{lead} {_scalar(value)}")

    def pair(self, key: Any, value: Any, depth: int) -> None:
        written = f'!!str "{key}"' if key == "<<" else _flow(key, 0)
        lead = f"{'  ' * depth}{written}"
        if isinstance(key, tuple) or len(written) > _LONG_KEY:
            self.lines.append(f"{'  ' * depth}? {written}")
            lead = "  " * depth
        self.node(value, depth + 1, f"{lead}:")


def _flow(value: Any, depth: int) -> str:
    """Write a key, which may be an Array, on one line."""
    if not isinstance(value, tuple):
        return _scalar(value, inside=depth > 0)
    if depth > Bounds().max_depth:
        raise YAMLError("a key that is nested too deep")
    return f"[{', '.join(_flow(one, depth + 1) for one in value)}]"


def _scalar(value: Any, *, inside: bool = False) -> str:  # noqa: PLR0911 - one for each type
    """Write what takes one line; inside brackets libyaml takes a leading colon for its own."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, RubySymbol):
        if _PLAIN_SYMBOL.fullmatch(value.name) and not inside:
            return f":{value.name}"
        return f"!ruby/symbol {_quoted(value.name)}"
    if isinstance(value, bytes):
        return f'!binary "{base64.b64encode(value).decode()}"'
    if isinstance(value, RubyRegexp):
        letters = "".join(letter for option, letter in _LETTERS if value.options & option)
        return f"!ruby/regexp {_quoted(f'/{value.source}/{letters}')}"
    if isinstance(value, (bool, int, float)) or value is None:
        return _number(value)
    if isinstance(value, (list, tuple, dict)):
        return "{}" if isinstance(value, dict) else "[]"
    raise YAMLError(f"a {type(value).__name__} is no plain data: Ruby cannot read it")


def _number(value: float | None) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER:
            raise YAMLError(f"an integer of more than {MAX_INTEGER} bits")
        return str(int(value))
    text = repr(float(value))
    if text in ("inf", "-inf", "nan"):
        return text.replace("inf", ".inf").replace("nan", ".nan")
    # Psych takes a number without a point, such as 1e+20, for text.
    mantissa, sign, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{sign}{exponent}"


def _quoted(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char in '"\\':
        return f"\\{char}"
    if char == "\n":
        return "\\n"
    return f"\\U{ord(char):08x}"
