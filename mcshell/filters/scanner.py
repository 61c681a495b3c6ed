r"""What a compound filter is read with: its tokens one by one, and the line that says where it broke.

What a character means depends on what may stand there: `!` negates before a test and begins an
operator after a name; `/` is a regex where one may stand, else a part of a value. So a token is asked
for by the kinds that may come. No pattern can match in two ways: reading is linear in the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from mcshell.errors import FilterError, did_you_mean
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CLOSE",
    "JOINT",
    "OPEN",
    "OPERAND",
    "OPERATOR",
    "OUTPUT",
    "PARAMETER",
    "VALUE",
    "FilterScanner",
    "Token",
    "shortened",
]

_T = TypeVar("_T")
_WORD_ENDS = r"""(?![^\s()!'"])"""
_QUOTED = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_REGEX = r"/(?:\\.|[^\\/])+/(?=[\s)]|\Z)"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text, without the spaces before it; `column` counts from 1."""

    kind: str
    text: str
    column: int


@dataclass(frozen=True, slots=True)
class _Kinds:
    """The kinds of token that may stand at a place, and what a person calls them."""

    words: tuple[str, ...]
    pattern: re.Pattern[str]


def _kinds(*words: str, **patterns: str) -> _Kinds:
    either = "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in patterns.items())
    return _Kinds(words, re.compile(rf"\s*(?:{either})", re.DOTALL))


OPERAND: Final = _kinds(
    "a fact or a class",
    negation=f"!|not{_WORD_ENDS}",
    open=r"\(",
    quoted=_QUOTED,
    regex=_REGEX,
    name=r"""[^\s()=!<>~'"/][^\s()=!<>~'"]*""",
)
# Any run of operator characters: `read_operator` says what an unknown one may have meant.
OPERATOR: Final = _kinds("an operator", operator=r"[=!<>~]+")
VALUE: Final = _kinds("a value", quoted=_QUOTED, regex=_REGEX, value=r"""[^\s()'"=!<>~][^\s()]*""")
OPEN: Final = _kinds(open=r"\(")
PARAMETER: Final = _kinds(quoted=_QUOTED, parameter=r"""[^\s()'"]+""")
CLOSE: Final = _kinds("')'", close=r"\)")
OUTPUT: Final = _kinds("'.OUTPUT' of the data plugin", output=r"\.\w+")
JOINT: Final = _kinds(
    *("'and'", "'or'", "')'"),
    conjunction=f"and{_WORD_ENDS}",
    disjunction=f"or{_WORD_ENDS}",
    close=r"\)",
    end=r"\Z",
)
_QUOTE: Final = re.compile(_QUOTED, re.DOTALL)


class FilterScanner:
    """Gives the tokens of a text; every bracket that it gives is closed before the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._open: list[int] = []
        self._missed: list[str] = []

    def take(self, kinds: _Kinds) -> Token | None:
        """Give the next token if it is of these kinds; else others may be tried."""
        match = kinds.pattern.match(self._text, self._place)
        if match is None:
            self._missed.extend(kinds.words)
            return None
        kind = match.lastgroup or ""
        token = Token(kind, match[kind], match.start(kind) + 1)
        if kind == "open":
            self._open.append(token.column)
        elif kind == "end" and self._open:
            self._missed.append("')'")
            return None
        elif kind == "close":
            if not self._open:
                self._missed.clear()
                return None
            self._open.pop()
        self._missed.clear()
        self._place = match.end()
        return token

    def expect(self, kinds: _Kinds) -> Token:
        """Give the next token, which must be of these kinds; FilterError names all that were tried."""
        token = self.take(kinds)
        if token is None:
            raise self._refusal()
        return token

    def at(self, token: Token, make: Callable[..., _T], *arguments: object) -> _T:
        """Make something of a token; a FilterError is raised again with the token's column."""
        try:
            return make(*arguments)
        except FilterError as error:
            message = f"{error} at column {token.column} of {shortened(self._text)}"
            raise FilterError(message, self._text, token.column) from error

    def _refusal(self) -> FilterError:
        rest = self._text[self._place :].lstrip()
        column = len(self._text) - len(rest) + 1
        wanted = [word for word in self._missed if word != "')'" or self._open]
        quote = _QUOTE.match(rest)
        if not rest and "')'" in wanted:
            what = f"the '(' at column {self._open[-1]} is never closed"
        elif rest.startswith(("'", '"')) and quote is None:
            what = f"a quote at column {column} that is never closed"
        else:
            found = (quote[0] if quote else rest.split(maxsplit=1)[0])[:40] if rest else ""
            shown = repr(found) if rest else "the end"
            what = f"expected {' or '.join(wanted) or 'the end'} at column {column}, found {shown}"
            if "'and'" in wanted and rest:
                what += did_you_mean(found.lower(), ("and", "or"))
        return FilterError(f"{what}: {shortened(self._text)}", self._text, column)


def shortened(text: str) -> str:
    """Quote a filter for a line of text: the beginning of a long one."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")  # noqa: PLR2004 - a line's width
