"""`dataclass` as the standard library has it, at a quarter of its price: a command makes eighty first.

The library compiles up to six methods for each class, some 0.7 ms of processor; here `__init__` alone
is compiled, and all classes share the others. Fields, slots, `replace`, `asdict` are the library's.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass

__all__ = ["dataclass"]

if not TYPE_CHECKING:  # to a type checker it is the library's

    def dataclass(
        cls: type | None = None,
        /,
        *,
        frozen: bool = False,
        eq: bool = True,
        slots: bool = False,
        kw_only: bool = False,
    ) -> type | Callable[[type], type]:
        """Make a class whose fields are its annotations; what is said means what the library means."""

        def make(cls: type) -> type:
            cls.__doc__ = cls.__doc__ or cls.__name__  # the library loads `inspect` to write one
            made = dataclasses.dataclass(
                cls, init=False, repr=False, eq=False, slots=slots, kw_only=kw_only
            )
            methods = {"__init__": _initialiser(made, frozen=frozen), "__repr__": _shown}
            if eq:
                methods |= _comparison(made, frozen=frozen)
            if frozen:
                methods |= _FROZEN
            for name, method in methods.items():
                if name not in cls.__dict__:
                    setattr(made, name, method)
            return made

        return make if cls is None else make(cls)


def _initialiser(made: type, *, frozen: bool) -> Callable[..., None]:
    """`__init__`: the one method that is called often enough to be compiled for its class."""
    places, named, lines = ["self"], ["*"], ["pass"]
    known: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": dataclasses.MISSING}
    for field in dataclasses.fields(made):
        name = value = field.name
        parameter = name
        if field.default_factory is not dataclasses.MISSING:
            known[f"_make_{name}"] = field.default_factory
            parameter, value = f"{name}=_MISSING", f"_make_{name}()"
            if field.init:
                value = f"{value} if {name} is _MISSING else {name}"
        elif field.default is not dataclasses.MISSING:
            known[f"_default_{name}"] = field.default
            parameter = f"{name}=_default_{name}"
            if not field.init:
                value = f"_default_{name}"
        if field.init:
            (named if field.kw_only else places).append(parameter)
        if field.init or value != name:
            lines.append(
                _assignment(made, name, value, known) if frozen else f"self.{name} = {value}"
            )
    if hasattr(made, "__post_init__"):
        lines.append("self.__post_init__()")
    parameters = ", ".join([*places, *(named if len(named) > 1 else [])])
    exec(f"def __init__({parameters}):\n " + "\n ".join(lines), known)  # noqa: S102 - names of fields
    method: Callable[..., None] = known["__init__"]
    method.__qualname__ = f"{made.__qualname__}.__init__"
    return method


def _assignment(made: type, name: str, value: str, known: dict[str, Any]) -> str:
    """How a field of what does not change gets its value: through its slot, which takes half the time."""
    slot = getattr(made, name, None)
    if not isinstance(slot, MemberDescriptorType):
        return f"_set(self, {name!r}, {value})"
    known[f"_set_{name}"] = slot.__set__
    return f"_set_{name}(self, {value})"


def _comparison(made: type, *, frozen: bool) -> dict[str, Any]:
    """`__eq__` and `__hash__` by the values of the fields, in their order."""
    compared = [field.name for field in dataclasses.fields(made) if field.compare]
    values = attrgetter(*compared) if compared else type

    def equal(self: object, other: object) -> bool:
        return (
            values(self) == values(other) if self.__class__ is other.__class__ else NotImplemented
        )

    def hashed(self: object) -> int:
        return hash(values(self))

    return {"__eq__": equal, "__hash__": hashed if frozen else None}


def _shown(self: Any) -> str:
    shown = (
        f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr
    )
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse_change(self: object, name: str, *_value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"{type(self).__name__}.{name} does not change")


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


_FROZEN = {
    "__setattr__": _refuse_change,
    "__delattr__": _refuse_change,
    "__getstate__": _state,
    "__setstate__": _restore,
}
