"""What a `.ddl` file is made of: the few forms of Ruby that are read, as values."""

from __future__ import annotations

from typing import Any

from mcshell.values import dataclass

__all__ = [
    "ArrayLiteral",
    "Assignment",
    "Block",
    "Conditional",
    "Expression",
    "FunctionCall",
    "HashLiteral",
    "InterpolatedString",
    "Literal",
    "MethodCall",
    "MethodDefinition",
    "Operation",
    "RegexpLiteral",
    "Statement",
    "SymbolLiteral",
    "VariableName",
]


class SymbolLiteral(str):
    """A Ruby Symbol; to a DDL it is as good as its text, but for `:type` and `:validation`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RegexpLiteral:
    """A Ruby regex literal: its source and its flags."""

    source: str
    flags: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A string without interpolation, a symbol, a number, a regex, true, false or nil."""

    value: Any
    at: int


@dataclass(frozen=True, slots=True)
class InterpolatedString:
    """A string with `#{…}` in it, or strings that stand next to each other."""

    parts: tuple[str | Expression, ...]
    at: int
    symbol: bool = False


@dataclass(frozen=True, slots=True)
class ArrayLiteral:
    """An Array."""

    items: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class HashLiteral:
    """A Hash, with braces or as the last arguments of a call."""

    items: tuple[tuple[Expression, Expression], ...]
    at: int


@dataclass(frozen=True, slots=True)
class VariableName:
    """A variable or a constant; or a method that is called without anything."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Block:
    """`do |a, b| … end`."""

    parameters: tuple[str, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class MethodCall:
    """`value.capitalize`, `value[0]` (the method `[]`), `[…].each do |item| … end`."""

    receiver: Expression
    name: str
    arguments: tuple[Expression, ...]
    at: int
    block: Block | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """`a + b`, `a == b`, `a && b`, `a..b`, and with one operand `!a`, `-a`."""

    name: str
    operands: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """`input :name, :type => :string`, with a block or without."""

    name: str
    arguments: tuple[Expression, ...]
    block: Block | None
    at: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """`if`, `unless`, `case` and `a ? b : c`: the first branch whose condition holds."""

    branches: tuple[tuple[Expression, tuple[Statement, ...]], ...]
    otherwise: tuple[Statement, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """`name = value`."""

    name: str
    value: Expression
    at: int


@dataclass(frozen=True, slots=True)
class MethodDefinition:
    """`def name(a, b = 1) … end`: the parameters, each with its default."""

    name: str
    parameters: tuple[tuple[str, Expression | None], ...]
    statements: tuple[Statement, ...]
    at: int


Expression = (
    Literal
    | InterpolatedString
    | ArrayLiteral
    | HashLiteral
    | VariableName
    | MethodCall
    | Operation
    | FunctionCall
    | Conditional
)
Statement = Expression | Assignment | MethodDefinition
