"""An IPython shell in this process, with the extension loaded."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ipython", "run"]


@contextmanager
def ipython() -> Iterator[InteractiveShell]:
    """One that keeps no history, and leaves nothing behind; MCSHELL_CONFIG says which fleet."""
    found = InteractiveShell()
    found.history_manager.enabled = False
    found.run_line_magic("load_ext", "mcshell")
    try:
        yield found
    finally:
        found.run_line_magic("unload_ext", "mcshell")
        found.history_manager.end_session()
        InteractiveShell.clear_instance()


def run(shell: InteractiveShell, cell: str) -> Any:
    """Run a cell; raise what it raised, else return its value."""
    done = shell.run_cell(cell, store_history=False)
    if done.error_before_exec or done.error_in_exec:
        raise done.error_before_exec or done.error_in_exec
    return done.result
