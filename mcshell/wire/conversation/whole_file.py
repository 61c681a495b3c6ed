"""A whole file over a conversation: taken up from where it was left, proved by its SHA-256.

One end says what is to come (`offer`), the other from where it wants it (`IncomingFile.have`), and
parts follow in order. What was received lies on the disk under the digest of the whole, so that the
next conversation goes on with it: whoever sends the same bytes writes the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, Final, Self

from mcshell.errors import InputError
from mcshell.private import private_file
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PART", "FileOffer", "IncomingFile", "offer", "parts"]

PART: Final = 128 * 1024
"""Bytes of a part: as base64 it fits into a turn."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOffer:
    """A file that is to come: its size in bytes, and the digest of all of them."""

    size: int
    sha256: str

    @classmethod
    def read(cls, said: Any, most: int) -> Self:
        """What the other end says of it; InputError if that is no offer, or of more than `most` bytes."""
        fields = said if isinstance(said, dict) else {}
        size, sha256 = fields.get("size"), fields.get("sha256")
        if type(size) is not int or size < 0:
            raise InputError(f"a file's size is a number of bytes, not {str(size)[:60]!r}")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise InputError(f"a file's sha256 is 64 digits, not {str(sha256)[:70]!r}")
        if size > most:
            raise InputError(f"a file of {size} bytes; {most} are taken")
        return cls(size=size, sha256=sha256)

    def told(self) -> dict[str, Any]:
        """As it is said to the other end."""
        return {"size": self.size, "sha256": self.sha256}


def offer(path: Path) -> FileOffer:
    """What there is to send; raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileOffer(size=file.tell(), sha256=digest.hexdigest())


def parts(path: Path, have: int) -> Iterator[bytes]:
    """All of a file behind its first `have` bytes; OSError, or InputError when there are fewer."""
    with path.open("rb") as file:
        if have > file.seek(0, os.SEEK_END):
            raise InputError(f"{path.name} has fewer than {have} bytes")
        file.seek(have)
        while part := file.read(PART):
            yield part


class IncomingFile:
    """A file that comes into `folder`, as `DIGEST.part` until all of it is there.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, offered: FileOffer) -> None:
        self.offered = offered
        self.path = folder / f"{offered.sha256}.part"
        self.have = min(private_file(self.path).stat().st_size, offered.size)
        """How much of it is there."""

    @property
    def complete(self) -> bool:
        """Whether all of it is there, right or wrong."""
        return self.have == self.offered.size

    def add(self, part: Any) -> None:
        """Write the next part; InputError when it is none, or more than was offered."""
        if not isinstance(part, bytes) or not part:
            raise InputError("a part of a file is bytes")
        if self.have + len(part) > self.offered.size:
            raise InputError(f"more than the {self.offered.size} bytes that were offered")
        # Written at its place, not at the end: an earlier conversation may still be writing the same.
        try:
            with self.path.open("r+b") as file:
                file.seek(self.have)
                file.write(part)
        except FileNotFoundError:
            raise InputError("what had come is gone: another file came meanwhile") from None
        self.have += len(part)

    def finish(self, target: Path) -> None:
        """Put it where it belongs; InputError if its bytes are others, which are thrown away."""
        found = offer(self.path)
        if found != self.offered:
            self.path.unlink()
            raise InputError(
                f"{found.size} bytes with sha256 {found.sha256[:16]}… came,"
                f" not {self.offered.size} with {self.offered.sha256[:16]}…: nothing of it is kept"
            )
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
