"""What another configuration changes for a daemon that runs: what it takes at once, what after a restart."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcshell.config import Settings

__all__ = ["NODE", "SUPERVISOR", "DaemonPart", "changed", "taken_over"]

_WHOLE: Final = ("pools", "agents", "state_dir")
"""Settings that are compared as they are: they have no keys of ours."""


@dataclass(frozen=True, slots=True)
class DaemonPart:
    """Which settings a daemon looks at, "section" or "section.key", and which of them it takes at once."""

    looks_at: frozenset[str]
    at_once: frozenset[str]


_COMMON: Final = frozenset({"broker", "pki", "collective", "pools", "state_dir"})
NODE: Final = DaemonPart(
    _COMMON | {"node", "mcollective", "agents"},
    frozenset(
        {
            "agents",
            "pki.crl",
            "node.agents",
            "node.classes",
            "node.facts",
            "node.limits",
            "node.policies",
            "node.tell_files",
            "node.unknown_validators",
        }
    ),
)
SUPERVISOR: Final = DaemonPart(
    _COMMON | {"supervisor", "node.max_reply"}, frozenset({"supervisor.rules", "pki.crl"})
)


def changed(old: Settings, new: Settings, part: DaemonPart) -> tuple[list[str], list[str]]:
    """The names of the settings that differ: those taken at once, and those that want a restart."""
    before, after = _flat(old), _flat(new)
    differ = sorted(
        name
        for name in before
        if before[name] != after[name] and part.looks_at & {name, name.partition(".")[0]}
    )
    at_once = [name for name in differ if name in part.at_once]
    return at_once, [_called(name) for name in differ if name not in part.at_once]


def taken_over(old: Settings, new: Settings, at_once: Collection[str]) -> Settings:
    """The old settings with those of the new that are taken at once."""
    result = old
    for name in at_once:
        section, _, key = name.partition(".")
        if not key:
            result = replace(result, **{section: getattr(new, section)})
            continue
        value = getattr(getattr(new, section), key)
        result = replace(result, **{section: replace(getattr(result, section), **{key: value})})
    return result


def _called(name: str) -> str:
    """As the file calls it."""
    return "state" if name == "state_dir" else name


def _flat(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(settings, name) for name in _WHOLE}
    for section in ("broker", "pki", "collective", "node", "supervisor", "mcollective"):
        values = getattr(settings, section)
        found.update((f"{section}.{one.name}", getattr(values, one.name)) for one in fields(values))
    found["broker.secret"] = None  # from the environment, which no reload changes
    return found
