"""One reading of lines for every face (mcshell/README.md §3): where each begins and ends, and its words.

A pure function of the text, linear in its length. It never fails: what a line lacks is in `open`.

A line ends at a line end or `;`. Words are quoted as in a POSIX shell; `#` before a word begins a
comment, a backslash at the end of a line continues it. Before a word, `|` gives the result to a
shell's command, which goes on to its own end (a `;` inside its loops is its own), and `>` or `>>` to
a file; a line that begins with `!` is the shell's. What a verb takes as free text (`Verb.free`) has
none of these signs.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Final, TypeAlias

from mcshell.commands.grammar.verbs import SAME, VERBS
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mcshell.commands.grammar.verbs import Verb

__all__ = ["Alias", "Line", "Word", "named_verb", "no_alias", "read_lines", "read_to_cursor"]

#: Gives the words for which the first word of a line stands; none where it is no alias.
Alias: TypeAlias = "Callable[[str], Sequence[str]]"

_SPACE: Final = re.compile(r"(?:[^\S\n]|\\\n)+")
_BARE: Final = re.compile(r"(?:[^\s'\"\\;]+|\\.)+", re.DOTALL)
_COMMENT: Final = re.compile(r"#[^\n]*")
_SINGLE: Final = re.compile(r"'[^']*")
_DOUBLE: Final = re.compile(r'"(?:[^"\\]+|\\.)*', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(?:\n|(.))", re.DOTALL)
_ESCAPED_INSIDE: Final = re.compile(r'\\(?:\n|(["\\]))')
_SQL: Final = re.compile(r"(?:[^'\";\n\\#]+|\\(?!\n|\Z))+")
_PAIR: Final = re.compile(r"(?:\\.)+", re.DOTALL)
_SHELL: Final = re.compile(r"[^\s'\"\\;|&()]+")
_CLOSED_BY: Final = dict.fromkeys(("while", "until", "for", "select"), "done") | {
    "if": "fi",
    "case": "esac",
    "{": "}",
}
"""The words of a shell that open something, and what closes it."""
_MOST_OPTIONS: Final = 8
_COMMAND_FOLLOWS: Final = frozenset(
    ("while", "until", "if", "do", "then", "else", "elif", "{", "!")
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word without its quotes, and where it stands in the text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a text.

    Args:
        number: the text's line on which it begins, from 1.
        text: as it is written.
        words: the words as they are written.
        meant: the same, with those of an alias in its place.
        begun: how many of these stand before the verb that does the work (`watch 5 ping`: two).
        sign: `|`, `>` or `>>`, `!` for a line of the shell's, or nothing.
        rest: what stands behind the sign: the shell's command as one word, or a file's name; more words
            are too many.
        open: what it lacks: a quote, a letter behind a backslash, or the shell's `done`, `fi` …
        comment: whether it ends in a comment.
    """

    number: int
    text: str
    words: tuple[Word, ...] = ()
    meant: tuple[str, ...] = ()
    begun: int = 0
    sign: str = ""
    rest: tuple[Word, ...] = ()
    open: str = ""
    comment: bool = False


def no_alias(_word: str) -> Sequence[str]:
    """Know of no alias."""
    return ()


def read_lines(text: str, alias: Alias = no_alias) -> list[Line]:
    """The lines of a text, without those that are empty or a comment."""
    return [line for line in _LineReader(text, alias).lines() if line.words or line.sign]


def read_to_cursor(text: str, alias: Alias = no_alias) -> Line:
    """The last line of a text that is still being typed; it may be empty."""
    *_, last = _LineReader(text, alias).lines()
    return last


def named_verb(words: Sequence[str]) -> Verb | None:
    """The verb that words begin with; two words (`pki issue`) win over one."""
    first = words[0] if words else ""
    return VERBS.get(" ".join(words[:2])) or VERBS.get(SAME.get(first, first))


@dataclass(slots=True, kw_only=True)
class _Heard:
    """What the words of a line have said so far, as far as it decides how the next is read."""

    alias: Alias
    meant: list[str] = field(default_factory=list)
    begun: int = 0  # where the words of the verb in force begin
    verb: Verb | None = None
    signs: bool = True
    query: bool = False  # the next word may be free text
    valued: frozenset[str] = frozenset()

    def hear(self, word: str) -> None:
        """Take the next word."""
        fresh = len(self.meant) == self.begun
        for one in (fresh and self.alias(word)) or (word,):
            self._one(one)

    def _one(self, word: str) -> None:
        self.meant.append(word)
        count = len(self.meant) - self.begun
        if count <= 2:  # noqa: PLR2004 - the names of verbs have at most two words
            self.verb = named_verb(self.meant[self.begun :])
        free = "" if self.verb is None else self.verb.free
        if free == "line" and count > 1:
            self.begun, self.verb = len(self.meant), None
        elif free == "--" and word == "--":
            self.signs = False
        elif free == "query":
            self._ask(word, first=count == 1)

    def _ask(self, word: str, *, first: bool) -> None:
        """Free text may follow the verb, its options and their values; nothing behind a quoted query."""
        assert self.verb is not None
        if first:
            self.valued = frozenset(flag for flag, value in self.verb.flags.items() if value)
            self.query = True
        elif self.query and not word.startswith("-"):
            self.query = self.meant[-2] in self.valued

    @property
    def takes_text(self) -> bool:
        """Whether what comes next is free text, unless it is quoted or an option."""
        return self.query and self.meant[-1] not in self.valued


class _LineReader:
    """A place in a text, and what was read up to there."""

    def __init__(self, text: str, alias: Alias) -> None:
        self._text = text
        self._alias = alias
        self._at = 0
        self._number = 1
        self._counted = 0
        self._open = ""
        self._comment = False

    def lines(self) -> Iterator[Line]:
        """Every line, also empty ones: there is one more than there are ends of lines."""
        while True:
            yield self._line()
            if self._at >= len(self._text):
                return
            self._at += 1
            if self._at == len(self._text):
                yield Line(number=self._count(), text="")
                return

    def _count(self) -> int:
        self._number += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._number

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _next(self) -> str:
        """The letter that comes next; nothing at the end of the text."""
        return self._text[self._at : self._at + 1]

    def _line(self) -> Line:
        self._skip(_SPACE)
        number, begun = self._count(), self._at
        self._open, self._comment = "", False
        if self._next() == "!":
            return self._shell_line(number)
        heard = _Heard(alias=self._alias)
        words: list[Word] = []
        end = begun
        while (letter := self._letter()) and letter not in "\n;":
            if letter in "|>" and heard.signs:
                return self._sent(number, begun, words, heard)
            if heard.takes_text and letter not in "-'\"":
                found = self._free_text(heard)
            else:
                found = [self._word()]
            for word in found:
                heard.hear(word.text)
            words += found
            end = self._at
        return Line(
            number=number,
            text=self._text[begun:end],
            words=tuple(words),
            meant=tuple(heard.meant),
            begun=heard.begun,
            open=self._open,
            comment=self._comment,
        )

    def _letter(self) -> str:
        """The first letter of the next word; a line end, `;` or nothing where there is none."""
        self._skip(_SPACE)
        self._comment = bool(self._skip(_COMMENT))
        return self._next()

    def _shell_line(self, number: int) -> Line:
        begun = self._at
        end = self._text.find("\n", begun)
        self._at = len(self._text) if end < 0 else end
        command = Word(self._text[begun + 1 : self._at].strip(), begun + 1, self._at)
        return Line(number=number, text=self._text[begun : self._at], sign="!", rest=(command,))

    def _sent(self, number: int, begun: int, words: list[Word], heard: _Heard) -> Line:
        """The rest of a line whose result goes elsewhere."""
        place = self._at
        sign = self._next()
        self._at += 1
        if sign == "|":
            rest = [self._command()]
        else:
            if self._next() == ">":
                sign, self._at = ">>", self._at + 1
            rest = []
            while (letter := self._letter()) and letter not in "\n;":
                rest.append(self._word())
        end = rest[-1].end if rest else place + len(sign)
        return Line(
            number=number,
            text=self._text[begun:end],
            words=tuple(words),
            meant=tuple(heard.meant),
            begun=heard.begun,
            sign=sign,
            rest=tuple(rest),
            open=self._open,
            comment=self._comment,
        )

    def _word(self) -> Word:
        begun, parts = self._at, list[str]()
        while (letter := self._next()) and not letter.isspace() and letter != ";":
            if letter in "'\"":
                parts.append(self._quoted(letter))
            elif bare := self._skip(_BARE):
                parts.append(_ESCAPED.sub(r"\1", bare) if "\\" in bare else bare)
            else:
                self._lone_backslash()
        return Word("".join(parts), begun, self._at)

    def _quoted(self, quote: str) -> str:
        """What stands between two quotes; without the second it is to the end of the text."""
        text = self._skip(_SINGLE if quote == "'" else _DOUBLE)[1:]
        if self._next() == quote:
            self._at += 1
        else:
            self._at, self._open = len(self._text), quote
        return text if quote == "'" else _ESCAPED_INSIDE.sub(r"\1", text)

    def _lone_backslash(self) -> str:
        """Pass one at the end of the text: a letter is to follow."""
        self._at, self._open = len(self._text), "\\"
        return ""

    def _free_text(self, heard: _Heard) -> list[Word]:
        """SQL to the end of the line, quoted as in SQL; long options at its end are the line's."""
        begun, end, parts = self._at, self._at, [""]
        while (letter := self._next()) and letter not in "\n;":
            if letter == "#" and parts[-1][-1:].isspace():
                self._comment = bool(self._skip(_COMMENT))
                continue
            parts.append(self._piece_of_text(letter))
            end = self._at
        return _without_options("".join(parts).rstrip(), begun, end, heard)

    def _piece_of_text(self, letter: str) -> str:
        begun = self._at
        if letter in "'\"":
            end = self._text.find(letter, begun + 1) + 1
            if not end:
                self._open = letter
            self._at = end or len(self._text)
        elif not self._skip(_SQL):
            if letter == "\\":
                return " " if self._skip(_SPACE) else self._lone_backslash()
            self._at += 1
        return self._text[begun : self._at]

    def _command(self) -> Word:
        """A shell's command, to its own end: line ends and `;` inside its loops are its own."""
        self._skip(_SPACE)
        begun = end = self._at
        closers: list[str] = []
        first = True  # a command begins here
        while letter := self._next():
            if letter in "\n;" and not closers:
                break
            if letter.isspace() or letter in ";|&()":
                first = _passed(letter, closers, first=first)
                self._at += 1
                end = end if letter.isspace() else self._at
                continue
            if letter == "#" and self._text[self._at - 1].isspace():
                self._skip(_COMMENT)
            else:
                first = self._shell_word(letter, closers, first=first)
            end = self._at
        self._open = self._open or (closers[-1] if closers else "")
        return Word(self._text[begun:end], begun, end)

    def _shell_word(self, letter: str, closers: list[str], *, first: bool) -> bool:
        """Take a piece of a command; whether another command may begin behind it."""
        if letter in "'\"":
            self._quoted(letter)
        elif letter == "\\" and not self._skip(_PAIR):
            self._lone_backslash()
        elif letter != "\\":
            word = self._skip(_SHELL)
            if not first:
                return False
            if [word] == closers[-1:]:
                closers.pop()
            elif word in _CLOSED_BY:
                closers.append(_CLOSED_BY[word])
            return word in _COMMAND_FOLLOWS
        return False


def _passed(letter: str, closers: list[str], *, first: bool) -> bool:
    """Take a sign or a blank of a command; whether another command may begin behind it."""
    if letter == "(":
        closers.append(")")
    elif letter == ")":
        if closers[-1:] == [")"]:
            closers.pop()
        return closers[-1:] == ["esac"]  # behind a pattern
    return first or letter in "\n;|&("


def _without_options(query: str, begun: int, end: int, heard: _Heard) -> list[Word]:
    """The query and, each a word, the long options at its end."""
    assert heard.verb is not None
    known = heard.verb.flags
    options: list[Word] = []
    for _ in range(_MOST_OPTIONS):
        *_, flag = ["", *query.rsplit(None, 1)]
        name, equals, _ = flag.partition("=")
        words = [flag]
        if known.get(name) is not bool(equals):
            *_, name, flag = ["", "", *query.rsplit(None, 2)]
            words = [name, flag]
            if not known.get(name) or flag.startswith("-"):
                break
        if not name.startswith("--") or "'" in flag or '"' in flag:
            break
        for one in reversed(words):
            query = query.removesuffix(one).rstrip()
        options = [*(Word(one, end, end) for one in words), *options]
    return [Word(query, begun, end), *options]
