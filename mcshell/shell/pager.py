"""What is taller than the terminal goes through the operator's pager."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

__all__ = ["page"]

_SPARE = 2  # lines: the prompt that follows


def page(text: str) -> bool:
    """Show the text in a pager if it does not fit the terminal; False when it is not shown.

    `PAGER` names the pager (empty: none); without it `less` is used where there is one, with its
    switches to leave the text on the screen.
    """
    if not sys.stdout.isatty():
        return False
    if text.count("\n") + _SPARE <= os.get_terminal_size(sys.stdout.fileno()).lines:
        return False
    command = os.environ.get("PAGER")
    if command is None:
        command = "less -FRX" if shutil.which("less") else ""
    if not command:
        return False
    sys.stdout.flush()
    # Ctrl-C in a pager is the pager's.
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run(command, shell=True, input=text, text=True, check=False)  # noqa: S602 - the operator's own PAGER
    finally:
        signal.signal(signal.SIGINT, former)
    return done.returncode != 127  # noqa: PLR2004 - the shell's "not found"
