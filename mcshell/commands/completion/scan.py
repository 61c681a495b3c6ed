"""A line that is still being typed, cut into words; open quotes and lost backslashes are allowed."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Scan", "incomplete", "scan"]


@dataclass(slots=True)
class Scan:
    """What stands before the cursor: finished words, and the one that is being typed.

    `start` is where that one begins in the line, `quote` the quote that is open at the cursor.
    `sink` is "|" or ">" once the line's result is sent elsewhere.
    """

    words: list[str] = field(default_factory=list)
    current: str = ""
    start: int = 0
    quote: str = ""
    sink: str = ""


def scan(text: str) -> Scan:
    """Read the text before the cursor; only its last line (after `;` or a line end) counts."""
    found = Scan()
    inside = False  # a word has begun, if only with a quote
    at = 0
    while at < len(text):
        letter = text[at]
        if found.quote:
            at = _quoted(found, text, at)
        elif letter in ";\n":
            found, inside = Scan(start=at + 1), False
        elif letter.isspace():
            if inside:
                found.words.append(found.current)
            found.current, found.start, inside = "", at + 1, False
        elif letter in "|>" and not inside:
            found = Scan(sink=letter, start=at + 1)
        else:
            inside = True
            at = _bare(found, text, at)
        at += 1
    return found


def _quoted(found: Scan, text: str, at: int) -> int:
    """Take a letter inside quotes; the place of the last letter that was taken."""
    letter = text[at]
    if letter == found.quote:
        found.quote = ""
    elif letter == "\\" and found.quote == '"' and text[at + 1 : at + 2] in ('"', "\\"):
        found.current += text[at + 1]
        return at + 1
    else:
        found.current += letter
    return at


def _bare(found: Scan, text: str, at: int) -> int:
    """Take a letter outside quotes; the place of the last letter that was taken."""
    letter = text[at]
    if letter == "\\":
        found.current += text[at + 1 : at + 2].replace("\n", "")
        return at + 1
    if letter in "'\"":
        found.quote = letter
    else:
        found.current += letter
    return at


def incomplete(text: str) -> bool:
    """Whether a line goes on on the next: it ends with a backslash, or a quote is open."""
    if text.lstrip().startswith(("!", "#")):
        return False
    ended = len(text) - len(text.rstrip("\\"))
    return bool(scan(text).quote) or ended % 2 == 1
