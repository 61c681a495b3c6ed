"""What a program gives a method is looked at first, where its annotation says plainly what is meant: so
that something else is one line about it, and no TypeError from the depth. Who types the name of an object
that has such methods is told them.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from types import FunctionType
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from mcshell import config
from mcshell.errors import UsageError, on_one_line

__all__ = [
    "Duration",
    "checks_arguments",
    "checks_methods",
    "is_flag",
    "patience_of",
    "seconds_of",
]

Duration: TypeAlias = float | str | timedelta
"""A length of time as a program gives it: seconds, text like "30s", or a timedelta."""

Kinds = dict[str, "Kinds | None"]
"""The names of the types that a value may have; of a list, with those of what is in it."""

_MANY: Final = frozenset({"Iterable", "Sequence", "Collection", "list"})
_WORDS: Final = {
    "str": "text",
    **dict.fromkeys(("Path", "PurePath"), "a path"),
    "int": "a whole number",
    "float": "a number",
    "Callable": "a function",
    "bool": "True or False",
    **dict.fromkeys(("Mapping", "dict"), "a dict"),
    **dict.fromkeys(_MANY, "a list"),
}
_ALIKE: Final[dict[str, tuple[type, ...]]] = {  # numpy's numbers are no int
    **dict.fromkeys(("Path", "PurePath"), (PathLike, str)),
    "int": (Integral,),
    "float": (Real,),
    "Callable": (Callable,),  # type: ignore[dict-item]  # it is one to isinstance
    **dict.fromkeys(("Mapping", "dict"), (Mapping,)),
    **dict.fromkeys(_MANY, (Iterable,)),
}
_CLASSES: Final = frozenset({"None", "bool", "DataFrame", "Replies", "JobReplies", "Targeting"})
_LOOSE: Final = frozenset({"Any", "object"})
_NUMBERS: Final = frozenset({"float", "int"})
"""Beside text they are read with care where they are used."""

_VARARGS: Final = 4  # inspect.CO_VARARGS; a command would wait for that module, and for `ast`
_OR = re.compile(r" \| (?![^\[]*\])")
"""Between two types, and not within the brackets of one."""

T = TypeVar("T")
P = ParamSpec("P")


def checks_methods(kind: type[T]) -> type[T]:
    """Have all public methods of a class check what they are given, and its objects say which they are."""
    methods = {
        name: method
        for name, method in vars(kind).items()
        if isinstance(method, FunctionType) and not name.startswith("_")
    }
    for name, method in methods.items():
        setattr(kind, name, checks_arguments(method))
    if kind.__repr__ is object.__repr__:
        shown = f"<{kind.__name__}: {', '.join(methods)}>"
        setattr(kind, "__repr__", lambda _self: shown)  # noqa: B010 - mypy takes no assignment
    return kind


def checks_arguments(call: Callable[P, T]) -> Callable[P, T]:
    """A function that raises UsageError where an argument is not what its annotation says."""
    inner: Any = call
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    code, said = inner.__code__, inner.__annotations__
    if not said.keys() - {"return"}:
        return call
    names = code.co_varnames[: code.co_argcount]
    unnamed = names[: code.co_posonlyargcount]  # such a name is an input's, where it is given
    place = code.co_argcount + code.co_kwonlyargcount
    rest = code.co_varnames[place] if code.co_flags & _VARARGS else ""

    @wraps(call)
    def checked(*args: P.args, **named: P.kwargs) -> T:
        for name, value in zip(names, args, strict=False):
            _check(name, value, said.get(name))
        for name, value in named.items():
            _check(name, value, said.get(name) if name not in unnamed else None)
        for value in args[len(names) :]:
            _check(rest, value, said.get(rest))
        return call(*args, **named)

    return checked


def _check(name: str, value: Any, annotation: str | None) -> None:
    kinds = None if annotation is None else _kinds(annotation)
    if kinds is not None and not _fits(value, kinds):
        raise UsageError(f"{name} {on_one_line(reprlib.repr(value))}: {_words(kinds)} is meant")


@cache
def _kinds(annotation: str) -> Kinds | None:
    """What an annotation says; None where it is not for us to say what fits."""
    kinds = _read(annotation)
    said = kinds.keys()
    if _LOOSE & said or ("str" in said and _NUMBERS & said):
        return None
    return kinds if "str" in said or said <= _ALIKE.keys() | _CLASSES else None


def _read(annotation: str) -> Kinds:
    kinds: Kinds = {}
    for one in _OR.split(annotation):
        name, _, within = one.removesuffix("]").partition("[")
        name = name.rpartition(".")[2]
        of = _read(within) if within and name in _MANY else {}
        kinds[name] = of if of and not _LOOSE & of.keys() else None
    return kinds


def _fits(value: Any, kinds: Kinds) -> bool:
    if value is None:
        return "None" in kinds
    names = {base.__name__ for base in type(value).__mro__}
    for kind, of in kinds.items():
        # Else it is its letters, or the names of its columns.
        one = kind in _MANY and (isinstance(value, str | bytes) or hasattr(value, "columns"))
        if kind == "bool" and is_flag(value):
            return True
        if kind in names or (not one and isinstance(value, _ALIKE.get(kind, ()))):
            within = value if of and isinstance(value, list | tuple | set) else ()
            return of is None or all(_fits(each, of) for each in _each_type(within))
    return False


def is_flag(value: Any) -> bool:
    """Whether it is true or false, Python's or numpy's, or 1 or 0: text is neither, whatever it says."""
    return "bool" in type(value).__name__ or (isinstance(value, Integral) and value in (0, 1))


def _each_type(values: Iterable[Any]) -> Iterable[Any]:
    """A value of each type that is there: one can have a fleet of names."""
    return {type(one): one for one in values}.values()


def _words(kinds: Kinds) -> str:
    """What is meant, in words."""
    return " or ".join(
        f"a list of {_words(of)}" if of else _WORDS.get(kind, kind)
        for kind, of in kinds.items()
        if kind != "None"
    )


def seconds_of(value: Duration | None) -> float | None:
    """Read a duration: seconds, a timedelta, or text like "30s".

    A number may be numpy's, and a timedelta pandas': they are what a notebook computes with.
    """
    found: Any = value
    if found is None:
        return None
    if isinstance(found, timedelta):
        found = found.total_seconds()
    elif not isinstance(found, int) and isinstance(found, Real):
        found = float(found)
    if not isinstance(found, int | float | str):
        raise UsageError(f"{on_one_line(reprlib.repr(value))} is no duration (such as 10s or 24h)")
    try:
        return config.seconds(found)
    except ValueError as error:
        raise UsageError(str(error)) from None


def patience_of(value: Duration | None) -> float | None:
    """How long to wait, as `seconds_of` reads it; what is left of a time may be less than nothing."""
    return value if isinstance(value, int | float) else seconds_of(value)
