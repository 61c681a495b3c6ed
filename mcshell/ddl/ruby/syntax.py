"""What a `.ddl` file is made of: the few forms of Ruby that are read, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "Block",
    "Call",
    "Each",
    "Expression",
    "Join",
    "Literal",
    "Method",
    "Name",
    "Pairs",
    "Regexp",
    "Sequence",
    "Statement",
    "Symbol",
    "Text",
]


class Symbol(str):
    """A Ruby Symbol; to a DDL it is as good as its text, but for `:type` and `:validation`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Regexp:
    """A Ruby regex literal: its source and its flags."""

    source: str
    flags: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A string without interpolation, a symbol, a number, a regex, true, false or nil."""

    value: Any
    at: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string with `#{…}` in it."""

    parts: tuple[str | Expression, ...]
    at: int
    symbol: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """An Array."""

    items: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """A Hash, with braces or as the last arguments of a call."""

    items: tuple[tuple[Expression, Expression], ...]
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A block's variable."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Method:
    """`value.capitalize`, `value.gsub("_", " ")`."""

    receiver: Expression
    name: str
    arguments: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Join:
    """`"a" + "b"`, and strings that stand next to each other."""

    parts: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Block:
    """`do |a, b| … end`."""

    parameters: tuple[str, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Call:
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


Expression = Literal | Text | Sequence | Pairs | Name | Method | Join | Call
Statement = Call | Each
