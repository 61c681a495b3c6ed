"""Reads an agent's own settings, `[agents.NAME]`, as the agent declares them (`Agent.settings`).

What a table is meant to say has to be known before an agent acts by it: a text where folders are meant
would be its letters, of which the first is `/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcshell.config.readers import read_duration, read_text, read_words, size
from mcshell.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.node.agent import Agent

__all__ = ["KINDS", "read_settings"]


def _folders(raw: Any) -> tuple[str, ...]:
    folders = read_words(raw)
    for folder in folders:
        if not folder.startswith("/"):
            raise ValueError(f"{folder!r} is no absolute path")
    return folders


KINDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "folders": _folders,
    "length of time": read_duration,
    "size": size,
    "text": read_text,
    "words": read_words,
}
"""What an agent may call the values of its settings, and what reads them."""


def read_settings(agent: Agent, table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of an agent as it means them; as they stand where it declares none.

    Raises:
        ConfigError: a key that it does not have, a value that is none, or a kind of values that is none.
    """
    declared = type(agent).settings  # what an instance calls so is its own
    if declared is None:
        return table
    read: dict[str, Any] = {}
    for key, raw in table.items():
        name = f"agents.{agent.name}.{key}"
        if key not in declared:
            raise ConfigError(f"unknown key {name}{did_you_mean(key, declared)}", name)
        kind = declared[key]
        if kind not in KINDS:
            meant = ", ".join(KINDS)
            raise ConfigError(f"{name}: the agent calls it {kind!r}: one of {meant} is meant", name)
        try:
            read[key] = KINDS[kind](raw)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}", name) from error
    return read
