"""A line that is still being typed: what stands before the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.commands.grammar.reading import no_alias, read_to_cursor
from mcshell.values import dataclass

if TYPE_CHECKING:
    from mcshell.commands.grammar.reading import Alias

__all__ = ["Scan", "incomplete", "scan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What stands before the cursor: finished words, and the one that is being typed.

    `start` is where that one begins in the line, `quote` the quote that is open at the cursor.
    `sink` is `|`, `>` or `>>` once the line's result is sent elsewhere, `!` on a line of the shell's,
    `#` in a comment.
    """

    words: tuple[str, ...]
    current: str
    start: int
    quote: str
    sink: str


def scan(text: str, alias: Alias = no_alias) -> Scan:
    """Read the text before the cursor; only its last line (after `;` or a line end) counts."""
    line = read_to_cursor(text, alias)
    words = line.rest if line.sign else line.words
    typed = words[-1] if words and words[-1].end == len(text) else None
    if line.sign or (typed and len(words) == 1):  # what is still being typed is no alias yet
        known = tuple(word.text for word in words)
    else:
        known = line.meant[line.begun :]
    return Scan(
        words=known[:-1] if typed else known,
        current=typed.text if typed else "",
        start=typed.start if typed else len(text),
        quote=line.open if line.open in ("'", '"') else "",
        sink="#" if line.comment else line.sign,
    )


def incomplete(text: str) -> bool:
    """Whether a line goes on on the next: it ends with a backslash, or something is left open."""
    return bool(read_to_cursor(text).open)
