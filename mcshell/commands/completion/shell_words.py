"""A line of bash, zsh or fish up to the cursor: its words, and how one more is written there.

Pure functions. Nothing is expanded: of a word that holds a variable, a command or a pattern that the
shell would put something else for, only that is known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Shell", "ShellLine", "quoted", "read_shell_line"]

#: The shells for which there is a script.
Shell: TypeAlias = Literal["bash", "zsh", "fish"]

_ENDS: Final = frozenset("\n;|&()")
"""What ends a command: another one begins behind it."""
_SPECIAL: Final = {"'": "", '"': '"\\$`\n'}
_SPECIAL_IN_FISH: Final = {"'": "'\\", '"': '"\\$\n'}
"""What a backslash inside quotes takes its meaning from."""
_BARE: Final = re.compile(r"[\w@%+=:,./-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellLine:
    """The command at the cursor: its finished words, and the one that is being typed.

    `quote` is the quote that is open at the cursor. `known` says that the word is what is written;
    else a variable or a command is in it, or half of an escape. `redirected`: it is a file for the
    shell to open.
    """

    words: tuple[str, ...]
    current: str
    quote: str = ""
    known: bool = True
    redirected: bool = False


class _Word:
    """A word that is being read."""

    def __init__(self, *, redirected: bool) -> None:
        self.parts: list[str] = []
        self.known = True
        self.redirected = redirected


class _ShellReader:
    """A place in a line, and what was read up to there."""

    def __init__(self, text: str, shell: Shell) -> None:
        self.letters = iter(text)
        self.shell = shell
        self.words: list[str] = []
        self.word: _Word | None = None
        self.quote = ""
        self.redirected = False

    def line(self) -> ShellLine:
        for letter in self.letters:
            if letter in _ENDS:
                self.words, self.word, self.redirected = [], None, False
            elif letter in " \t":
                self.end()
            elif letter in "<>":
                self.end()
                self.redirected = True
            else:
                self.letter(letter)
        word = self.word or _Word(redirected=self.redirected)
        return ShellLine(
            words=tuple(self.words),
            current="".join(word.parts),
            quote=self.quote,
            known=word.known,
            redirected=word.redirected,
        )

    def end(self) -> None:
        """A word ends here, if one has begun."""
        if self.word is None:
            return
        if not self.word.redirected:
            self.words.append("".join(self.word.parts))
        self.word, self.redirected = None, False

    def letter(self, letter: str) -> None:
        """Take a letter, or what it opens, into the word."""
        self.word = word = self.word or _Word(redirected=self.redirected)
        if letter in "'\"":
            word.parts += self.inside(letter, word)
        elif letter == "\\":
            self.escaped(word)
        else:
            word.known = word.known and letter not in "$`"
            word.parts.append(letter)

    def escaped(self, word: _Word) -> None:
        """Take the letter behind a backslash that stands outside quotes."""
        letter = next(self.letters, "")
        fish_means_another = self.shell == "fish" and letter.isalnum() and letter.isascii()
        word.known = word.known and bool(letter) and not fish_means_another
        if letter != "\n":
            word.parts.append(letter)

    def inside(self, quote: str, word: _Word) -> Iterator[str]:
        """The letters up to the quote that closes this one, or to the end of the line."""
        special = (_SPECIAL_IN_FISH if self.shell == "fish" else _SPECIAL)[quote]
        self.quote = quote
        for letter in self.letters:
            if letter == quote:
                self.quote = ""
                return
            if letter == "\\" and special:
                after = next(self.letters, "")
                word.known = word.known and bool(after)
                yield "" if after == "\n" else after if after in special else letter + after
                continue
            if quote == '"' and letter in "$`" and letter in special:
                word.known = False
            yield letter


def read_shell_line(text: str, shell: Shell) -> ShellLine:
    """Read the text before the cursor; only the command that is being typed counts."""
    return _ShellReader(text, shell).line()


def quoted(text: str, quote: str) -> str:
    r"""A text as it is written in bash, where this quote is open or none; readline closes the quote.

    It closes none behind the same letter, so that a text that ends with one closes its own. History
    (`!`) goes on inside double quotes, a backslash before it stays there: it stands outside of them.
    """
    if quote == "'":
        inside = text.replace("'", r"'\''")
    elif quote:
        inside = re.sub(r'["\\$`]', r"\\\g<0>", text).replace("!", "\"'!'\"")
    else:
        return text if _BARE.fullmatch(text) else re.sub(r"[^\w@%+=:,./-]", _escaped, text)
    return inside + quote if inside.endswith(quote) else inside


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"
