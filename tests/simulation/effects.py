"""Where the actions of a simulation tell what they did: the run that is under way listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["listener", "ran"]

listener: list[Callable[[str, str, str], None]] = []


def ran(tag: str, node: str, run: str) -> None:
    """An action ran on a node; `run` names the start of a job that recurs."""
    listener[-1](tag, node, run)
