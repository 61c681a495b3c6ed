"""A small filesystem of its own, to be filled, emptied and made read-only: wants root."""

from __future__ import annotations

import itertools
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SmallDisk", "small_disk"]


class SmallDisk:
    """A tmpfs mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> Path:
        """Write to it until not a byte more is taken; returns the file that takes the room."""
        with self._filler.open("wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        return self._filler

    def take_files(self) -> None:
        """Make files until there can be none more, though there is room for what is in them."""
        with suppress(OSError):
            for number in itertools.count():
                (self.path / f"file-{number}").touch()

    def empty(self) -> None:
        """Give the room back."""
        for path in (self._filler, *self.path.glob("file-*")):
            path.unlink(missing_ok=True)

    def remount(self, mode: str) -> None:
        """Make it read-only (`ro`) or writable again (`rw`)."""
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.path)], check=True)


@contextmanager
def small_disk(path: Path, size: str = "4m", files: int | None = None) -> Iterator[SmallDisk]:
    """Mount one at a new folder, for so many files; skips the test where that is not allowed."""
    path.mkdir(mode=0o700)
    options = f"size={size},mode=0700" + (f",nr_inodes={files}" if files else "")
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
