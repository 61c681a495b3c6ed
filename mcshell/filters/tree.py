"""A compound filter as a tree of values, and its way back to text.

Trees are canonical: `conjunction` and `disjunction` flatten, operators are spelled one way. So
`parse(show(tree)) == tree`.
"""

from __future__ import annotations

import re

from mcshell.filters.values import Regex, SpelledText, Value
from mcshell.values import dataclass

__all__ = [
    "And",
    "ClassTest",
    "DataTest",
    "Expression",
    "FactTest",
    "Not",
    "Or",
    "conjunction",
    "depth",
    "disjunction",
    "show",
    "tests_of",
]

_BARE_NAME = re.compile(r"(?!(?:and|or|not)\Z)[^\s()=!<>~'\"/][^\s()=!<>~'\"]*")
_BARE_VALUE = re.compile(r"[^\s()'\"=!<>~/][^\s()]*")


@dataclass(frozen=True, slots=True)
class FactTest:
    """`os.family=Debian`; `operator` is one of the meanings in `values.OPERATORS`."""

    fact: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class ClassTest:
    """A configuration class that the node must have, by name or by regex."""

    name: Value


@dataclass(frozen=True, slots=True)
class DataTest:
    """`fstat('/etc/hosts').md5=/ab/`: an output of a data plugin, compared."""

    plugin: str
    params: str | None
    output: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Not:
    """True where its operand is false."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class And:
    """True where all its operands are; made by `conjunction`."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True where one of its operands is; made by `disjunction`."""

    operands: tuple[Expression, ...]


Expression = FactTest | ClassTest | DataTest | Not | And | Or


def conjunction(*operands: Expression) -> Expression:
    """Join by `and`, without a bracket inside a bracket."""
    flat: list[Expression] = []
    for operand in operands:
        flat.extend(operand.operands if isinstance(operand, And) else (operand,))
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def disjunction(*operands: Expression) -> Expression:
    """Join by `or`, without a bracket inside a bracket."""
    flat: list[Expression] = []
    for operand in operands:
        flat.extend(operand.operands if isinstance(operand, Or) else (operand,))
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def depth(expression: Expression) -> int:
    """Count the levels of a tree, without recursion: it may come from anyone."""
    deepest = 0
    stack: list[tuple[Expression, int]] = [(expression, 1)]
    while stack:
        node, level = stack.pop()
        deepest = max(deepest, level)
        if isinstance(node, Not):
            stack.append((node.operand, level + 1))
        elif isinstance(node, (And, Or)):
            stack.extend((operand, level + 1) for operand in node.operands)
    return deepest


def tests_of(expression: Expression) -> list[FactTest | ClassTest]:
    """What a tree asks of facts and classes."""
    match expression:
        case FactTest() | ClassTest():
            return [expression]
        case Not(operand):
            return tests_of(operand)
        case And(operands) | Or(operands):
            return [test for operand in operands for test in tests_of(operand)]
    return []


def show(expression: Expression) -> str:
    """Print a tree as the text that parses to it."""
    match expression:
        case FactTest(fact, operator, value):
            return f"{_name(fact)}{operator}{_value(value)}"
        case ClassTest(name):
            return _name(name.text) if isinstance(name, SpelledText) else str(name)
        case DataTest(plugin, params, output, operator, value):
            inside = "" if params is None else _quoted(params)
            return f"{plugin}({inside}).{output}{operator}{_value(value)}"
        case Not(operand):
            return f"not {_inside(operand, And, Or)}"
        case And(operands):
            return " and ".join(_inside(operand, Or) for operand in operands)
        case Or(operands):
            return " or ".join(map(show, operands))


def _inside(expression: Expression, *looser: type) -> str:
    text = show(expression)
    return f"({text})" if isinstance(expression, looser) else text


def _name(name: str) -> str:
    return name if _BARE_NAME.fullmatch(name) else _quoted(name)


def _value(value: Value) -> str:
    if isinstance(value, Regex):
        return str(value)
    bare = not value.literal and _BARE_VALUE.fullmatch(value.text)
    return value.text if bare else _quoted(value.text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
