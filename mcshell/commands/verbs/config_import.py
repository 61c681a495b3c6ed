"""`config import`: MCollective's configuration as ours, its secrets in files of their own."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from mcshell import config
from mcshell.commands.mcollective_import import convert, parse
from mcshell.commands.output.result import Table
from mcshell.errors import ConfigError, UsageError
from mcshell.storage import not_written
from mcshell.texts import bytes_of, decoded

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import ConfigImportOptions

__all__ = ["import_"]

_MOST: Final = 1 << 20


def import_(_context: Context, options: ConfigImportOptions) -> Table:
    """Write FILE and, beside it, the secrets; nothing that is there is written over.

    Raises:
        ConfigError: a file that cannot be read, or a setting that means nothing here.
        UsageError: a file is there already, or the role cannot be told.
    """
    source, target = Path(options.source), Path(options.out)
    role = options.role or _role(source)
    settings, notes = _read(source)
    made = convert(settings, role, target.stem, str(source.absolute().parent))
    files = {target.name: made.toml(str(source))}
    files |= {name: f"{text}\n" for name, text in made.secrets.items()}
    try:
        written = _write(target.parent, files)
    except OSError as error:
        error.filename = str(target)  # not the draft of it
        raise not_written(target, error, ConfigError) from error
    return Table(("file",), [(str(path),) for path in written], notes=(*notes, *made.notes))


def _write(folder: Path, files: dict[str, str]) -> list[Path]:
    """Put files into a folder, all of them or none; the first is a configuration, which must load."""
    paths = [folder / name for name in files]
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} is there already")
    with TemporaryDirectory(prefix=".mcshell-import-", dir=folder) as draft:
        for name, text in files.items():
            descriptor = os.open(Path(draft, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        try:
            config.load(Path(draft, paths[0].name))
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{Path(draft).name}/", ""), error.key) from error
        done: list[Path] = []
        try:
            for path in paths:
                os.link(Path(draft, path.name), path)
                done.append(path)
        except OSError:
            for path in done:
                path.unlink()
            raise
    return paths


def _role(source: Path) -> str:
    """Whose file it is, by its name."""
    for role in ("client", "server"):
        if role in source.stem.lower():
            return role
    raise UsageError(f"{source}: is it a client's or a node's? Say --role client or --role server")


def _read(source: Path) -> tuple[dict[str, str], list[str]]:
    """The file and, as MCollective does, the `plugin.d` beside it; notes of what is passed over."""
    settings, notes = parse(_text(source), str(source))
    for path in sorted((source.parent / "plugin.d").glob("*.cfg")):
        more, passed = parse(_text(path), str(path), f"plugin.{path.stem}.")
        settings |= more
        notes += passed
    return settings, notes


def _text(path: Path) -> str:
    """The file's text; comments may be in any encoding, which nobody reads."""
    try:
        lines = bytes_of(path, _MOST).split(b"\n")
        return decoded(b"\n".join(b"" if one.lstrip()[:1] == b"#" else one for one in lines))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", origin=str(path)) from error
