"""Talk to a fleet from IPython, Jupyter or a prompt; the replies are a DataFrame.

Importing it is light: what it offers is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.errors import ForkedClient, MCShellError, Stopped, TaskError
from mcshell.unused import unused
from mcshell.version import VERSION

with unused("inspect"):  # a megabyte, and a tenth of what a small command takes
    import dataclasses  # noqa: F401 - nearly all of ours need it

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from mcshell.client.client import Client, connect, current
    from mcshell.client.executor import Executor
    from mcshell.client.origin import origin
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.rpc.stored import stored

__all__ = [
    "Client",
    "Executor",
    "ForkedClient",
    "MCShellError",
    "Replies",
    "Stopped",
    "TaskError",
    "connect",
    "current",
    "load_ipython_extension",
    "origin",
    "stored",
]
__version__ = VERSION

_PLACES = {
    "Client": "mcshell.client.client",
    "Executor": "mcshell.client.executor",
    "connect": "mcshell.client.client",
    "current": "mcshell.client.client",
    "Replies": "mcshell.client.rpc.replies",
    "origin": "mcshell.client.origin",
    "stored": "mcshell.client.rpc.stored",
}


def __getattr__(name: str) -> Any:
    """Load what `_PLACES` names at its first use (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - light until used

    if name in ("connect", "Executor"):
        _meet_ipython()
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """What is loaded later is there for Tab and pydoc too."""
    return sorted({*globals(), *__all__})


def _meet_ipython() -> None:
    """Have IPython, where we run in it, show our results as they are meant to be seen."""
    import sys  # noqa: PLC0415 - light until used

    core = sys.modules.get("IPython.core.getipython")
    shell = core.get_ipython() if core is not None else None
    if shell is not None:
        from mcshell.notebook.formats import install  # noqa: PLC0415 - light until used

        install(shell)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register `%mco` and `df.mco`: `%load_ext mcshell`."""
    from mcshell.notebook.magics import load  # noqa: PLC0415 - light until used

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Undo `load_ipython_extension`, so that `%reload_ext mcshell` works."""
    from mcshell.notebook.magics import unload  # noqa: PLC0415 - light until used

    unload(shell)
