"""What a light node (`mcshell-node`) does without, said in one line where somebody asks for it.

It is built from the same sources (mcshell/deploy/node), and runs every line that wants none of the
packages that only an operator's client has.
"""

from __future__ import annotations

from importlib.util import find_spec

from mcshell.errors import UsageError

__all__ = ["require"]


def require(package: str, what: str) -> None:
    """Look for what a line wants, before it asks anybody; `what` is what it is wanted for.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec(package) is None:
        raise UsageError(
            f"{what}: this is a light node, which has no {package}; it takes mcshell itself"
            " (pip install mcshell, in an environment of its own)"
        )
