"""What a light node (`mcshell-node`) does without, said in one line where somebody asks for it.

It is built from the same sources (mcshell/deploy/node), and runs every line that wants none of the
packages that only an operator's client has.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["left_out", "require"]


@contextmanager
def left_out(what: str) -> Iterator[None]:
    """Say it where something of mcshell itself is missing that a line wants; `what` is the line's verb.

    Raises:
        UsageError: this is a light node, which was built without it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("mcshell."):
            raise
        raise UsageError(_without(what, error.name)) from error


def require(package: str, what: str) -> None:
    """Look for what a line wants, before it asks anybody; `what` is what it is wanted for.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec(package) is None:
        raise UsageError(_without(what, package))


def _without(what: str, package: str) -> str:
    return (
        f"{what}: this is a light node, which has no {package}; it takes mcshell itself"
        " (pip install mcshell, in an environment of its own)"
    )
