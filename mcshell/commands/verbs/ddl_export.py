"""`ddl export`: our schemas in MCollective's form, so that the real `mco` knows our agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.commands.output.result import Table
from mcshell.ddl import ruby
from mcshell.errors import DDLError
from mcshell.private import replace_file
from mcshell.storage import not_written

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import DDLExportOptions
    from mcshell.ddl.ddl_library import Library

__all__ = ["export"]


def export(context: Context, options: DDLExportOptions) -> Table:
    """Write DIR/mcollective/agent/NAME.ddl for each agent; DIR is then a `libdir` of MCollective.

    `rpcutil` is left out, unless it is named: MCollective has its own. A schema that has no form
    there is a row that says why, and the exit code is 2.

    Raises:
        UsageError: an agent that is not there, or a folder that cannot be written.
        MachineError: the disk takes nothing.
    """
    library = context.ddls
    chosen = options.agents or [name for name in library.agents() if name != "rpcutil"]
    folder = Path(options.dir) / "mcollective" / "agent"
    rows: list[tuple[Any, ...]] = []
    for name in chosen:
        target = folder / f"{name}.ddl"
        try:
            text = _written(library, name)
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(target, text.encode(), 0o666)
        except DDLError as error:
            rows.append((name, None, f"not written: {error}"))
        except OSError as error:
            raise not_written(target, error) from error
        else:
            rows.append((name, str(target), None))
    code = 2 if any(reason for _, _, reason in rows) else 0
    notes = (f"for MCollective: libdir = {options.dir}",)
    return Table(("agent", "file", "reason"), rows, code, notes, quiet=("reason",))


def _written(library: Library, name: str) -> str:
    """A schema in MCollective's form; DDLError when it has none, or cannot be read."""
    library.get(name)
    path = library.path(name)
    assert path is not None, "it was just read"
    if path.suffix == ".ddl":
        return path.read_text(encoding="utf-8", errors="replace")
    try:
        return ruby.write(json.loads(path.read_text(encoding="utf-8-sig")))
    except ValueError as error:
        raise DDLError(f"has no form there: {error}", str(path)) from error
    except DDLError as error:
        raise DDLError(str(error), str(path)) from error
