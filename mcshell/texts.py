"""The text of a file that somebody wrote: UTF-8, with or without BOM, with CRLF or without; and paths in a line."""

from __future__ import annotations

import codecs
from typing import Final

__all__ = ["decoded", "on_one_line"]

_OTHERS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def decoded(data: bytes) -> str:
    r"""The text without its BOM; CRLF becomes `\n`, a CR alone stays.

    Raises:
        ValueError: it is in another encoding, or no text; with the line.
    """
    for mark, name in _OTHERS.items():
        if data.startswith(mark):
            raise ValueError(f"it is {name}: save it as UTF-8")
    if (at := data.find(b"\0")) >= 0:
        raise ValueError(f"line {_line(data, at)}: a NUL byte: it is no text in UTF-8")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        where = _line(data, error.start)
        wrong = error.object[error.start]
        raise ValueError(f"line {where}: not UTF-8 (byte 0x{wrong:02x})") from error


def on_one_line(path: str) -> str:
    """A path as a failure names it, which is one line: as it is, or with escapes."""
    return path if path.isprintable() else repr(path)


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1
