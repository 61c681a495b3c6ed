"""The right-hand side of a comparison, and what comparing it with a fact means.

`comparison` gives a plain closure from fact to bool: a filter is compiled once and asked often.
"""

from __future__ import annotations

import operator as op
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.errors import FilterError, did_you_mean
from mcshell.filters.versions import are_versions, compare_versions, uses_rpm
from mcshell.patterns import charge, check_pattern, compile_pattern
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MEANINGS",
    "OPERATORS",
    "Comparison",
    "Regex",
    "SpelledText",
    "Value",
    "comparison",
    "pair",
    "read_operator",
    "read_value",
    "text_of",
]

OPERATORS: Final[Mapping[str, str]] = {
    "=": "==",
    "==": "==",
    "=~": "=~",
    "!=": "!=",
    "!=~": "!=~",
    "<=": "<=",
    "=<": "<=",
    ">=": ">=",
    "=>": ">=",
    "<": "<",
    ">": ">",
}
"""What may be written → what it means."""

MEANINGS: Final[Mapping[str, str]] = {
    "==": "is the same text; a number is compared as a number, a boolean as a boolean",
    "=~": "the pattern (RE2) is found in it; so it is where `=` has a value in slashes, `/^web/`",
    "!=": "is something else; what is not there at all does not match",
    "!=~": "the pattern is not found in it",
    "<": "is less: numbers as numbers, versions as versions, else text",
    "<=": "is less or the same",
    ">": "is more",
    ">=": "is more or the same",
}
"""What each of them is true of."""

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": op.eq,
    "!=": op.ne,
    "<": op.lt,
    "<=": op.le,
    ">": op.gt,
    ">=": op.ge,
}
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_SPOKEN_OF: Final = re.compile(r"version|release", re.IGNORECASE)
_EQUALITY = frozenset({"==", "!="})
# Bounded, for int() of thousands of digits is slow, then an error.
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
_BOOLEANS = frozenset({"true", "false"})
_BITS: Final[Mapping[str, str]] = {"1": "true", "0": "false"}
_SLASHED = re.compile(r"/(?:.+)/", re.DOTALL)
_PAIR = re.compile(r"\\.|/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SpelledText:
    """A value that is compared; `literal` when quotes say that it is no number or boolean."""

    text: str
    literal: bool = False

    @classmethod
    def of(cls, text: str, *, quoted: bool = False) -> SpelledText:
        """Make one; quotes only matter around what looks like a number or a boolean."""
        typed = _NUMBER.fullmatch(text) is not None or text.lower() in _BOOLEANS
        return cls(text, quoted and typed)


@dataclass(frozen=True, slots=True)
class Regex:
    r"""A value that is searched for; a slash in `pattern` needs no backslash."""

    pattern: str

    @classmethod
    def of(cls, written: str) -> Regex:
        r"""Read what stood between the slashes: `\/` is a slash. Raises FilterError."""
        pattern = _PAIR.sub(lambda pair: "/" if pair[0] == r"\/" else pair[0], written)
        check_pattern(pattern)
        return cls(pattern)

    def __str__(self) -> str:
        body = _PAIR.sub(lambda pair: r"\/" if pair[0] == "/" else pair[0], self.pattern)
        return f"/{body}/"


Value = SpelledText | Regex


class Comparison(Protocol):
    """A test of a fact's value; the node's facts say what else there is to know of it."""

    def __call__(self, fact: Any, facts: Mapping[str, Any] = ..., /) -> bool:
        """Whether it holds."""


class _Order(Protocol):
    def __call__(self, fact: Any, facts: Mapping[str, Any], /) -> int | None: ...


def read_operator(written: str, text: str = "", column: int | None = None) -> str:
    """Turn an operator as written into what it means; FilterError with what was meant."""
    if written not in OPERATORS:
        known = (
            ""
            if (near := did_you_mean(written, OPERATORS))
            else f": it is one of {' '.join(OPERATORS)}"
        )
        where = "" if column is None else f" at column {column}"
        raise FilterError(f"unknown operator {written[:40]!r}{where}{near}{known}", text, column)
    return OPERATORS[written]


def read_value(written: str) -> Value:
    """Read an unquoted value: a regex when it stands in slashes, else text."""
    if _SLASHED.fullmatch(written):
        return Regex.of(written[1:-1])
    return SpelledText.of(written)


def pair(
    operator: str, value: Value, text: str = "", column: int | None = None
) -> tuple[str, Value]:
    """Bring operator and value together: `=` a regex is `=~`, `=~` a word makes it a regex."""
    if isinstance(value, SpelledText):
        return (operator, Regex.of(value.text)) if operator in ("=~", "!=~") else (operator, value)
    matching = {"==": "=~", "=~": "=~", "!=": "!=~", "!=~": "!=~"}
    if operator not in matching:
        raise FilterError(
            f"{operator} does not go with a regex, {str(value)[:40]!r}: use =~ or !=~, or quote the value",
            text,
            column,
        )
    return matching[operator], value


def comparison(operator: str, value: Value, name: str = "", *, versions: bool = True) -> Comparison:
    """Compile `FACT operator value` to a test of a fact's value, of whatever type it is.

    The test is given the node's facts too: they say whose order its versions have. `name` is the
    fact's: where it speaks of a version or release, 6.18 comes behind 6.9. Without `versions` what is
    no number has the order of text, as on MCollective's wire.
    """
    ordered = versions and operator not in _EQUALITY
    scalar = (
        _searching(operator, value)
        if isinstance(value, Regex)
        else _comparing(operator, value, _order(value.text, name) if ordered else None)
    )

    def test(fact: Any, facts: Mapping[str, Any] = _NOTHING) -> bool:
        if isinstance(fact, (str, int, float)):
            return scalar(fact, facts)
        if fact is None:
            return False
        if isinstance(fact, Mapping):
            charge(len(fact), name)
            return _hash(fact, lambda one: scalar(one, facts), negative=operator.startswith("!"))
        if isinstance(fact, (list, tuple, set, frozenset)):
            charge(len(fact), name)
            return any(test(element, facts) for element in fact)
        return scalar(str(fact), facts)

    return test


def _order(text: str, name: str) -> _Order:
    """How a fact stands to a version: below 0, 0 or above; None when they have no order as such."""
    spoken_of = _SPOKEN_OF.search(name) is not None

    def order(fact: Any, facts: Mapping[str, Any]) -> int | None:
        other = text_of(fact)
        if not are_versions(other, text):
            return None
        if _NUMBER.fullmatch(other) and _NUMBER.fullmatch(text):
            both = "." in other and "." in text
            if not (spoken_of and both and isinstance(fact, str)):
                return None
        return compare_versions(other, text, rpm=uses_rpm(facts))

    return order


def _hash(fact: Mapping[str, Any], scalar: Callable[[Any], bool], *, negative: bool) -> bool:
    """Test a hash: it matches when its `name` does (`os=Debian`), or when any key does."""
    name = fact.get("name")
    if isinstance(name, str):
        return scalar(name) or (not negative and any(scalar(key) for key in fact))
    return any(scalar(key) for key in fact)


def _searching(operator: str, value: Regex) -> Comparison:
    verdict, wanted = compile_pattern(value.pattern).verdict, operator == "=~"
    return lambda fact, facts=_NOTHING: verdict(text_of(fact)) is wanted  # noqa: ARG005 - as the others


def _comparing(operator: str, value: SpelledText, order: _Order | None) -> Comparison:
    compare = _COMPARE[operator]
    equality = operator in _EQUALITY
    text = value.text
    number = None if value.literal else _number(text)
    truth = text if value.literal else _BITS.get(text, text.lower())

    def test(fact: Any, facts: Mapping[str, Any] = _NOTHING) -> bool:
        if isinstance(fact, bool):
            return equality and compare(text_of(fact), truth)
        if order is not None and not value.literal:
            found = order(fact, facts)
            if found is not None:
                return compare(found, 0)
        if isinstance(fact, (int, float)):
            if number is not None:
                return compare(fact, number)
            return (equality or value.literal) and compare(text_of(fact), text)
        if number is not None and (other := _number(fact)) is not None:
            return compare(other, number)
        return compare(fact, text)

    return test


def _number(text: Any) -> float | None:
    if not isinstance(text, str) or (match := _NUMBER.fullmatch(text)) is None:
        return None
    return float(text) if match[1] else int(text)


def text_of(fact: Any) -> str:
    """What a regex is searched in, of a fact that is one value."""
    if isinstance(fact, bool):
        return "true" if fact else "false"
    return str(fact)
