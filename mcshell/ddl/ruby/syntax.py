"""What a `.ddl` file is made of: the few forms of Ruby that are read, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "ArrayLiteral",
    "Block",
    "Concatenation",
    "Each",
    "Expression",
    "FunctionCall",
    "HashLiteral",
    "InterpolatedString",
    "Literal",
    "MethodCall",
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
    """A string with `#{…}` in it."""

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
    """A block's variable."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class MethodCall:
    """`value.capitalize`, `value.gsub("_", " ")`."""

    receiver: Expression
    name: str
    arguments: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Concatenation:
    """`"a" + "b"`, and strings that stand next to each other."""

    parts: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Block:
    """`do |a, b| … end`."""

    parameters: tuple[str, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """`input :name, :type => :string`, with a block or without."""

    name: str
    arguments: tuple[Expression, ...]
    block: Block | None
    at: int


@dataclass(frozen=True, slots=True)
class Each:
    """`[…].each do |item| … end`."""

    items: Expression
    block: Block
    at: int


Expression = (
    Literal
    | InterpolatedString
    | ArrayLiteral
    | HashLiteral
    | VariableName
    | MethodCall
    | Concatenation
    | FunctionCall
)
Statement = FunctionCall | Each
