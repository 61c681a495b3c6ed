"""Opens a file again and again, each time a copy, and is killed at each line of that in turn.

Run: python -m tests.migrations.doomed KIND FOLDER

The copies are FOLDER/0, FOLDER/1, …; the last one is of the process that was not killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mcshell.sqlite
from tests.migrations.kinds import FILES, KINDS, Kind

if TYPE_CHECKING:
    from types import FrameType


def die_at(line: int) -> None:
    """Kill this process (-9) before so many lines of `mcshell.sqlite` have run."""
    lines = count()

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        if frame.f_code.co_filename != mcshell.sqlite.__file__:
            return None
        if event == "line" and next(lines) == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def killed(kind: Kind, state: Path, line: int) -> bool:
    """Open the file in a process of its own; whether it was killed on the way."""
    child = os.fork()
    if not child:
        try:
            die_at(line)
            kind.open(state)
        finally:
            os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main() -> None:
    """Die at the first line, the second, …"""
    name, folder = sys.argv[1:]
    kind = next(one for one in KINDS if one.name == name)
    for line in count():
        state = Path(folder) / str(line)
        shutil.copytree(FILES, state)
        if not killed(kind, state, line):
            return


if __name__ == "__main__":
    main()
