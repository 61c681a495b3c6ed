"""What values of a `.ddl` file can do: Ruby's operators and methods that DDLs use, and no others.

Each gives what Ruby gives. A block comes as the last argument, a function.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, Final

from mcshell.ddl.ruby.syntax import RegexpLiteral, SymbolLiteral
from mcshell.errors import FilterError
from mcshell.patterns import Pattern, compile_pattern
from mcshell.patterns.ruby import filter_from_ruby

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["METHODS", "OPERATORS", "Unusable", "shown"]

_PLAIN_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*[?!=]?")
_BITS: Final = 4096
_LONGEST: Final = 1024 * 1024
_MOST: Final = 10_000
"""What may be made at once: bits of a number, characters of a text, items of an array."""


_FLOAT: Final = 1e15
"""From here on Ruby has other figures."""
_SPACES: Final = "\0\t\n\v\f\r "


class Unusable(Exception):
    """Says why something cannot be done."""


def shown(value: Any) -> str:
    """A value in a string, as Ruby's to_s has it; Unusable for what has no form that is read."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else inspect(value)


def inspect(value: Any) -> str:  # noqa: PLR0911 - one for each kind
    """A value as Ruby shows it; Unusable for what has no form that is read."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and abs(value) < _FLOAT):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(inspect, value))}]"
    if isinstance(value, dict):  # as up to Ruby 3.3
        return f"{{{', '.join(f'{inspect(key)}=>{inspect(one)}' for key, one in value.items())}}}"
    if isinstance(value, SymbolLiteral) and _PLAIN_SYMBOL.fullmatch(value):
        return f":{value}"
    if isinstance(value, str) and not isinstance(value, SymbolLiteral) and value.isprintable():
        return '"' + re.sub(r'["\\]|#(?=[{$@])', r"\\\g<0>", value) + '"'
    raise Unusable(
        "only plain strings, symbols and numbers, and what holds them, can stand in a string"
    )


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unusable("numbers are meant")
    return value


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _BITS:
        raise Unusable("a number that is too long")
    return value


def _same(left: Any, right: Any) -> bool:
    """Whether two are equal: a symbol is no string, true is no number."""
    kinds = [
        next((one for one in (SymbolLiteral, bool, str) if isinstance(value, one)), object)
        for value in (left, right)
    ]
    return kinds[0] is kinds[1] and bool(left == right)


def _in(value: Any, listed: list[Any]) -> bool:
    """Whether a value is one of a `when`'s, or fits it."""
    return any(
        _found(value, one) is not None
        if isinstance(one, RegexpLiteral) and isinstance(value, str)
        else value in one
        if isinstance(one, range)
        else _same(value, one)
        for one in listed
    )


def _add(left: Any, right: Any) -> Any:
    both = (left, right)
    if all(isinstance(one, str) for one in both) or all(isinstance(one, list) for one in both):
        return left + right
    try:
        return _bounded(_number(left) + _number(right))
    except Unusable:
        raise Unusable("strings, arrays or numbers are meant") from None


def _subtract(left: Any, right: Any) -> Any:
    if isinstance(left, list) and isinstance(right, list):
        return [one for one in left if not _in(one, right)]
    return _bounded(_number(left) - _number(right))


def _multiply(left: Any, right: Any) -> Any:
    if isinstance(left, list) and isinstance(right, str):
        return _join(left, right)
    if isinstance(left, (str, list)):
        if _number(right) < 0 or len(left) * right > (_LONGEST if isinstance(left, str) else _MOST):
            raise Unusable("what it makes is too long")
        return left * int(right)
    return _bounded(_number(left) * _number(right))


def _divide(left: Any, right: Any) -> Any:
    whole = isinstance(_number(left), int) and isinstance(_number(right), int)
    return left // right if whole else left / right


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and left.bit_length() * abs(_number(right)) > _BITS:
        raise Unusable("a number that is too long")
    return _number(left) ** right


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Make a comparison of two numbers or two texts."""

    def compared(left: Any, right: Any) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            return test(left, right)
        return test(_number(left), _number(right))

    return compared


def _range(first: Any, last: Any) -> Any:
    if isinstance(first, str) and isinstance(last, str) and len(first) == len(last) == 1:
        return [chr(one) for one in range(ord(first), ord(last) + 1)]
    if not isinstance(first, int) or not isinstance(last, int) or last - first > _MOST:
        raise Unusable("numbers or letters are meant")
    return range(first, last + 1)


def _pattern(made: RegexpLiteral) -> Pattern:
    try:
        return compile_pattern(filter_from_ruby(made.source, made.flags), from_file=True)
    except FilterError as error:
        raise Unusable(str(error)) from error


def _found(text: Any, what: Any) -> bool | None:
    """True where a regex is found in a text, else None: Ruby gives a place or nil."""
    if isinstance(text, RegexpLiteral):
        text, what = what, text
    if not isinstance(what, RegexpLiteral) or not isinstance(text, str):
        raise Unusable("a string and a regex are meant")
    return _pattern(what).found(text) or None


OPERATORS: Final[Mapping[str, Callable[..., Any]]] = {
    "+": _add,
    "-": lambda left, *right: _subtract(left, *right) if right else -_number(left),
    "*": _multiply,
    "/": _divide,
    "%": lambda left, right: _number(left) % _number(right),
    "**": _power,
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    "=~": _found,
    "!~": lambda left, right: _found(left, right) is None,
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "..": _range,
    "...": lambda first, last: _range(first, last - 1),
    "in": _in,
}
"""Of two values each; `-` of one, too."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unusable("a string is meant")
    return value


def _substitute(count: int) -> Callable[[Any, Any, Any], str]:
    """Make `sub` (one) or `gsub` (0: all): of a string or a regex, by a string."""

    def replaced(text: Any, old: Any, new: Any) -> str:
        if not isinstance(old, RegexpLiteral):
            return _text(text).replace(_text(old), _text(new), count or -1)
        if "\\" in _text(new):
            raise Unusable("is read with plain texts in place of what is found")
        made = _pattern(old).replaced(_text(text), new, count)
        if made is None:
            raise Unusable("a regex that cannot be tried here")
        return made

    return replaced


def _at(value: Any, *place: Any) -> Any:
    """`value[0]`, `value[-1]`, `value[1..-1]`, `value[0, 3]`, `hash[:key]`."""
    if isinstance(value, dict):
        return value.get(*place)
    if len(place) == 2:  # noqa: PLR2004 - from where, and how many
        return _slice(value, *place)
    (one,) = place
    if isinstance(one, range):
        first, last = (at + len(value) if at < 0 else at for at in (one.start, one.stop - 1))
        return _slice(value, first, max(0, last - first + 1))
    if isinstance(one, int) and not isinstance(one, bool):
        return value[one] if -len(value) <= one < len(value) else None
    if isinstance(value, str) and isinstance(one, str):
        return one if one in value else None
    raise Unusable("a place or a range is meant")


def _slice(value: Any, first: int, count: int) -> Any:
    first += len(value) if first < 0 else 0
    inside = 0 <= first <= len(value) and count >= 0
    return value[first : first + count] if inside else None


def _join(items: list[Any], between: str = "") -> str:
    return between.join(shown(one) for one in _flat(items))


def _listed(value: Any) -> list[Any]:
    """What a loop goes over."""
    if isinstance(value, dict):
        return [[key, one] for key, one in value.items()]
    if not isinstance(value, (list, range)):
        raise Unusable("an array is meant")
    return list(value)


def _each(items: Any, each: Callable[..., Any]) -> Any:
    for one in _listed(items):
        each(one)
    return items


def _pick(items: Any, each: Callable[..., Any], *, wanted: bool) -> list[Any]:
    return [one for one in _listed(items) if (each(one) not in (None, False)) is wanted]


def _merge(left: dict[Any, Any], *others: dict[Any, Any]) -> dict[Any, Any]:
    made = dict(left)
    for one in others:
        made.update(one)
    return made


def _has(value: Any, what: Any) -> bool:
    if isinstance(value, str):
        return _text(what) in value
    return _in(what, list(value))


def _to_i(value: Any) -> int:
    """Ruby's: the number that a text begins with, else 0."""
    if not isinstance(value, str):
        return int(value or 0)
    text = value.strip()
    sign, digits = (text[:1], text[1:]) if text[:1] in "+-" else ("", text)
    count = next((at for at, one in enumerate(digits) if one not in "0123456789"), len(digits))
    return int(f"{sign}{digits[: min(count, 100)]}") if count else 0


def _split(text: str, by: Any = None) -> list[str]:
    parts = re.split(f"[{_SPACES}]+", text.strip(_SPACES)) if by in (None, " ") else text.split(by)
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _chomped(text: str, end: str | None) -> str:
    ends = ("\r\n", "\n", "\r") if end in (None, "\n") else (end,)
    return text.removesuffix(next((one for one in ends if one and text.endswith(one)), ""))


def _letters(text: Any) -> str:
    if re.search(r"\\|^\^.|.-.", _text(text), re.DOTALL):
        raise Unusable("is read with letters alone, no ranges")
    return str(text)


def _flat(items: list[Any]) -> list[Any]:
    return [one for item in items for one in (_flat(item) if isinstance(item, list) else [item])]


def _unique(items: list[Any]) -> list[Any]:
    made: list[Any] = []
    for one in items:
        if not any(type(one) is type(other) and one == other for other in made):
            made.append(one)
    return made


METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "to_s": shown,
    "inspect": inspect,
    "to_sym": lambda value: SymbolLiteral(_text(value)),
    "intern": lambda value: SymbolLiteral(_text(value)),
    "to_i": _to_i,
    "to_a": _listed,
    "capitalize": lambda value: shown(value).capitalize(),
    "upcase": lambda value: shown(value).upper(),
    "downcase": lambda value: shown(value).lower(),
    "swapcase": lambda value: shown(value).swapcase(),
    "strip": lambda value: shown(value).strip(_SPACES),
    "lstrip": lambda value: shown(value).lstrip(_SPACES),
    "rstrip": lambda value: shown(value).rstrip(_SPACES),
    "chomp": lambda value, end=None: _chomped(_text(value), end),
    "chop": lambda value: _text(value)[: -2 if value.endswith("\r\n") else -1],
    "tr": lambda value, old, new: _text(value).translate(
        str.maketrans(_letters(old), _letters(new))
    ),
    "sub": _substitute(1),
    "gsub": _substitute(0),
    "split": _split,
    "start_with?": lambda value, *some: _text(value).startswith(some),
    "end_with?": lambda value, *some: _text(value).endswith(some),
    "match": _found,
    "match?": lambda value, what: _found(value, what) is not None,
    "freeze": lambda value: value,
    "dup": lambda value: value,
    "nil?": lambda value: value is None,
    "empty?": lambda value: len(value) == 0,
    "length": len,
    "size": len,
    "count": len,
    "include?": _has,
    "reverse": lambda value: value[::-1],
    "[]": _at,
    "first": lambda items: _listed(items)[0] if items else None,
    "last": lambda items: _listed(items)[-1] if items else None,
    "join": _join,
    "sort": lambda items: sorted(_listed(items)),
    "uniq": _unique,
    "flatten": _flat,
    "compact": lambda items: [one for one in items if one is not None],
    "each": _each,
    "each_pair": _each,
    "each_with_index": lambda items, each: (
        [each(one, place) for place, one in enumerate(_listed(items))] and items
    ),
    "each_key": lambda items, each: _each(list(items), each),
    "each_value": lambda items, each: _each(list(items.values()), each),
    "times": lambda count, each: _each(range(min(count, _MOST)), each),
    "map": lambda items, each: [each(one) for one in _listed(items)],
    "collect": lambda items, each: [each(one) for one in _listed(items)],
    "select": lambda items, each: _pick(items, each, wanted=True),
    "reject": lambda items, each: _pick(items, each, wanted=False),
    "keys": lambda value: list(value.keys()),
    "values": lambda value: list(value.values()),
    "key?": lambda value, key: key in value.keys(),  # noqa: SIM118 - of a Hash alone
    "has_key?": lambda value, key: key in value.keys(),  # noqa: SIM118 - of a Hash alone
    "fetch": lambda value, key, *other: value[key] if key in value or not other else other[0],
    "merge": _merge,
}
"""By name; each takes its receiver, the arguments and the block."""
