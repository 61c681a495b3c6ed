"""The hash chain of an audit log: how a line is written, and what one is known by.

Each line ends in `"n"`, its number in the chain from 1 on, and `"prev"`, the SHA-256 (hex) of the line
before, without its line feed; the first has 64 zeros there. A chain goes on over files. Lines of the
log's own, by `event`:

    file   the first of a file; `previous` has the name, the count of lines of the chain and the hash
           of the file before (null: there was none; a file of no chain: its lines and the hash of all)
    gap    `lost` lines could not be written before this one; with `previous`, as in `file`, a file may
           begin with it: it was cut to nothing (logrotate's copytruncate), or the disk was full
    torn   what stands before it and is no line of the chain: how many `bytes`, and their `hash`
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["START", "Head", "encode", "is_first", "link", "linked"]

_LINK: Final = re.compile(rb'^\{.*,"n":([1-9][0-9]{0,17}),"prev":"([0-9a-f]{64})"\}\Z')
_FIRST: Final = re.compile(rb'^\{"time":"[^"]*","epoch":[^,]*,"event":"(?:file|gap)","previous":')


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: the number of its last line, and that line's hash (hex)."""

    count: int
    hash: str


START: Final = Head(0, "0" * 64)
"""The head of a chain without a line."""


def link(text: bytes, head: Head) -> tuple[bytes, Head]:
    """Make an encoded event the line after `head`, with its line feed; and the head it is now."""
    count = head.count + 1
    line = b'%b,"n":%d,"prev":"%b"}' % (text[:-1], count, head.hash.encode())
    return line + b"\n", Head(count, hashlib.sha256(line).hexdigest())


def linked(line: bytes) -> tuple[int, str] | None:
    """The number of a line (without its line feed) and the hash of the one before; None: no line."""
    found = _LINK.match(line)
    return None if found is None else (int(found[1]), found[2].decode())


def is_first(line: bytes) -> bool:
    """Whether a line says that a file begins with it."""
    return _FIRST.match(line) is not None


_ENCODER: Final = json.JSONEncoder(
    default=repr, allow_nan=False, separators=(",", ":"), check_circular=False
)


_AS_JSON: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
"""What json knows nothing of is shown as Python does."""


def encode(document: Mapping[str, Any]) -> bytes:
    """Write an event as one line of JSON, whatever is in it; without a line feed."""
    with suppress(TypeError):  # nearly all are written so, at half the price
        plain = orjson.dumps(document, repr, _AS_JSON)
        # It leaves text as it is that is no ASCII, and writes null for what is no number.
        if plain.isascii() and b"null" not in plain:
            return plain
    try:
        text = _ENCODER.encode(document)
    except (ValueError, TypeError, RecursionError):
        # NaN, a key that is a tuple, a list in itself: shown as Python does, never left out.
        shown = {
            str(key): value if isinstance(value, str | int) else repr(value)
            for key, value in document.items()
        }
        text = _ENCODER.encode(shown)
    return text.encode("ascii")
