"""What is taller than the terminal, in the operator's pager."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import Final

from mcshell.shell.colours import plain

__all__ = ["page", "passes_colours"]

_SPARE = 2  # lines: the prompt that follows
_LESS: Final = "less -FRX"  # what fits one screen stays there; colours; the text is left on it
_COLOURS = re.compile(r"(\S*/)?less\b.* -?\w*[rR]")
_PLAIN = re.compile(r"[\w./+-][\w./+ -]*")
_COMMAND_NOT_FOUND = 127
_UNTOLD = 24  # lines of a terminal that says 0


def page(text: str) -> bool:
    """Show the text in a pager if it does not fit the terminal; False when it is not shown.

    `PAGER` names the pager (empty: none); without it `less` is used where there is one. Only a
    `less` that passes colours on is given any.
    """
    if not sys.stdout.isatty():
        return False
    if text.count("\n") + _SPARE <= (os.get_terminal_size(sys.stdout.fileno()).lines or _UNTOLD):
        return False
    command = os.environ.get("PAGER")
    if command is None:
        command = _LESS if shutil.which("less") else ""
    if not command:
        return False
    if not passes_colours(command, os.environ.get("LESS", "")):
        text = plain(text)
    if _PLAIN.fullmatch(command):
        command = f"exec {command}"  # no shell between us, which would keep a signal to itself
    sys.stdout.flush()
    # Ctrl-C in a pager is the pager's.
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pager = subprocess.Popen(  # noqa: S602 - the operator's own PAGER
            command, shell=True, stdin=subprocess.PIPE, text=True, errors="backslashreplace"
        )
        with pager:
            try:
                pager.communicate(text)
            except KeyboardInterrupt:  # SIGTERM; it leaves the terminal in order, given the same
                pager.terminate()
                raise
    finally:
        signal.signal(signal.SIGINT, former)
    return pager.returncode != _COMMAND_NOT_FOUND


def passes_colours(command: str, less: str) -> bool:
    """Whether a pager shows colours as such: a `less` with -R, by its words or by $LESS."""
    return _COLOURS.match(f"{command} {less}") is not None
