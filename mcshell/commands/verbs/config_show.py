"""`config show`: every setting and plugin, its value and where it came from."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from mcshell import plugins
from mcshell.commands.output.result import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.options import Options
    from mcshell.config import Settings

__all__ = ["show"]


def show(context: Context, _options: Options) -> Table:
    """One row a key, and one a plugin of a distribution; the passcode is named but never shown."""
    settings = context.settings
    rows = [(key, value, settings.origins.get(key, "default")) for key, value in _all(settings)]
    rows.append(("state", str(settings.state_dir), settings.origins["state"]))
    if settings.broker.secret is not None:
        rows.append(("broker.passcode", "(hidden)", settings.origins["broker.passcode"]))
    rows += [
        (f"plugin.{plugin.kind}.{plugin.name}", plugin.where, plugin.distribution)
        for plugin in plugins.installed()
    ]
    notes = (f"file: {settings.path or 'none'}",)
    return Table(("key", "value", "origin"), rows, notes=notes)


def _all(settings: Settings) -> Iterator[tuple[str, Any]]:
    for section in ("broker", "pki", "collective", "client", "node", "mcollective"):
        yield from _inside(section, getattr(settings, section))
    for name, pool in settings.pools.items():
        yield from _inside(f"pools.{name}", pool)
    for name, text in settings.aliases.items():
        yield f"aliases.{name}", text


def _inside(prefix: str, section: Any) -> Iterator[tuple[str, Any]]:
    for entry in fields(section):
        value = getattr(section, entry.name)
        if entry.name == "secret":
            continue
        if isinstance(value, dict) and all(is_dataclass(inner) for inner in value.values()):
            for name, inner in value.items():
                yield from _inside(f"{prefix}.{entry.name}.{name}", inner)
        elif isinstance(value, tuple):
            yield f"{prefix}.{entry.name}", [str(one) for one in value]
        else:
            plain = value is None or isinstance(value, int | float)
            yield f"{prefix}.{entry.name}", value if plain else str(value)
