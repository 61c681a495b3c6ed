"""The types of a DDL: from any value to the type, and from and to the text of a command line.

Values are coerced only where nothing is lost (8 is a float, 3.0 an integer, a tuple an array, a
numpy number the number it holds, numpy's and pandas' columns the list that they are). Text is only
ever converted by `from_text`.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DTYPES", "MAX_DEPTH", "TYPES", "Given", "coerce", "from_text", "to_text"]

MAX_DEPTH = 32
"""Levels of an array or a hash."""

TYPES: Final = frozenset(
    {"string", "integer", "number", "float", "boolean", "list", "array", "hash", "any"}
)
DTYPES: Final[Mapping[str, str]] = {
    "string": "string",
    "integer": "Int64",
    "number": "Float64",
    "float": "Float64",
    "boolean": "boolean",
}
"""A table's dtype for a type; all others are `object`."""

_EXACT = 2**53
_PLAIN = frozenset({str, bool, int, float, list, dict, tuple, bytes, type(None)})
_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "an array"}
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,100}")
_FLOAT = re.compile(r"[+-]?([0-9]{1,100}(\.[0-9]{0,100})?|\.[0-9]{1,100})([eE][+-]?[0-9]{1,3})?")


class NotOfType(ValueError):
    """A value is not of a type; the message is what it must be."""


class Given(str):
    """Text that stands for a `value`: of a quoted text its own, of `{name}` in a cell that of the name.

    An `any` takes the value and never guesses at the text.
    """

    __slots__ = ("value",)
    value: Any

    def __new__(cls, text: str, value: Any) -> Self:
        """Make one."""
        one = super().__new__(cls, text)
        one.value = value
        return one


def coerce(kind: str, value: Any) -> Any:
    """Return the value as the type; NotOfType when it is not one without loss."""
    return _COERCE[kind](_plain(value))


def from_text(kind: str, text: str) -> Any:
    """Read a value from a command line; NotOfType when the text is none."""
    if isinstance(text, Given):
        try:
            return coerce(kind, text.value)
        except NotOfType:
            if isinstance(text.value, list | tuple | dict):
                raise
            text = str(text)
    reader = _READ.get(kind)
    return text if reader is None else reader(text)


def to_text(kind: str, value: Any) -> str:
    """Write a value so that `from_text` reads it back."""
    if kind in ("string", "list") and isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A numpy or pandas scalar's own Python value; others as they are."""
    if type(value) in _PLAIN:
        return value
    for base in (int, float, str):
        if isinstance(value, base):
            return base(value)
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return value.item()
    if hasattr(value, "dtype") and callable(getattr(value, "tolist", None)):
        return value.tolist()
    return value


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise NotOfType(f"must be text, not {_kind_of(value)}")


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise NotOfType(f"must be a whole number, not {_kind_of(value)}")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NotOfType(f"must be a number, not {_kind_of(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise NotOfType("must be a finite number")
    return value


def _float(value: Any) -> float:
    number = _number(value)
    if isinstance(number, int) and abs(number) > _EXACT:
        raise NotOfType("must be a number that a float holds exactly")
    return float(number)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise NotOfType(f"must be true or false, not {_kind_of(value)}")


def _array(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise NotOfType(f"must be an array, not {_kind_of(value)}")
    return list(_json(value, 0))


def _hash(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotOfType(f"must be a hash, not {_kind_of(value)}")
    return dict(_json(value, 0))


def _any(value: Any) -> Any:
    return _json(value, 0)


def _json(value: Any, level: int) -> Any:
    """The value as JSON (and bytes) can carry it; NotOfType when it cannot."""
    if level > MAX_DEPTH:
        raise NotOfType(f"must not be nested deeper than {MAX_DEPTH} levels")
    value = _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise NotOfType("must hold finite numbers only")
    if value is None or isinstance(value, (str, bool, int, float, bytes)):
        return value
    if isinstance(value, (list, tuple)):
        return [_json(one, level + 1) for one in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise NotOfType("must have text as keys")
        return {str(key): _json(one, level + 1) for key, one in value.items()}
    raise NotOfType(f"must be plain data, not {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _read_integer(text: str) -> int:
    if _INTEGER.fullmatch(text.strip()):
        return int(text)
    raise NotOfType("must be a whole number")


def _read_float(text: str) -> float:
    if _FLOAT.fullmatch(text.strip()):
        return float(text)
    raise NotOfType("must be a number")


def _read_number(text: str) -> float:
    return int(text) if _INTEGER.fullmatch(text.strip()) else _read_float(text)


def _read_boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise NotOfType("must be true or false")


def _read_json(text: str, example: str = "") -> Any:
    def refuse(constant: str) -> Any:
        raise NotOfType(f"must hold finite numbers only, not {constant}")

    try:
        return json.loads(text, parse_constant=refuse)
    except NotOfType:
        raise
    except RecursionError:
        raise NotOfType(f"must not be nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise NotOfType(f"must be JSON, {example} ({error})") from error


def _read_any(text: str) -> Any:
    """JSON, else the text; a number that would be written otherwise stays text: 1.10, 1E5."""
    try:
        value = _read_json(text)
    except NotOfType:
        return text
    if isinstance(value, int | float) and json.dumps(value) != text.strip():
        return text
    return value


_COERCE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "float": _float,
    "boolean": _boolean,
    "list": _any,
    "array": _array,
    "hash": _hash,
    "any": _any,
}
_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "integer": _read_integer,
    "number": _read_number,
    "float": _read_float,
    "boolean": _read_boolean,
    "array": lambda text: _read_json(text, 'such as ["a", "b"]'),
    "hash": lambda text: _read_json(text, 'such as {"a": 1}'),
    "any": _read_any,
}
