"""Runs the statements of a `.ddl` file: no Ruby, no eval, only what `handlers` know.

A handler is a function of the call's arguments; what a name means depends on the block that it
stands in. Loops are bounded, and so is the text that they make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mcshell.ddl.ruby.syntax import (
    ArrayLiteral,
    Block,
    Concatenation,
    Each,
    Expression,
    FunctionCall,
    HashLiteral,
    InterpolatedString,
    Literal,
    MethodCall,
    RegexpLiteral,
    Statement,
    SymbolLiteral,
    VariableName,
)
from mcshell.errors import did_you_mean

if TYPE_CHECKING:
    from mcshell.ddl.ruby.scanner import Scanner

__all__ = ["EvaluationContext", "Function", "Handler", "run"]

_MAX_STATEMENTS: Final = 20_000
_MAX_TEXT: Final = 8 * 1024 * 1024
_MAX_LOOPS: Final = 5

_METHODS: Final[Mapping[str, tuple[int, Callable[..., str]]]] = {
    "to_s": (0, str),
    "to_sym": (0, SymbolLiteral),
    "capitalize": (0, str.capitalize),
    "upcase": (0, str.upper),
    "downcase": (0, str.lower),
    "strip": (0, str.strip),
    "chomp": (0, lambda text: text.removesuffix("\n")),
    "freeze": (0, str),
    "gsub": (2, lambda text, old, new: text.replace(old, new)),
    "sub": (2, lambda text, old, new: text.replace(old, new, 1)),
}

Handler = Callable[["EvaluationContext", FunctionCall, list[Any]], "EvaluationContext | None"]
"""Takes where it stands, the call and its arguments; returns the context of the call's block."""


@dataclass(frozen=True, slots=True)
class Function:
    """`summary(:value)`: a function's name and its arguments."""

    name: str
    arguments: tuple[Any, ...]


@dataclass
class EvaluationContext:
    """What may be called here, and what `data` the calls work on.

    `functions` are the names that a call among arguments may have; "*" is any.
    """

    what: str
    handlers: Mapping[str, Handler]
    data: Any = None
    functions: bool = False
    scanner: Scanner | None = field(default=None, repr=False)

    def fail(self, what: str, at: int) -> NoReturn:
        """Raise DDLError at a place of the file."""
        assert self.scanner is not None
        self.scanner.fail(what, at)


def run(statements: tuple[Statement, ...], context: EvaluationContext, scanner: Scanner) -> None:
    """Run all statements in a context; DDLError with line and column."""
    _Machine(scanner).statements(statements, context, {})


class _Machine:
    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.left = _MAX_STATEMENTS
        self.text = _MAX_TEXT
        self.loops = 0

    def fail(self, what: str, at: int) -> NoReturn:
        self.scanner.fail(what, at)

    def statements(
        self, statements: tuple[Statement, ...], context: EvaluationContext, names: dict[str, Any]
    ) -> None:
        context.scanner = self.scanner
        for statement in statements:
            self.left -= 1
            if self.left < 0:
                self.fail(f"more than {_MAX_STATEMENTS} statements", statement.at)
            if isinstance(statement, Each):
                self.each(statement, context, names)
            else:
                self.call(statement, context, names)

    def each(self, loop: Each, context: EvaluationContext, names: dict[str, Any]) -> None:
        items = self.value(loop.items, context, names)
        if not isinstance(items, list):
            self.fail("each wants an array", loop.at)
        self.loops += 1
        if self.loops > _MAX_LOOPS:
            self.fail(f"more than {_MAX_LOOPS} loops in each other", loop.at)
        for item in items:
            self.statements(loop.block.statements, context, names | _bound(loop.block, item))
        self.loops -= 1

    def call(self, call: FunctionCall, context: EvaluationContext, names: dict[str, Any]) -> None:
        handler = context.handlers.get(call.name)
        if handler is None:
            near = did_you_mean(call.name, context.handlers)
            self.fail(f"{context.what} has no {call.name!r}{near}", call.at)
        arguments = [self.value(one, context, names) for one in call.arguments]
        inner = handler(context, call, arguments)
        if call.block is None:
            return
        if inner is None:
            self.fail(f"{call.name} takes no block", call.at)
        self.statements(call.block.statements, inner, names)

    def value(  # noqa: C901, PLR0911 - one case for each form
        self, expression: Expression, context: EvaluationContext, names: dict[str, Any]
    ) -> Any:
        match expression:
            case Literal(value):
                return value
            case ArrayLiteral(items):
                return [self.value(one, context, names) for one in items]
            case HashLiteral(items):
                return self.hash(items, context, names)
            case InterpolatedString(parts, at, symbol):
                made = "".join(
                    part
                    if isinstance(part, str)
                    else self.shown(self.value(part, context, names), at)
                    for part in parts
                )
                self.grown(made, at)
                return SymbolLiteral(made) if symbol else made
            case Concatenation(parts, at):
                return self.joined([self.value(one, context, names) for one in parts], at)
            case MethodCall():
                return self.method(expression, context, names)
            case FunctionCall(name, arguments, _, at):
                if not context.functions:
                    self.fail(f"no function {name!r} here", at)
                return Function(name, tuple(self.value(one, context, names) for one in arguments))
            case VariableName(name, at):
                if name not in names:
                    self.fail(f"unknown name {name!r}{did_you_mean(name, names)}", at)
                return names[name]

    def hash(
        self,
        items: tuple[tuple[Expression, Expression], ...],
        context: EvaluationContext,
        names: dict[str, Any],
    ) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, one in items:
            name = self.value(key, context, names)
            if not isinstance(name, str):
                self.fail("a key that is neither a symbol nor a string", key.at)
            made[name] = self.value(one, context, names)
        return made

    def method(self, call: MethodCall, context: EvaluationContext, names: dict[str, Any]) -> str:
        receiver = self.value(call.receiver, context, names)
        if call.name not in _METHODS:
            near = did_you_mean(call.name, _METHODS)
            self.fail(f"the method {call.name!r} is not read{near}", call.at)
        count, function = _METHODS[call.name]
        arguments = [self.value(one, context, names) for one in call.arguments]
        if len(arguments) != count or not all(isinstance(one, str) for one in arguments):
            self.fail(f"{call.name} is read with {count} strings", call.at)
        made = function(self.shown(receiver, call.at), *arguments)
        return self.grown(made, call.at)

    def joined(self, parts: list[Any], at: int) -> Any:
        if all(isinstance(part, str) for part in parts):
            return self.grown("".join(parts), at)
        if not all(isinstance(part, list) for part in parts):
            self.fail("+ joins strings or arrays", at)
        return [one for part in parts for one in part]

    def shown(self, value: Any, at: int) -> str:
        """A value in a string, as Ruby's to_s has it."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, (str, int, float)):
            self.fail("only strings, symbols and numbers can stand in a string", at)
        return str(value)

    def grown(self, text: str, at: int) -> str:
        self.text -= len(text)
        if self.text < 0:
            self.fail(f"more than {_MAX_TEXT} characters made", at)
        return text


def _bound(block: Block, item: Any) -> dict[str, Any]:
    """A block's variables: an array is taken apart when there are several."""
    if len(block.parameters) == 1:
        return {block.parameters[0]: item}
    values = item if isinstance(item, list) else [item]
    padded = values + [None] * len(block.parameters)
    return dict(zip(block.parameters, padded, strict=False))


def plain(value: Any) -> Any:
    """A value as JSON holds it: symbols are text, a regex its source."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, RegexpLiteral):
        return value.source
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return value
