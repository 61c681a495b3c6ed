"""Power cuts: a disk that forgets what was not synced (`power.c` says what it covers)."""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Disk", "compiled"]

HERE: Final = Path(__file__).parent
_HEAD: Final = struct.Struct("=qqq")


def compiled(source: str, folder: Path, *options: str) -> Path:
    """Compile a C file of this folder, once; returns the program, or the library with `-shared`."""
    made = folder / source.removesuffix(".c")
    if not made.exists():
        words = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", *options, "-o", str(made)]
        subprocess.run([*words, str(HERE / source)], check=True, timeout=120)
    return made


@dataclass(frozen=True, slots=True)
class _Kept:
    """What stood at a place of a file, and how long the file was, before a write."""

    size: int
    at: int
    old: bytes


class Disk:
    """All files below `root`, for the processes that are started with `environ`.

    `folder` is for what is kept of them, and must not lie below `root`.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root.resolve()
        self._kept = folder / "kept"
        self._kept.mkdir(parents=True, exist_ok=True)
        library = compiled("power.c", folder, "-shared", "-fPIC")
        self.environ: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "POWER_ROOT": str(self._root),
            "POWER_KEPT": str(self._kept.resolve()),
        }

    def sync(self) -> None:
        """Have everything that was written until now on the disk, as the system itself does in time."""
        for kept in self._kept.iterdir():
            kept.unlink(missing_ok=True)

    def cut(self) -> dict[Path, int]:
        """Put each file back to when it was last synced, once its processes are dead.

        Returns:
            The bytes that each has lost or got back.
        """
        files = {f"{one.stat().st_dev:x}-{one.stat().st_ino:x}": one for one in self._files()}
        lost = {}
        for kept in sorted(self._kept.iterdir()):
            path = files.get(kept.name)  # else it was removed since, which holds at once
            if path is not None:
                lost[path] = _undo(path, list(_records(kept.read_bytes())))
            kept.unlink()
        return lost

    def _files(self) -> Iterator[Path]:
        for folder, _folders, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield path


def _records(data: bytes) -> Iterator[_Kept]:
    """What was kept; a last one that is not whole belongs to a write that did not happen."""
    place = 0
    while place + _HEAD.size <= len(data):
        size, at, length = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        old = data[place : place + length]
        place += length
        if len(old) == length:
            yield _Kept(size, at, old)


def _undo(path: Path, records: list[_Kept]) -> int:
    before = path.read_bytes()
    with path.open("r+b") as file:
        for kept in reversed(records):
            file.seek(kept.at)
            file.write(kept.old)
            file.truncate(kept.size)
    after = path.read_bytes()
    longer = abs(len(after) - len(before))
    return longer + sum(one != other for one, other in zip(before, after, strict=False))
