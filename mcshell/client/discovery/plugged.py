"""Discovery methods of others: whatever one raises or returns is told in a line that names it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.targeting import choose
from mcshell.errors import FilterError, MCShellError, PluginError
from mcshell.filters.nodes import canonical

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["guarded"]


def guarded(name: str, method: Callable[[Any], Any], meant: type[Any]) -> Callable[[Any], Any]:
    """The same method, which has to return a `Discovered`: that is `meant`, lest modules go round in a circle.

    It finds names of nodes, each once and no more than the limit, or fails by its name.
    """

    def ask(search: Any, /) -> Any:
        try:
            found = method(search)
        except MCShellError:
            raise
        except Exception as error:
            raise _failed(name, f"{type(error).__name__}: {error}") from error
        if not isinstance(found, meant):
            raise _failed(name, f"it returned {type(found).__name__}, not a {meant.__name__}")
        names = _names(name, found.names)
        if search.targeting.one or "%" not in (search.targeting.limit or "%"):
            names = choose(names, search.targeting)  # of a share, whether it was taken is its word
        return replace(found, names=names)

    return ask


def _names(name: str, given: Any) -> list[str]:
    try:
        found = [] if isinstance(given, str) else list(given)
    except TypeError:
        found = []
    if not all(isinstance(one, str) for one in found) or (given and not found):
        raise _failed(name, f"its names are {given!r:.60}, not a list of text")
    try:
        return list(dict.fromkeys(filter(None, map(canonical, found))))
    except FilterError as error:
        raise _failed(name, str(error)) from error


def _failed(name: str, why: str) -> PluginError:
    return PluginError(f"discovery by {name}: {why}", "discovery", name)
