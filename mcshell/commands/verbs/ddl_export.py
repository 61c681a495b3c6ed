"""`ddl export`: our schemas in MCollective's form, so that the real `mco` knows our agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.commands.output.result import Table
from mcshell.ddl import ruby
from mcshell.errors import DDLError, UsageError

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import DDLExportOptions

__all__ = ["export"]


def export(context: Context, options: DDLExportOptions) -> Table:
    """Write DIR/mcollective/agent/NAME.ddl for each agent; DIR is then a `libdir` of MCollective.

    `rpcutil` is left out, unless it is named: MCollective has its own.

    Raises:
        UsageError: an agent that is not there, or a folder that cannot be written.
        DDLError: a schema that has no form there.
    """
    library = context.library
    chosen = options.agents or [name for name in library.agents() if name != "rpcutil"]
    folder = Path(options.dir) / "mcollective" / "agent"
    written: list[tuple[Any, ...]] = []
    for name in chosen:
        library.get(name)
        path = library.path(name)
        assert path is not None, "it was just read"
        if path.suffix == ".ddl":
            text = path.read_text(encoding="utf-8")
        else:
            try:
                text = ruby.write(json.loads(path.read_text(encoding="utf-8")))
            except DDLError as error:
                raise DDLError(str(error), str(path)) from error
        target = folder / f"{name}.ddl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{target}: {error.strerror}") from error
        written.append((name, str(target)))
    return Table(("agent", "file"), written, notes=(f"for MCollective: libdir = {options.dir}",))
