"""Reads the literals of Ruby: strings, heredocs, symbols, numbers, regexes, %-literals.

One cursor over the text. A heredoc's body stands after its line: when the cursor reaches the end
of that line it goes on behind the body.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NoReturn

from mcshell.ddl.ruby.syntax import (
    ArrayLiteral,
    InterpolatedString,
    Literal,
    RegexpLiteral,
    SymbolLiteral,
)
from mcshell.errors import DDLError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.ddl.ruby.syntax import Expression

__all__ = ["MAX_SIZE", "Exhausted", "Scanner"]

MAX_SIZE = 1024 * 1024
"""Characters of a `.ddl` file."""

MAX_FLAWS = 50
"""Flaws of one file that are named."""

_BLANK = re.compile(r"(?:[ \t\r\f]|\\\r?\n|#[^\n]*)+")
_COMMENT_BLOCK = re.compile(r"=begin\b.*?^=end\b[^\n]*", re.DOTALL | re.MULTILINE)
_IDENTIFIER = re.compile(r"@{0,2}[A-Za-z_][A-Za-z0-9_]*(?:[?!](?!=))?")
_NUMBER = re.compile(
    r"[-+]?(?:0x[0-9a-fA-F]+|0b[01]+|[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][-+]?[0-9]+)?)"
)
_SYMBOL = re.compile(r":(?:[A-Za-z_][A-Za-z0-9_]*[?!=]?(?!>)|[A-Za-z_][A-Za-z0-9_]*)")
_HEREDOC = re.compile(r"""<<([-~]?)(?:([A-Z_a-z][A-Za-z0-9_]*)|"([^"\n]+)"|'([^'\n]+)')""")
_PERCENT = re.compile(r"%([qQwWiIr]?)([^\w\s])")
_LISTED = re.compile(r"(?:\\\s|\S)+")
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}
_FLAGS = re.compile(r"[imxounse]*")
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "s": " ",
    "r": "\r",
    "e": "\x1b",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\n": "",
}
_CODE = re.compile(r"x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F \t]+)\}")
_ASCII = 0x7F
_RAW = 0xDC00
"""Added to a byte that is no character alone, as Python's surrogateescape does."""
_MAX_DIGITS = 100
_MAX_INNER = 200


class Exhausted(DDLError):
    """A file that would take too much: nothing of it is read."""


class Scanner:
    """The cursor and what it can read without knowing the grammar.

    `flaws` takes what cannot be used; where it is None, that is an error.
    """

    def __init__(self, text: str, path: str, flaws: list[str] | None = None) -> None:
        self.text = text
        self.path = path
        self.at = 0
        self.flaws = flaws
        self.begun = 0
        """Where the statement begins that is being read."""
        self._resume: dict[int, int] = {}
        self._inner = 0
        if len(text) > MAX_SIZE:
            raise DDLError(f"{len(text)} characters: more than {MAX_SIZE}", path)

    def fail(self, what: str, at: int | None = None, kind: type[DDLError] = DDLError) -> NoReturn:
        """Raise DDLError with line and column (from 1)."""
        where = min(self.at if at is None else at, len(self.text))
        line = self.text.count("\n", 0, where) + 1
        column = where - (self.text.rfind("\n", 0, where) + 1) + 1
        raise kind(f"{what} at line {line}, column {column}", self.path)

    def flaw(self, error: DDLError) -> None:
        """Note what cannot be used; raises it where nobody wants to know, or it is too much."""
        if self.flaws is None or isinstance(error, Exhausted):
            raise error
        line = str(error).removeprefix(f"{self.path}: ")
        if line not in self.flaws and len(self.flaws) < MAX_FLAWS:
            self.flaws.append(line)

    def expression(self) -> Expression:
        """Read an expression; the parser's."""
        raise NotImplementedError

    def blank(self) -> None:
        """Skip spaces and comments up to the end of the line."""
        if found := _BLANK.match(self.text, self.at):
            self.at = found.end()

    def blanks(self) -> None:
        """Skip spaces, comments and ends of lines."""
        while True:
            self.blank()
            if self.peek() == "\n":
                self.at = self._resume.get(self.at, self.at + 1)
                if self.text[self.at : self.at + 8] in ("__END__", "__END__\n"):
                    self.at = len(self.text)
            elif self.peek() == ";":
                self.at += 1
            elif (found := _COMMENT_BLOCK.match(self.text, self.at)) and self._starts_line():
                self.at = found.end()
            else:
                return

    def peek(self) -> str:
        """The character at the cursor, nothing at the end."""
        return self.text[self.at : self.at + 1]

    def word(self) -> str:
        """The identifier at the cursor, nothing without one; the cursor stays."""
        found = _IDENTIFIER.match(self.text, self.at)
        return found[0] if found else ""

    def take(self, token: str, *, required: bool = False) -> bool:
        """Go over a token; DDLError if it is required and not there."""
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        if required:
            found = self.text[self.at : self.at + 20].split("\n", 1)[0]
            self.fail(f"expected {token!r}, found {found!r}" if found else f"expected {token!r}")
        return False

    def literal(self) -> Expression | None:  # noqa: PLR0911 - one for each kind
        """Read a literal but for arrays and hashes; None when there is none."""
        start, char = self.at, self.peek()
        if char in ("'", '"'):
            self.at += 1
            return self.string(start, char, char, interpolated=char == '"')
        if char == ":" and (made := self._symbol(start)) is not None:
            return made
        if char == "/":
            self.at += 1
            return self._regexp(start, "/", "/")
        if char == "%" and (found := _PERCENT.match(self.text, self.at)):
            self.at = found.end()
            return self._percent(start, found[1], found[2])
        if char == "<" and (found := _HEREDOC.match(self.text, self.at)):
            return self._heredoc(start, found)
        if found := _NUMBER.match(self.text, self.at):
            self.at = found.end()
            return self._number(start, found[0])
        return None

    def string(self, start: int, opening: str, closing: str, *, interpolated: bool) -> Expression:
        """Read a string's rest, the cursor behind its opening."""
        parts: list[str | Expression] = []
        plain: list[str] = []
        for char in self._delimited(start, opening, closing, "a string"):
            if char == "\\":
                plain.append(self._escape() if interpolated else self._quoted(opening + closing))
            elif char == "#" and interpolated and self.peek() == "{":
                parts.append(_of_bytes(plain))
                plain = []
                parts.append(self._interpolation())
            else:
                plain.append(char)
        return _text([*parts, _of_bytes(plain)], start)

    def _delimited(self, start: int, opening: str, closing: str, what: str) -> Iterator[str]:
        """Each character up to the closing delimiter, the cursor behind it; pairs nest."""
        depth = 0
        while char := self.peek():
            self.at += 1
            if char == closing and depth == 0:
                return
            if char == opening != closing:
                depth += 1
            elif char == closing:
                depth -= 1
            yield char
        self.fail(f"{what} that never ends", start)

    def _interpolation(self) -> Expression:
        self.at += 1
        self.blanks()
        value = self.expression()
        self.blanks()
        self.take("}", required=True)
        return value

    def _quoted(self, delimiters: str) -> str:
        char = self.peek()
        if char and (char == "\\" or char in delimiters):
            self.at += 1
            return char
        return "\\"

    def _escape(self) -> str:
        if found := _CODE.match(self.text, self.at):
            byte = int(found[1], 16) if found[1] else int(found[2] or "0", 8) & 0xFF
            codes = [int(code, 16) for code in (found[3] or found[4] or "").split()]
            if any(code > sys.maxunicode or 0xD800 <= code < 0xE000 for code in codes):  # noqa: PLR2004 - no characters
                self.fail("an escape that is no character")
            self.at = found.end()
            return "".join(map(chr, codes or [byte if byte <= _ASCII else byte + _RAW]))
        char = self.peek()
        if char in ("c", "C", "M"):
            self.fail(f"the escape \\{char} is not read")
        self.at += 1
        return _ESCAPES.get(char, char)

    def _symbol(self, start: int) -> Expression | None:
        following = self.text[self.at + 1 : self.at + 2]
        if following in ("'", '"') and following:
            self.at += 2
            made = self.string(start, following, following, interpolated=following == '"')
            if isinstance(made, InterpolatedString):
                return InterpolatedString(made.parts, start, symbol=True)
            return Literal(SymbolLiteral(made.value), start) if isinstance(made, Literal) else None
        if found := _SYMBOL.match(self.text, self.at):
            self.at = found.end()
            return Literal(SymbolLiteral(found[0][1:]), start)
        return None

    def _number(self, start: int, text: str) -> Literal:
        digits = text.replace("_", "")
        if len(digits) > _MAX_DIGITS:
            self.fail("a number that is too long", start)
        if digits.lstrip("+-")[:2] in ("0x", "0b"):
            return Literal(int(digits, 0), start)
        if re.search(r"[.eE]", digits):
            return Literal(float(digits), start)
        bare = digits.lstrip("+-")
        octal = len(bare) > 1 and bare[0] == "0"
        if octal and not set(bare) <= set("01234567"):
            self.fail("a number that begins with 0 must be octal", start)
        return Literal(int(digits, 8 if octal else 10), start)

    def _regexp(self, start: int, opening: str, closing: str) -> Literal:
        """Read a regex; a backslash before the delimiter goes, others stay."""
        source: list[str] = []
        for char in self._delimited(start, opening, closing, "a regex"):
            if char == "\\":
                following = self.peek()
                self.at += 1
                source.append(following if following == closing == opening else char + following)
                continue
            if char == "#" and self.peek() == "{":
                self.fail("a regex with #{…} in it is not read", self.at - 1)
            source.append(char)
        flags = _FLAGS.match(self.text, self.at)
        assert flags is not None
        self.at = flags.end()
        return Literal(RegexpLiteral("".join(source), flags[0]), start)

    def _percent(self, start: int, kind: str, opening: str) -> Expression:
        closing = _CLOSING.get(opening, opening)
        if kind == "r":
            return self._regexp(start, opening, closing)
        text = self.string(start, opening, closing, interpolated=kind in ("", "Q", "W", "I"))
        if kind in ("", "q", "Q"):
            return text
        if not isinstance(text, Literal):
            self.fail(f"a %{kind} list with #{{…}} in it is not read", start)
        make = SymbolLiteral if kind in "iI" else str
        words = (re.sub(r"\\(\s)", r"\1", word) for word in _LISTED.findall(text.value))
        return ArrayLiteral(tuple(Literal(make(word), start) for word in words), start)

    def _heredoc(self, start: int, found: re.Match[str]) -> Expression:
        self.at = found.end()
        end_of_line = self.text.find("\n", self.at)
        if end_of_line < 0:
            self.fail("a heredoc without a body", start)
        begin = self._resume.get(end_of_line, end_of_line + 1)
        indented = r"[ \t]*" if found[1] else ""
        word = found[2] or found[3] or found[4]
        end = re.compile(rf"^{indented}{re.escape(word)}\r?$", re.MULTILINE).search(
            self.text, begin
        )
        if end is None:
            self.fail(f"a heredoc that no {word} ends", start)
        body = self.text[begin : end.start()]
        self._resume[end_of_line] = min(end.end() + 1, len(self.text))
        if found[1] == "~":
            body = _outdented(body)
        if found[4]:
            return Literal(body, start)
        return self._inside(body, begin, start)

    def _inside(self, body: str, begin: int, start: int) -> Expression:
        """Read a heredoc's body as an interpolated string, in its place of the file."""
        before = ""
        if "#{" in body:
            self._inner += 1
            if self._inner > _MAX_INNER:
                self.fail(f"more than {_MAX_INNER} heredocs with #{{…}} in them", start, Exhausted)
            before = self.text[:begin]
        inner = type(self)(f"{before}{body.replace(chr(0), '')}\0", self.path)
        inner.at = len(before)
        return inner.string(start, "\0", "\0", interpolated=True)

    def _starts_line(self) -> bool:
        return self.at == 0 or self.text[self.at - 1] == "\n"


def _of_bytes(plain: list[str]) -> str:
    """A text in which what was written byte by byte is what the bytes mean."""
    return "".join(plain).encode(errors="surrogateescape").decode(errors="replace")


def _text(parts: list[str | Expression], start: int) -> Expression:
    if len(parts) == 1:
        return Literal(parts[0], start)
    return InterpolatedString(tuple(part for part in parts if part != ""), start)


def _outdented(body: str) -> str:
    lines = body.split("\n")
    indents = [len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()]
    least = min(indents, default=0)
    return "\n".join(line[least:] if line.strip() else line.lstrip(" \t") for line in lines)
