"""A sans-I/O codec for STOMP 1.0, 1.1 and 1.2: bytes in, `Frame` values out, and back.

https://stomp.github.io/stomp-specification-1.2.html is the source. What the versions do
differently: 1.0 escapes nothing, 1.1 does not escape carriage returns, only 1.2 may end lines with
CRLF; CONNECT and CONNECTED are never escaped. The parser follows the version that it sees being
agreed on, so that the same bytes give the same frames however they were cut.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING

from mcshell.errors import FrameError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "HEARTBEAT",
    "MAX_BODY",
    "MAX_HEADER",
    "VERSIONS",
    "Frame",
    "Parser",
    "check_headers",
    "dump",
    "dump_head",
    "negotiate",
]

HEARTBEAT = b"\n"
MAX_BODY = 64 * 1024 * 1024
MAX_HEADER = 64 * 1024
VERSIONS = ("1.0", "1.1", "1.2")

_sent_name = re.compile(r"[^\s:\\\0]+").fullmatch
_OURS = frozenset(["destination", "content-length", "receipt", "id", "ack", "transaction"])
_CLIENT = "CONNECT STOMP SEND SUBSCRIBE UNSUBSCRIBE ACK NACK BEGIN COMMIT ABORT DISCONNECT"
_COMMANDS = frozenset([*_CLIENT.split(), "CONNECTED", "MESSAGE", "RECEIPT", "ERROR"])
_LONGEST_COMMAND = max(map(len, _COMMANDS))
_UNESCAPED = frozenset(["CONNECT", "CONNECTED"])
_MAX_DIGITS = 12
_PART = 4096  # bytes; what comes in smaller parts is put together at once

_special = re.compile(r"[:\\\n\r]").search
_escape = re.compile(r"\\(.?)", re.DOTALL)
_line_ends = re.compile(rb"[\r\n]*").match
_end_of_head = re.compile(rb"\n\r?\n").search  # in 1.2; elsewhere it may be none
_end_of_body = re.compile(rb"\0").search
_MEANING = {"\\": "\\", "c": ":", "n": "\n", "r": "\r"}


@dataclass(frozen=True, slots=True)
class Frame:
    """One STOMP frame, headers unescaped."""

    command: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def negotiate(accept_version: str | None) -> str | None:
    """Choose the newest version both sides know; None when there is none.

    A client that names no version speaks 1.0 (1.2, "Protocol Negotiation").
    """
    offered = {word.strip() for word in (accept_version or "1.0").split(",")}
    return max(offered.intersection(VERSIONS), default=None)


def _quote(text: str, version: str) -> str:
    """Escape one header's name or value."""
    if _special(text) is None:
        return text
    if version == "1.0":
        if "\n" in text:
            raise FrameError(f"STOMP 1.0 cannot carry a line break in a header: {text!r}")
        return text
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace(":", "\\c")
    return text if version == "1.1" else text.replace("\r", "\\r")


def _unquote(text: str, version: str) -> str:
    """Read one escaped header; plain replacements, twice as fast, serve nearly all of them."""
    if "\\\\" not in text:
        plain = text.replace("\\c", ":").replace("\\n", "\n")
        if version != "1.1":
            plain = plain.replace("\\r", "\r")
        if "\\" not in plain:
            return plain

    def meaning(match: re.Match[str]) -> str:
        code = match[1]
        if code not in _MEANING or (code == "r" and version == "1.1"):
            raise FrameError(f"undefined escape {match[0]!r} in the header {text[:80]!r}")
        return _MEANING[code]

    return _escape.sub(meaning, text)


def dump_head(command: str, headers: Mapping[str, str], version: str = "1.2") -> bytes:
    """Write a frame's command and headers, each with its line end, without the blank line.

    Raises:
        FrameError: a header that the version cannot carry.
    """
    escaped = "1.0" if command in _UNESCAPED else version
    lines = [command]
    for name, value in headers.items():
        if not name or (":" in name and escaped == "1.0"):
            raise FrameError(f"{name!r} cannot be the name of a header here")
        lines.append(f"{_quote(name, escaped)}:{_quote(value, escaped)}")
    lines.append("")
    text = "\n".join(lines)
    if "\0" in text or ("\r" in text and command in _UNESCAPED):
        raise FrameError(f"a header of {command} holds a character that STOMP cannot carry")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise FrameError(f"a header of {command} is not Unicode text") from None


def dump(frame: Frame, version: str = "1.2") -> bytes:
    """Write one frame; `content-length` is put in when there is a body.

    Raises:
        FrameError: a header that the version cannot carry.
    """
    headers = frame.headers
    if frame.body or "content-length" in headers:
        headers = {**headers, "content-length": str(len(frame.body))}
    return b"%s\n%s\0" % (dump_head(frame.command, headers, version), frame.body)


class Parser:
    """Turns any cut of a stream of bytes into frames; after a FrameError it is of no more use.

    Args:
        max_body: the largest body in bytes, larger ones are a FrameError before they are read.
        max_header: the largest command and headers together, in bytes.
        max_headers: how many there may be.
        version: what is spoken until a CONNECT or CONNECTED goes by.
    """

    __slots__ = (
        "_awaited",
        "_buffer",
        "_head_of_parts",
        "_limit_body",
        "_limit_header",
        "_missing",
        "_most_headers",
        "_parts",
        "version",
    )

    def __init__(
        self,
        *,
        max_body: int = MAX_BODY,
        max_header: int = MAX_HEADER,
        max_headers: int = MAX_BODY,
        version: str = "1.2",
    ) -> None:
        self._most_headers = max_headers
        self._limit_body = max_body
        self._limit_header = max_header
        self.version = version
        self._buffer = bytearray()
        self._awaited = _end_of_head
        """Finds what the bytes in the buffer wait for; what it has looked at is not looked at again."""
        self._parts: list[bytes] = []
        """Of a body whose length is known, until it is all there; what follows is about it."""
        self._head_of_parts: tuple[str, dict[str, str]] = ("", {})
        self._missing = 0

    def allow(self, *, max_body: int = MAX_BODY, max_header: int = MAX_HEADER) -> None:
        """Take so much from now on: the peer has said who it is."""
        self._limit_body = max_body
        self._limit_header = max_header

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes and return the frames that they complete; heart-beats are skipped.

        Raises:
            FrameError: this is not STOMP, or larger than allowed.
        """
        frames: list[Frame] = []
        position = 0
        buffer = self._buffer
        if self._parts:
            position = self._go_on(data, frames)
        elif buffer:
            fresh = max(0, len(buffer) - 2)
            buffer += data
            if not self._awaited(buffer, fresh):
                self._check_growth()
                return []
            data = bytes(buffer)
            buffer.clear()
        while True:
            if position < len(data) and data[position] in b"\r\n":
                position = _line_ends(data, position).end()  # type: ignore[union-attr]  # may be empty, always matches
            if position == len(data):
                return frames
            step = self._frame(data, position, frames)
            if step == position:
                buffer += data[position:]
                self._check_growth()
                return frames
            position = step

    def _frame(self, data: bytes, start: int, frames: list[Frame]) -> int:
        """Parse the frame at `start`; returns where it ends, or `start` where too little is there."""
        end, skip = self._head_end(data, start)
        if end < 0:
            self._awaited = _end_of_head
            return start
        command, headers = self._head(data[start:end])
        body = end + skip
        length = headers.get("content-length")
        if length is None:
            stop = data.find(0, body, body + self._limit_body + 1)
            if stop < 0:
                if len(data) - body > self._limit_body:
                    raise FrameError(f"a body without an end in {self._limit_body} bytes")
                self._awaited = _end_of_body
                return start
        else:
            stop = body + self._length(length)
            if stop >= len(data):
                self._head_of_parts = command, headers
                self._parts = [data[body:]]
                self._missing = stop - len(data)
                return len(data)
        self._take(frames, command, headers, data[body:stop], data[stop])
        return stop + 1

    def _go_on(self, data: bytes, frames: list[Frame]) -> int:
        """Take what is missing of the body that has begun; returns where that ends."""
        parts, stop = self._parts, self._missing
        if stop >= len(data):
            self._missing -= len(data)
            if len(parts[-1]) < _PART:
                parts[-1] += data
            else:
                parts.append(data)
            return len(data)
        self._parts = []
        self._take(frames, *self._head_of_parts, b"".join((*parts, data[:stop])), data[stop])
        return stop + 1

    def _take(
        self, frames: list[Frame], command: str, headers: dict[str, str], body: bytes, end: int
    ) -> None:
        """Take a whole frame, whose body `end` follows."""
        if end:
            raise FrameError(f"{command} is longer than its content-length of {len(body)}")
        frames.append(Frame(command, headers, body))
        if command in ("CONNECT", "STOMP"):
            self.version = negotiate(headers.get("accept-version")) or self.version
        elif command == "CONNECTED":
            self.version = headers.get("version", "1.0")

    def _head_end(self, data: bytes, start: int) -> tuple[int, int]:
        """Find where command and headers end (-1: not yet), and how long the end itself is."""
        limit = start + self._limit_header
        end, skip = data.find(b"\n\n", start, limit), 2
        stop = end if end >= 0 else limit
        # To look for one byte first takes a tenth of the time, and few have it.
        if self.version == "1.2" and data.find(b"\r", start, stop) >= 0:
            crlf = data.find(b"\n\r\n", start, stop)
            if crlf >= 0:
                end, skip = crlf, 3
        return end, skip

    def _head(self, head: bytes) -> tuple[str, dict[str, str]]:
        if head.count(b"\n") > self._most_headers:  # each costs forty times its bytes
            raise FrameError(f"a frame of more than {self._most_headers} headers")
        try:
            text = str(head, "utf-8")
        except UnicodeDecodeError:
            raise FrameError(f"headers that are not UTF-8: {head[:40]!r}") from None
        lines = text.split("\n")
        if "\r" in text and self.version == "1.2":
            lines = [line.removesuffix("\r") for line in lines]
        command = lines.pop(0)
        if command not in _COMMANDS:
            raise FrameError(f"not STOMP: it begins with {command[:40]!r}")
        if "\0" in text:
            raise FrameError(f"a NUL in the headers of {command}")
        pairs = [line.split(":", 1) for line in lines]
        version = self.version
        if "\\" in text and command not in _UNESCAPED and version != "1.0":
            pairs = [
                [_unquote(part, version) if "\\" in part else part for part in pair]
                for pair in pairs
            ]
        try:
            headers: dict[str, str] = dict(pairs)
            if len(headers) != len(pairs):  # the first of repeated headers counts
                headers = dict(reversed(pairs))
        except ValueError:
            raise FrameError(f"a header of {command} has no colon") from None
        if "" in headers:
            raise FrameError(f"a header of {command} has no name")
        return command, headers

    def _length(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
            raise FrameError(f"content-length {text[:40]!r} is not a number of bytes")
        length = int(text)
        if length > self._limit_body:
            raise FrameError(f"a body of {length} bytes; at most {self._limit_body} are taken")
        return length

    def _check_growth(self) -> None:
        """Refuse early what can never become a frame within the limits."""
        buffer = self._buffer
        if self._awaited is _end_of_body:
            if len(buffer) > self._limit_header + self._limit_body:
                raise FrameError(f"a body without an end in {self._limit_body} bytes")
            return
        if len(buffer) > self._limit_header:
            raise FrameError(f"headers larger than {self._limit_header} bytes")
        first = bytes(buffer[: _LONGEST_COMMAND + 2])
        word = first.split(b"\n", 1)[0].removesuffix(b"\r").decode("latin-1")
        if (b"\n" in first and word not in _COMMANDS) or not any(
            known.startswith(word) for known in _COMMANDS
        ):
            start = bytes(buffer[:40]).split(b"\n", 1)[0].decode("latin-1").strip()
            raise FrameError(f"not STOMP: it begins with {start!r}")


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Copy headers that a SEND may carry; stomp.py escapes values but not names.

    Raises:
        FrameError: a name that would break the frame or is the connection's own, or a value that
            is not text or holds a NUL.
    """
    for name, value in headers.items():
        if not _sent_name(name) or name in _OURS:
            raise FrameError(f"{name!r} cannot be the name of a message's header")
        if not isinstance(value, str) or "\0" in value:
            raise FrameError(f"header {name}: {value!r} is not text without NUL")
    return dict(headers)
