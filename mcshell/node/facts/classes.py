"""The classes of a node: the operator's file, one name a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_classes"]

_ROOM: Final = 256 * 1024
_LONGEST: Final = 200


def read_classes(path: Path | None, room: int = _ROOM) -> tuple[list[str], list[str]]:
    """Return the classes of a file, and what of it is left out, a line each.

    One name a line, `#` begins a comment; no file is no classes. A line that holds no name costs
    itself: bytes that are no UTF-8, more than 200 characters, more than `room` bytes in all.
    """
    if path is None or not path.exists():
        return [], []
    if not (path.is_file() or path.is_dir()):
        return [], [f"classes: {path}: it is no file"]
    try:
        with path.open("rb") as file:
            content = file.read(room + 1)
    except OSError as error:
        return [], [f"classes: {path}: {error.strerror}"]
    found: dict[str, None] = {}
    flaws: list[str] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            name = line.partition(b"#")[0].decode().strip()
        except UnicodeDecodeError:
            flaws.append(f"classes: {path}: line {number} is left out: it is not UTF-8")
            continue
        if len(name) > _LONGEST:
            why = f"{len(name):,} characters, {_LONGEST} are allowed"
            flaws.append(f"classes: {path}: line {number} is left out: {why}")
            continue
        room -= len(line) + 1
        if room < 0:
            flaws.append(f"classes: {path}: line {number} and what follows is left out: too large")
            break
        if name:
            found[name] = None
    return list(found), flaws
