r"""The compound filter's parser: MCollective's language, with quotes, spaces and dotted facts.

::

    filter   = every ("or" every)*
    every    = operand ("and" operand)*
    operand  = ("!" | "not") operand | "(" filter ")" | fact | class | data
    fact     = (name | quoted) operator value
    class    = name | quoted | regex
    data     = name "(" (quoted | parameter)? ")" "." output operator value
    value    = word | quoted | regex

`scanner` says what each token is. Open brackets are on a list of ours, not on Python's stack: the text
may come from anyone, and nests as deep as it is long.
"""

from __future__ import annotations

import re

from mcshell.errors import FilterError
from mcshell.filters.data import declared
from mcshell.filters.facts import reader
from mcshell.filters.scanner import (
    CLOSE,
    JOINT,
    OPEN,
    OPERAND,
    OPERATOR,
    OUTPUT,
    PARAMETER,
    VALUE,
    FilterScanner,
    Token,
    shortened,
)
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

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "parse", "unquote"]

MAX_LENGTH = 8192
MAX_DEPTH = 50
"""Characters of a filter, levels of its tree: a bracket that changes nothing is none."""

_ESCAPE = re.compile(r"\\([\\'\"])")


def parse(text: str) -> Expression:
    """Parse a compound filter; FilterError says in one line where it broke and what was meant."""
    if len(text) > MAX_LENGTH:
        raise FilterError(
            f"filter of {len(text)} characters: more than {MAX_LENGTH}", text, MAX_LENGTH
        )
    if not text.strip():
        raise FilterError("an empty compound filter: leave it out to mean every node", text, 1)
    expression = _expression(FilterScanner(text))
    if depth(expression) > MAX_DEPTH:
        raise FilterError(f"filter nested deeper than {MAX_DEPTH} levels: {shortened(text)}", text)
    return expression


def unquote(quoted: str) -> str:
    r"""Take the quotes off; a backslash before a quote or a backslash goes too."""
    return _ESCAPE.sub(r"\1", quoted[1:-1])


class _Bracket:
    """What stands in an open bracket so far, or in the whole text."""

    __slots__ = ("alternatives", "negations")

    def __init__(self) -> None:
        self.alternatives: list[list[Expression]] = [[]]
        self.negations = 0

    def add(self, operand: Expression) -> None:
        """Add an operand, under the negations that stood before it."""
        for _ in range(self.negations):
            operand = Not(operand)
        self.negations = 0
        self.alternatives[-1].append(operand)

    def expression(self) -> Expression:
        """The tree of what stands in it, now that it is closed."""
        return disjunction(*(conjunction(*operands) for operands in self.alternatives))


def _expression(scanner: FilterScanner) -> Expression:
    brackets = [_Bracket()]
    while True:
        token = scanner.expect(OPERAND)
        if token.kind == "negation":
            brackets[-1].negations += 1
        elif token.kind == "open":
            brackets.append(_Bracket())
        else:
            operand = _test(token, scanner)
            while True:
                brackets[-1].add(operand)
                joint = scanner.expect(JOINT)
                if joint.kind != "close":
                    break
                operand = brackets.pop().expression()
            if joint.kind == "end":
                return brackets[-1].expression()
            if joint.kind == "disjunction":
                brackets[-1].alternatives.append([])


def _test(token: Token, scanner: FilterScanner) -> Expression:
    if token.kind != "regex" and (operator := scanner.take(OPERATOR)):
        path = _word(token)
        scanner.at(operator, reader, path)
        return FactTest(path, *_compared(operator, scanner))
    if token.kind == "name" and scanner.take(OPEN):
        return _data(token, scanner)
    name = scanner.at(token, _value, token)
    return ClassTest(SpelledText(name.text) if isinstance(name, SpelledText) else name)


def _data(plugin: Token, scanner: FilterScanner) -> Expression:
    parameter = scanner.take(PARAMETER)
    inside = None if parameter is None else _word(parameter)
    scanner.expect(CLOSE)
    output = scanner.expect(OUTPUT).text.removeprefix(".")
    scanner.at(plugin, declared, plugin.text, output)
    compared = _compared(scanner.expect(OPERATOR), scanner)
    return DataTest(plugin.text, inside, output, *compared)


def _compared(operator: Token, scanner: FilterScanner) -> tuple[str, Value]:
    meaning = scanner.at(operator, read_operator, operator.text)
    token = scanner.expect(VALUE)
    value = scanner.at(token, _value, token)
    # An operator may not go with a regex; a word may be no regex.
    return scanner.at(operator if isinstance(value, Regex) else token, pair, meaning, value)


def _word(token: Token) -> str:
    return unquote(token.text) if token.kind == "quoted" else token.text


def _value(token: Token) -> Value:
    if token.kind == "quoted":
        return SpelledText.of(unquote(token.text), quoted=True)
    return Regex.of(token.text[1:-1]) if token.kind == "regex" else read_value(token.text)
