"""The operator at a terminal: who is told, who is asked, and who sees the progress."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mcshell import interrupts
from mcshell.commands.output.sanitize import sanitize
from mcshell.shell.progress import ProgressBar

if TYPE_CHECKING:
    from mcshell.commands.context import Context

__all__ = ["meet"]


def meet(context: Context) -> ProgressBar:
    """Have a context tell and ask the operator at the terminal; returns the bar that it shows."""
    progress = ProgressBar(on=find_spec("tqdm") is not None)  # a light node has none
    context.say = _say
    context.ask = _ask
    context.progress = progress
    context.copying = progress.copying
    return progress


def _say(line: str) -> None:
    sys.stderr.write(f"{sanitize(line)}\n")
    sys.stderr.flush()


def _ask(question: str) -> bool:
    """Put a question, and again after Ctrl-Z; only a yes is one. The end of the input is a no."""

    def put() -> None:
        sys.stderr.write(f"{sanitize(question)} [y/N] ")
        sys.stderr.flush()

    with interrupts.resumed(put):
        put()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
