"""The compound language by lark's LALR parser and `grammar.lark`: the oracle of `mcshell.filters.compound`.

It was the parser until the node had to run without lark; its messages are kept as they were, so that
the tests can say where the parser's own are better.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput

from mcshell.errors import FilterError, did_you_mean
from mcshell.filters.compound import MAX_DEPTH, MAX_LENGTH
from mcshell.filters.data import declared
from mcshell.filters.facts import reader
from mcshell.filters.tree import (
    ClassTest,
    DataTest,
    Expression,
    FactTest,
    Not,
    conjunction,
    depth,
    disjunction,
)
from mcshell.filters.values import Regex, SpelledText, Value, pair, read_operator, read_value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["parse"]

_ESCAPE = re.compile(r"\\([\\'\"])")
_WANTED: Final[Mapping[str, str]] = {
    "NAME": "a fact or a class",
    "OPERATOR": "an operator",
    "VALUE": "a value",
    "OUTPUT": "'.OUTPUT' of the data plugin",
    "_AND": "'and'",
    "_OR": "'or'",
    "RPAR": "')'",
}


def parse(text: str) -> Expression:
    """Parse a compound filter; FilterError says in one line where it broke and what was meant."""
    if len(text) > MAX_LENGTH:
        raise FilterError(
            f"filter of {len(text)} characters: more than {MAX_LENGTH}", text, MAX_LENGTH
        )
    if not text.strip():
        raise FilterError("an empty compound filter: leave it out to mean every node", text, 1)
    try:
        expression: Expression = _parser().parse(text)  # type: ignore[assignment]  # the embedded transformer makes it
    except UnexpectedInput as error:
        raise _explained(error, text) from None
    except FilterError as error:
        raise _placed(error, text) from error
    if depth(expression) > MAX_DEPTH:
        raise FilterError(f"filter nested deeper than {MAX_DEPTH} levels: {_short(text)}", text)
    return expression


def unquote(quoted: str) -> str:
    r"""Take the quotes off; a backslash before a quote or a backslash goes too."""
    return _ESCAPE.sub(r"\1", str(quoted[1:-1]))


@v_args(inline=True)
class _Build(Transformer[Token, Any]):
    """Makes the tree while the parser reduces: no recursion, however deep the text is nested."""

    def disjunction(self, *operands: Expression) -> Expression:
        return disjunction(*operands)

    def conjunction(self, *operands: Expression) -> Expression:
        return conjunction(*operands)

    def negated(self, operand: Expression) -> Expression:
        return Not(operand)

    def value(self, token: Token) -> Value:
        try:
            return _read(token)
        except FilterError as error:
            raise _at(error, token) from error

    def fact(self, name: Token, written: Token, value: Value) -> Expression:
        try:
            path = _word(name)
            reader(path)
            return FactTest(path, *pair(read_operator(str(written)), value))
        except FilterError as error:
            raise _at(error, written) from error

    def classified(self, name: Token) -> Expression:
        try:
            value = SpelledText(unquote(name)) if name.type == "QUOTED" else _read(name)
            return ClassTest(SpelledText(value.text) if isinstance(value, SpelledText) else value)
        except FilterError as error:
            raise _at(error, name) from error

    def data(self, plugin: Token, *rest: Any) -> Expression:
        params = _word(rest[0]) if len(rest) == 4 else None
        output, written, value = rest[-3:]
        try:
            declared(str(plugin), str(output[1:]))
            return DataTest(
                str(plugin), params, str(output[1:]), *pair(read_operator(str(written)), value)
            )
        except FilterError as error:
            raise _at(error, plugin if error.column is None else written) from error


def _word(token: Token) -> str:
    return unquote(token) if token.type == "QUOTED" else str(token)


def _read(token: Token) -> Value:
    if token.type == "QUOTED":
        return SpelledText.of(unquote(token), quoted=True)
    return Regex.of(token[1:-1]) if token.type == "REGEX" else read_value(str(token))


def _at(error: FilterError, token: Token) -> FilterError:
    return FilterError(str(error), "", (token.start_pos or 0) + 1)


def _placed(error: FilterError, text: str) -> FilterError:
    message = f"{error} at column {error.column} of {_short(text)}"
    return FilterError(message, text, error.column)


def _explained(error: UnexpectedInput, text: str) -> FilterError:
    position = error.pos_in_stream if error.pos_in_stream is not None else -1
    wanted: set[str] = set(
        error.allowed or ()
        if isinstance(error, UnexpectedCharacters)
        else getattr(error, "expected", ())
    )
    at_end = (
        position < 0
        or position >= len(text)
        or getattr(getattr(error, "token", None), "type", "") == "$END"
    )
    if at_end:
        position = len(text)
    if not _unclosed(text[:position]):
        wanted.discard("RPAR")
    words = [word for name, word in _WANTED.items() if name in wanted]
    if "RPAR" in wanted and at_end and (bracket := _unclosed(text)):
        what = f"the '(' at column {bracket} is never closed"
    elif text[position : position + 1] in ("'", '"'):
        what = f"a quote at column {position + 1} that is never closed, or not expected here"
    else:
        found = "the end" if at_end else repr(text[position:].split(maxsplit=1)[0][:40])
        what = f"expected {' or '.join(words) or 'the end'} at column {position + 1}, found {found}"
        if {"_AND", "_OR"} & wanted and not at_end:
            what += did_you_mean(text[position:].split(maxsplit=1)[0].lower(), ("and", "or"))
    return FilterError(f"{what}: {_short(text)}", text, position + 1)


def _unclosed(text: str) -> int:
    """Column of the last bracket that stays open; those in quotes and regexes hardly matter."""
    stack: list[int] = []
    for column, char in enumerate(text, 1):
        if char == "(":
            stack.append(column)
        elif char == ")" and stack:
            stack.pop()
    return stack[-1] if stack else 0


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


@cache
def _parser() -> Lark:
    return Lark.open(
        "grammar.lark",
        rel_to=__file__,
        parser="lalr",
        transformer=_Build(),
        maybe_placeholders=False,
    )
