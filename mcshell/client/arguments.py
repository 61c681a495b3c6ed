"""What a program gives a method where its annotation says text, or a whole number: looked at first, so
that something else is one line about it, and no TypeError from the depth.
"""

from __future__ import annotations

import reprlib
from functools import wraps
from numbers import Integral
from os import PathLike
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcshell.errors import UsageError, on_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["checks_arguments", "checks_methods"]

_WORDS: Final = {"str": "text", "Path": "a path", "int": "a whole number"}
_UNLIKE: Final = {"Any", "bool", "float", "int", "object"}  # are read with care where they are used

_VARARGS: Final = 4  # inspect.CO_VARARGS, and a command would wait for that module

_ALIKE: Final = {"Path": PathLike, "int": Integral}  # numpy's numbers are no int

T = TypeVar("T")


def checks_methods(kind: type[T]) -> type[T]:
    """Have all public methods of a class check what they are given."""
    for name, method in list(vars(kind).items()):
        if isinstance(method, FunctionType) and not name.startswith("_"):
            setattr(kind, name, checks_arguments(method))
    return kind


def checks_arguments(call: Callable[..., T]) -> Callable[..., T]:
    """A function that raises UsageError where an argument is not what its annotation says."""
    inner: Any = call
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    code, kinds = inner.__code__, dict(_plain(inner.__annotations__))
    if not kinds:
        return call
    names = code.co_varnames[: code.co_argcount]
    unnamed = names[: code.co_posonlyargcount]  # such a name is an input's, where it is given
    place = code.co_argcount + code.co_kwonlyargcount
    rest = code.co_varnames[place] if code.co_flags & _VARARGS else ""

    @wraps(call)
    def checked(*args: Any, **named: Any) -> T:
        for name, value in zip(names, args, strict=False):
            _check(name, value, kinds.get(name))
        for name, value in named.items():
            _check(name, value, kinds.get(name) if name not in unnamed else None)
        for value in args[len(names) :]:
            _check(rest, value, kinds.get(rest))
        return call(*args, **named)

    return checked


def _plain(annotations: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The arguments that may be text or a whole number, and the names of the types that they may have."""
    split = [(name, text.split(" | ")) for name, text in annotations.items() if name != "return"]
    return [(name, kinds) for name, kinds in split if kinds == ["int"] or _text(kinds)]


def _text(kinds: list[str]) -> bool:
    named = all(map(str.isidentifier, kinds))
    return named and "str" in kinds and not _UNLIKE.intersection(kinds)


def _check(name: str, value: Any, kinds: list[str] | None) -> None:
    if kinds is None or (value is None and "None" in kinds):
        return
    if any(base.__name__ in kinds for base in type(value).__mro__):
        return
    if any(isinstance(value, kind) for name, kind in _ALIKE.items() if name in kinds):
        return
    meant = " or ".join(_WORDS.get(kind, kind) for kind in kinds if kind != "None")
    raise UsageError(f"{name} {on_one_line(reprlib.repr(value))}: {meant} is meant")
