"""`config import`: MCollective's configuration as ours, its secrets in files of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell import config
from mcshell.commands.mcollective_import import convert, parse
from mcshell.commands.output.result import Table
from mcshell.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import ConfigImportOptions

__all__ = ["import_"]


def import_(_context: Context, options: ConfigImportOptions) -> Table:
    """Write FILE and, beside it, the secrets; nothing that is there is written over.

    Raises:
        ConfigError: a file that cannot be read, or a setting that means nothing here.
        UsageError: a file is there already, or the role cannot be told.
    """
    source, target = Path(options.source), Path(options.out)
    role = options.role or _role(source)
    settings = _read(source)
    made = convert(settings, role, target.stem)
    files = {target: made.toml(str(source))}
    files |= {target.parent / name: f"{text}\n" for name, text in made.secrets.items()}
    for path in files:
        if path.exists():
            raise UsageError(f"{path} is there already")
    for path, text in files.items():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    config.load(target)
    rows = [(str(path),) for path in files]
    return Table(("file",), rows, notes=tuple(made.notes))


def _role(source: Path) -> str:
    """Whose file it is, by its name."""
    for role in ("client", "server"):
        if role in source.stem.lower():
            return role
    raise UsageError(f"{source}: is it a client's or a node's? Say --role client or --role server")


def _read(source: Path) -> dict[str, str]:
    """The file and, as MCollective does, the `plugin.d` beside it."""
    settings = parse(_text(source), str(source))
    for path in sorted((source.parent / "plugin.d").glob("*.cfg")):
        settings |= parse(_text(path), str(path), f"plugin.{path.stem}.")
    return settings


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", origin=str(path)) from error
