"""`completion`: the script that has a shell's Tab ask us."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Prose

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import CompletionOptions

__all__ = ["completion"]


def completion(_context: Context, options: CompletionOptions) -> Prose:
    """The script for one shell; it asks the mcshell that printed it."""
    path = Path(__file__).parents[1] / "completion" / "scripts" / f"mcshell.{options.shell}"
    return Prose(path.read_text(encoding="utf-8").replace("@MCSHELL@", _program()).rstrip())


def _program() -> str:
    """How a script calls us: by name where that finds us, else by the path that was typed."""
    typed = Path(sys.argv[0]).absolute()
    found = shutil.which("mcshell")
    if typed.name != "mcshell" or (found and Path(found).samefile(typed)):
        return "command mcshell"
    return f"command {shlex.quote(os.fspath(typed))}"
