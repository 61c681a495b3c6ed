"""The child in which an assistant's SQL runs: one call of SQLite may take for ever, and nothing in a thread ends it.

`asked` starts it as a module. Standard input is a JSON object with what `run` takes, standard output one
with what came of it; an alarm that nobody handles ends it in the midst of a call, too.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcshell.children import python_environment, python_module
from mcshell.client.analysis import sql as database
from mcshell.commands.context import Context
from mcshell.errors import MCShellError, UsageError
from mcshell.mcp.results import BYTES, harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["asked"]

SECONDS: Final = 5.0
"""For a query; of these `_GRACE` more end it where SQLite does not look at the time."""
_GRACE: Final = 1.0
_STARTING: Final = 60.0
"""Seconds for a machine under load to start a process."""
_MEMORY: Final = 1 << 30
"""Bytes of address space."""
_BYTES: Final = 4 * BYTES
_LATE: Final = f"sql: it took longer than {SECONDS:g} s"
_LARGE: Final = f"sql: it took more than {_MEMORY >> 20} MiB of memory"


def asked(context: Context, query: str, rows: int, characters: int) -> Mapping[str, Any]:
    """Run a query in a process of its own: `columns`, `rows`, and whether there are `more`.

    Raises:
        UsageError: what SQLite says of it, in a line; it takes too long, or too much memory.
    """
    path = context.path
    words = {
        "path": None if path is None else str(path.absolute()),
        "session": context.session,
        "query": query,
        "rows": rows,
        "characters": characters,
    }
    try:
        done = subprocess.run(
            python_module(__name__),
            input=json.dumps(words).encode("ascii"),
            stdout=subprocess.PIPE,
            env=python_environment(os.environ),
            timeout=_STARTING,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(_LATE) from None
    if done.returncode == -signal.SIGALRM:
        raise UsageError(_LATE)
    if done.returncode:
        raise UsageError(f"sql: the process that asked has ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    if refusal := found.get("refused"):
        raise UsageError(refusal)
    return found


def run(words: Mapping[str, Any]) -> dict[str, Any]:
    """Ask once: what came of it, or the line that says why it is refused."""
    path, session, characters = words["path"], words["session"], words["characters"]
    context = Context(path=None if path is None else Path(path))
    bounds = database.QueryBounds(
        seconds=SECONDS,
        rows=words["rows"],
        total=_BYTES,
        files=False,
        kept=lambda value: harmless(value, characters),
    )
    try:
        sources = database.sources(context.settings, context.ddls, first=session)
        signal.setitimer(signal.ITIMER_REAL, SECONDS + _GRACE)
        columns, rows, more = database.some_rows(sources, words["query"], bounds=bounds)
    except MCShellError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": _LARGE}
    return {"columns": columns, "rows": rows, "more": more}


def main() -> int:
    """Read what is asked, and write what came of it."""
    words = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # a system that knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    json.dump(run(words), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
