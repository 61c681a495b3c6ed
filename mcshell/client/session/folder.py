"""Where the session files of a state directory are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["folder_of"]


def folder_of(state_dir: Path) -> Path:
    """The folder of the session files, one `NAME.sqlite` each."""
    return state_dir / "sessions"
