"""One registry for everything that can be plugged in, over entry points `mcshell.KIND`.

A plugin has a kind and a name. The built-in ones stand here as "module:attribute" and are
imported when they are first asked for; a distribution adds its own by an entry point::

    [project.entry-points."mcshell.validator"]
    hostname = "example.checks:hostname"

and a program, or a test, by `register`. First comes what was registered, then what is built in,
then entry points: a distribution cannot quietly replace a built-in validator.
"""

from __future__ import annotations

import importlib
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILTIN", "KINDS", "find", "names", "register", "unregister"]

KINDS: Final = (
    "authoriser",
    "audit",
    "signer",
    "discovery",
    "facts",
    "validator",
    "aggregate",
    "agent",
)
"""What can be plugged in; the entry-point group is `mcshell.KIND`."""

BUILTIN: Final[Mapping[str, Mapping[str, str]]] = {
    "discovery": {
        "broadcast": "mcshell.client.discovery.methods:broadcast",
        "external": "mcshell.client.discovery.external:external",
        "file": "mcshell.client.discovery.methods:named",
        "inventory": "mcshell.client.discovery.methods:inventory",
        "stdin": "mcshell.client.discovery.methods:named",
        "table": "mcshell.client.discovery.methods:named",
    },
    "validator": {
        "ipaddress": "mcshell.ddl.validators:ipaddress",
        "ipv4address": "mcshell.ddl.validators:ipv4address",
        "ipv6address": "mcshell.ddl.validators:ipv6address",
        "shellsafe": "mcshell.ddl.validators:shellsafe",
    },
    "aggregate": {
        "average": "mcshell.ddl.aggregates:average",
        "boolean_summary": "mcshell.ddl.aggregates:boolean_summary",
        "sum": "mcshell.ddl.aggregates:total",
        "summary": "mcshell.ddl.aggregates:summary",
    },
}
"""Kind → name → where it is."""

_lock = threading.Lock()
_registered: dict[tuple[str, str], Any] = {}
_loaded: dict[tuple[str, str], Any] = {}


def find(kind: str, name: str) -> Any:
    """Return a plugin, imported if need be.

    Raises:
        PluginError: no such kind or name (with what was meant), or it does not load.
    """
    _check_kind(kind)
    with _lock:
        for known in (_registered, _loaded):
            if (kind, name) in known:
                return known[kind, name]
    where = BUILTIN.get(kind, {}).get(name) or _entry_points(kind).get(name)
    if where is None:
        raise PluginError(f"no {kind} {name!r}{did_you_mean(name, names(kind))}", kind, name)
    plugin = _load(kind, name, where)
    with _lock:
        return _loaded.setdefault((kind, name), plugin)


def names(kind: str) -> list[str]:
    """Return the names of a kind's plugins, sorted; PluginError when there is no such kind."""
    _check_kind(kind)
    with _lock:
        registered = {name for other, name in _registered if other == kind}
    return sorted({*registered, *BUILTIN.get(kind, {}), *_entry_points(kind)})


def register(kind: str, name: str, plugin: Any) -> None:
    """Add a plugin for this process; it comes before a built-in one of the same name."""
    _check_kind(kind)
    with _lock:
        _registered[kind, name] = plugin


def unregister(kind: str, name: str) -> None:
    """Take back `register`; nothing happens when it is not there."""
    with _lock:
        _registered.pop((kind, name), None)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise PluginError(f"no plugin kind {kind!r}{did_you_mean(kind, KINDS)}", kind)


@cache
def _entry_points(kind: str) -> dict[str, str]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and seldom needed

    return {point.name: point.value for point in entry_points(group=f"mcshell.{kind}")}


def _load(kind: str, name: str, where: str) -> Any:
    module, _, attribute = where.partition(":")
    try:
        loaded: Any = importlib.import_module(module.strip())
        for part in filter(None, attribute.partition("[")[0].strip().split(".")):
            loaded = getattr(loaded, part)
    except Exception as error:  # a foreign module's import may raise anything
        raise PluginError(
            f"{kind} {name!r} ({where}) does not load: {type(error).__name__}: {error}", kind, name
        ) from error
    return loaded
