"""The files of one audit log: itself, those that rotation has left beside it, the reserve."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from typing import IO, TYPE_CHECKING, Final, cast

from mcshell.node.audit.chain import Head, linked
from mcshell.node.audit.reserve import read_reserve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["RESERVE", "end_of", "log_files", "newest_rotated", "passed_over"]

RESERVE: Final = ".reserve"
"""Beside a log, under its name and this."""
_ROTATED: Final = re.compile(r"[.-][0-9][0-9._-]*(?:\.gz)?\Z")
_LINE = 1 << 26
_BLOCK: Final = 64 * 1024


def log_files(path: Path) -> Iterator[tuple[str, Iterable[bytes]]]:
    """The names and lines of a log's files that hold anything, in the order of the chain.

    Raises:
        OSError: one cannot be read.
    """
    for one in (*_in_order(path)[0], path):
        if one.stat().st_size:
            with _opened(one) as file:
                yield one.name, _lines(file)
    reserve = path.with_name(path.name + RESERVE)
    kept = read_reserve(reserve)
    if not kept:
        return
    link = linked(kept.partition(b"\n")[0])
    with path.open("rb") as file:
        written, _rest = end_of(file.fileno(), os.fstat(file.fileno()).st_size)
    if link is not None and (written is None or link[0] > written.count):
        yield reserve.name, kept.splitlines(keepends=True)


def passed_over(path: Path) -> Iterator[str]:
    """The rotated files that `log_files` leaves out, each with the reason, a line for the user.

    Raises:
        OSError: one cannot be read.
    """
    return iter(_in_order(path)[1])


def newest_rotated(path: Path) -> tuple[str, Head, bytes] | None:
    """The file before an empty one: its name, its head and what is torn behind; None without any.

    Raises:
        OSError: one cannot be read.
    """
    best: tuple[str, Head, bytes] | None = None
    for one in _rotated(path):
        if _plain_of(one) is not None:
            continue  # packing goes on, or has died: the file itself is there
        with _opened(one) as file:
            if one.suffix == ".gz":
                head, rest = _end_of_text(b"".join(_lines(file)))
            else:
                head, rest = end_of(file.fileno(), os.fstat(file.fileno()).st_size)
        if head is not None and (best is None or head.count > best[1].count):
            best = one.name, head, rest
    return best


def end_of(file: int, size: int) -> tuple[Head | None, bytes]:
    """The last line of the chain in a file, and what follows it; None, and a torn line, of none."""
    block = _BLOCK
    while block < size:
        text = os.pread(file, block, size - block)
        head, rest = _end_of_text(text[text.find(b"\n") + 1 :])
        if head is not None:
            return head, rest
        block *= 8
    return _end_of_text(os.pread(file, size, 0))


def _end_of_text(text: bytes) -> tuple[Head | None, bytes]:
    end = text.rfind(b"\n")
    while end >= 0:
        start = text.rfind(b"\n", 0, end) + 1
        line = text[start:end]
        if (found := linked(line)) is not None:
            return Head(found[0], hashlib.sha256(line).hexdigest()), text[end + 1 :]
        end = start - 1
    return None, text[text.rfind(b"\n") + 1 :]


def _rotated(path: Path) -> list[Path]:
    name = path.name
    return [
        one
        for one in path.parent.glob(f"{name}[.-]*")
        if _ROTATED.match(one.name[len(name) :]) and one.is_file()
    ]


def _in_order(path: Path) -> tuple[list[Path], list[str]]:
    """The rotated files to read, oldest first, and a word on each of the others.

    What is no file of the chain is read where lines of the chain are missing: it stands in their
    place. Else it may be of an mcshell that kept no chain.
    """
    chained: list[tuple[int, Path]] = []
    others, told = [], []
    for one in _rotated(path):
        if plain := _plain_of(one):
            told.append(f"{one.name} is a copy of {plain.name}, and was passed over")
        elif first := _first(one):
            chained.append((first, one))
        elif one.stat().st_size:
            others.append(one)
    files = [one for _, one in sorted(chained)]
    if min((first for first, _ in chained), default=_first(path)) > 1:
        return [*others, *files], told
    what = "has no line of the chain, and was passed over: of it nothing is shown"
    return files, [*told, *(f"{one.name} {what}" for one in others)]


def _plain_of(packed: Path) -> Path | None:
    """The file beside it that a packed one is a copy of, as far as it can be read."""
    plain = packed.with_suffix("")
    if packed.suffix != ".gz" or not plain.is_file():
        return None
    with _opened(plain) as file, _opened(packed) as other:
        lines = _lines(file)
        try:
            same = all(next(lines, b"").startswith(line) for line in _lines(other))
        except OSError:
            same = True
    return plain if same else None


def _opened(path: Path) -> IO[bytes]:
    if path.suffix != ".gz":
        return path.open("rb")
    import gzip  # noqa: PLC0415 - few logs are rotated so

    return cast("IO[bytes]", gzip.open(path))


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; raises OSError with its name for one that is packed, and damaged."""
    try:
        while (line := file.readline(_LINE + 1)) and len(line) <= _LINE:
            yield line
    except (OSError, EOFError, zlib.error) as why:
        raise OSError(f"{file.name}: {why}") from why
    if line:
        raise OSError(f"{file.name}: line over 64 MiB")


def _first(path: Path) -> int:
    """The number of the first line of the chain in a file; 0 where there is none."""
    with _opened(path) as file:
        links = (linked(line.rstrip(b"\n")) for line in _lines(file))
        return next((link[0] for link in links if link is not None), 0)
