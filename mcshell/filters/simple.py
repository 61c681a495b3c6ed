"""The simple filters: one fact, class, agent or identity each. They load no parser."""

from __future__ import annotations

import re

from mcshell.errors import FilterError
from mcshell.filters.facts import reader
from mcshell.filters.nodes import expand
from mcshell.filters.tree import FactTest
from mcshell.filters.values import Regex, SpelledText, Value, pair, read_operator, read_value
from mcshell.patterns import Pattern, compile_pattern

__all__ = ["parse_fact", "parse_identity", "parse_name", "unquoted"]

_FACT = re.compile(
    r"""\s*(?P<name>[^\s=!<>~'"]+|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
        \s*(?P<operator>[=!<>~]+)
        \s*(?P<value>.*?)\s*""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\'\"])")


def parse_fact(text: str) -> FactTest:
    """Parse `-F`'s `os.family=Debian`; FilterError says what was meant."""
    match = _FACT.fullmatch(text)
    if match is None:
        name = text.strip() or "NAME"
        raise FilterError(f"fact filter {text!r} has no operator: write {name}=VALUE", text, 1)
    column = match.start("operator") + 1
    operator = read_operator(match["operator"], text, column)
    written = match["value"]
    if not written:
        raise FilterError(
            f"fact filter {text!r} has no value after column {match.end('operator')}",
            text,
            match.end("operator"),
        )
    path = unquoted(match["name"])
    reader(path)
    quoted = _QUOTED.fullmatch(written)
    value = SpelledText.of(unquoted(written), quoted=True) if quoted else read_value(written)
    return FactTest(path, *pair(operator, value, text, column))


def parse_name(text: str, kind: str) -> Value:
    """Parse a class or an agent: a name or a /regex/; `kind` is for the error."""
    name = text.strip()
    if not name:
        raise FilterError(f"an empty {kind} filter", text, 1)
    value = read_value(name)
    return SpelledText(value.text) if isinstance(value, SpelledText) else value


def parse_identity(text: str) -> tuple[str, ...] | Pattern:
    """Parse an identity entry: the names that it stands for, or a pattern.

    A set such as `web[01-40]` is expanded (by ClusterShell, which only then is loaded).
    """
    value = parse_name(text, "identity")
    if isinstance(value, Regex):
        return compile_pattern(value.pattern, re.IGNORECASE)
    if star := re.search(r"[*?]", value.text):
        pattern = re.sub(r"\\\*|\\\?", ".*", re.escape(value.text))
        raise FilterError(
            f"identity {value.text!r} is no name: for a pattern write /^{pattern}$/",
            text,
            star.start() + 1,
        )
    if names := expand([value.text]):
        return tuple(names)
    raise FilterError(f"identity {text!r} names nobody", text, 1)


def unquoted(text: str) -> str:
    """A fact's name or a value without the quotes that may be around it."""
    return _ESCAPE.sub(r"\1", text[1:-1]) if _QUOTED.fullmatch(text) else text
