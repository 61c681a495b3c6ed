"""Reading one fact out of a nested document by a dotted path.

`os.release.major` walks hashes by key and lists by index (from 0). A key may itself hold dots
(`net.ipv4.ip_forward`): at each level the longest key that is there is tried first, so a flat
fact `os.family` hides the nested one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import FilterError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_DEPTH", "MISSING", "lookup", "reader"]

MAX_DEPTH = 32
"""Steps of a path: a bound for what an operator may ask a node to walk."""


class _Missing:
    """The type of MISSING: unlike None, it is not a fact's value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()


def lookup(facts: Mapping[str, Any], path: str, default: Any = MISSING) -> Any:
    """Return the fact at `path`, or `default` (MISSING) when there is none."""
    found = _walk(facts, tuple(path.split(".")))
    return default if found is MISSING else found


def reader(path: str) -> Callable[[Mapping[str, Any]], Any]:
    """Compile a path to a getter that gives the fact or MISSING; FilterError when too long."""
    steps = tuple(path.split("."))
    if len(steps) > MAX_DEPTH:
        raise FilterError(f"fact path of {len(steps)} steps: more than {MAX_DEPTH}", path)
    if len(steps) == 1:
        return lambda facts: facts.get(path, MISSING)
    return lambda facts: _walk(facts, steps)


def _walk(value: Any, steps: tuple[str, ...]) -> Any:
    if not steps:
        return value
    if isinstance(value, Mapping):
        for length in range(len(steps), 0, -1):
            key = ".".join(steps[:length])
            if key in value and (found := _walk(value[key], steps[length:])) is not MISSING:
                return found
    elif isinstance(value, (list, tuple)) and steps[0].isascii() and steps[0].isdecimal():
        index = int(steps[0][:9])
        if index < len(value):
            return _walk(value[index], steps[1:])
    return MISSING
