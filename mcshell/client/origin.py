"""Where a request is put from, as its session notes it: a cell, a script, a face, a tool.

Nobody signs it: it is this machine's own note, for whoever writes up afterwards what was done.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ORIGIN", "noted", "origin", "origin_of"]

ORIGIN: Final = "origin"
"""Under this name it stands in how a request was put (`RequestRecord.options`)."""
_MOST: Final = 200
_TOOL: ContextVar[str] = ContextVar("mcshell-origin", default="")
_FACES: Final = {"cli": "command line", "prompt": "prompt"}
_face = ""


@contextmanager
def origin(tool: str) -> Iterator[None]:
    """Have what is asked inside noted as asked by `tool`, such as a program that uses mcshell."""
    token = _TOOL.set(tool)
    try:
        yield
    finally:
        _TOOL.reset(token)


def use_face(face: str) -> None:
    """Say by which face of mcshell's own this process asks."""
    global _face  # noqa: PLW0603 - a process has one
    _face = _FACES.get(face, "")


def noted(options: Mapping[str, Any]) -> dict[str, Any]:
    """How a request was put, with where it is put from now."""
    return {**options, ORIGIN: ", ".join(filter(None, (_TOOL.get(), _place())))[:_MOST]}


def origin_of(options: Mapping[str, Any]) -> str:
    """Where a kept request was put from; anybody may have written it. Empty where nothing is noted."""
    found = options.get(ORIGIN)
    return found[:_MOST] if isinstance(found, str) else ""


def _place() -> str:
    """The cell, else the face, else the script."""
    core = sys.modules.get("IPython.core.getipython")
    shell = core.get_ipython() if core is not None else None
    if shell is not None:
        book = os.path.basename(os.environ.get("JPY_SESSION_NAME", ""))  # noqa: PTH119 - a word, no path of ours
        return f"In [{shell.execution_count}]" + (f" of {book}" if book else "")
    if _face:
        return _face
    folder, script = os.path.split(sys.argv[0] if sys.argv else "")
    if script == "__main__.py":  # of a package, as `python -m` runs it
        script = os.path.basename(folder)  # noqa: PTH119 - as above
    return script if script not in ("", "-c") else "python"
