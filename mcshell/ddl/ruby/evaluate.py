"""Runs the statements of a `.ddl` file: no Ruby, no eval, only what `handlers` know.

A handler is a function of the call's arguments; what a name means depends on the block that it
stands in. Loops and calls are bounded, and so are the texts, arrays and numbers that they make.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mcshell.ddl.ruby.operations import METHODS, OPERATORS, Unusable, shown
from mcshell.ddl.ruby.scanner import Exhausted
from mcshell.ddl.ruby.syntax import (
    ArrayLiteral,
    Assignment,
    Block,
    Conditional,
    FunctionCall,
    HashLiteral,
    InterpolatedString,
    Literal,
    MethodCall,
    MethodDefinition,
    Operation,
    RegexpLiteral,
    Statement,
    SymbolLiteral,
    VariableName,
)
from mcshell.errors import DDLError, did_you_mean
from mcshell.values import dataclass

if TYPE_CHECKING:
    from mcshell.ddl.ruby.scanner import Scanner

__all__ = ["EvaluationContext", "Function", "Handler", "plain", "run"]

_MAX_STATEMENTS: Final = 20_000
_MAX_TEXT: Final = 8 * 1024 * 1024
_MAX_LEVELS: Final = 20
_HERE: Final = ("respond_to?", "require")
"""What is answered here; nothing is loaded."""

Handler = Callable[["EvaluationContext", FunctionCall, list[Any]], "EvaluationContext | None"]
"""Takes where it stands, the call and its arguments; returns the context of the call's block."""
Names = ChainMap[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    """`summary(:value)`: a function's name and its arguments."""

    name: str
    arguments: tuple[Any, ...]


@dataclass
class EvaluationContext:
    """What may be called here, and what `data` the calls work on.

    `functions`: any other name among them is that of a function, as in `summary(:value)`.
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


def run(
    statements: tuple[Statement, ...],
    context: EvaluationContext,
    scanner: Scanner,
    known: frozenset[str],
) -> None:
    """Run all statements in a context; what one of them cannot do is `scanner`'s to note.

    `known` are the names that `respond_to?` says yes to. Raises DDLError with line and column.
    """
    _Machine(scanner, known).statements(statements, context, ChainMap({}))


class _Machine:
    def __init__(self, scanner: Scanner, known: frozenset[str]) -> None:
        self.scanner = scanner
        self.known = known
        self.left = _MAX_STATEMENTS
        self.room = _MAX_TEXT
        self.level = 0
        self.shared: dict[str, Any] = {one: SymbolLiteral(one) for one in ("Array", "Hash")}
        """Constants and instance variables: a method sees them, too."""
        self.methods: dict[str, MethodDefinition] = {}

    def fail(self, what: str, at: int) -> NoReturn:
        self.scanner.fail(what, at)

    def spend(self, at: int) -> None:
        """Count a step."""
        self.left -= 1
        if self.left < 0:
            self.scanner.fail(f"more than {_MAX_STATEMENTS} statements", at, Exhausted)

    def statements(
        self, statements: tuple[Statement, ...], context: EvaluationContext, names: Names
    ) -> Any:
        """Run statements; the value is the last one's. One that cannot be run costs itself."""
        context.scanner = self.scanner
        self.level += 1
        if self.level > _MAX_LEVELS:
            at = statements[0].at if statements else 0
            self.scanner.fail(f"more than {_MAX_LEVELS} blocks in each other", at, Exhausted)
        value = None
        for statement in statements:
            self.spend(statement.at)
            try:
                value = self.statement(statement, context, names)
            except DDLError as error:
                self.scanner.flaw(error)
        self.level -= 1
        return value

    def statement(self, statement: Statement, context: EvaluationContext, names: Names) -> Any:
        match statement:
            case FunctionCall():
                return self.call(statement, context, names)
            case VariableName(name, at) if not self.is_variable(name, names):
                return self.call(FunctionCall(name, (), None, at), context, names)
            case MethodDefinition(name):
                self.methods[name] = statement
                return None
            case Assignment(name, value):
                made = self.value(value, context, names)
                owner = (
                    self.shared
                    if _is_shared(name)
                    else next((one for one in names.maps if name in one), names.maps[0])
                )
                owner[name] = made
                return made
            case _:
                return self.value(statement, context, names)

    def is_variable(self, name: str, names: Names) -> bool:
        return name in names or name in self.shared or _is_shared(name)

    def call(self, call: FunctionCall, context: EvaluationContext, names: Names) -> Any:
        """Run a call: of a handler, of a method of the file, or of what Ruby has."""
        handler = context.handlers.get(call.name)
        known = handler or call.name in self.methods or context.functions
        if not known and call.name not in _HERE:
            near = did_you_mean(call.name, [*context.handlers, *self.methods])
            self.fail(f"{context.what} has no {call.name!r}{near}", call.at)
        arguments = [self.value(one, context, names) for one in call.arguments]
        if handler is not None:
            inner = handler(context, call, arguments)
            if call.block is None:
                return None
            if inner is None:
                self.fail(f"{call.name} takes no block", call.at)
            return self.statements(call.block.statements, inner, names.new_child())
        if call.name in self.methods:
            return self.defined(self.methods[call.name], arguments, call, context)
        if call.name in _HERE:
            return call.name == "respond_to?" and self.known.issuperset(arguments)
        return Function(call.name, tuple(arguments))

    def defined(
        self,
        method: MethodDefinition,
        arguments: list[Any],
        call: FunctionCall,
        context: EvaluationContext,
    ) -> Any:
        """Run a method of the file where it is called."""
        if len(arguments) > len(method.parameters):
            self.fail(f"{call.name} takes {len(method.parameters)} arguments", call.at)
        names: Names = ChainMap({})
        for place, (name, default) in enumerate(method.parameters):
            if place < len(arguments):
                names[name] = arguments[place]
            elif default is not None:
                names[name] = self.value(default, context, names)
            else:
                self.fail(f"{call.name} needs its argument {name}", call.at)
        return self.statements(method.statements, context, names)

    def value(  # noqa: C901, PLR0911 - one case for each form
        self, expression: Statement, context: EvaluationContext, names: Names
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
                    one if isinstance(one, str) else self.shown(self.value(one, context, names), at)
                    for one in parts
                )
                self.grown(made, at)
                return SymbolLiteral(made) if symbol else made
            case Operation():
                return self.operation(expression, context, names)
            case Conditional(branches, otherwise):
                chosen = next(
                    (body for test, body in branches if _true(self.value(test, context, names))),
                    otherwise,
                )
                return self.statements(chosen, context, names)
            case MethodCall():
                return self.method(expression, context, names)
            case VariableName(name, at) if not self.is_variable(name, names):
                return self.call(FunctionCall(name, (), None, at), context, names)
            case VariableName(name, at):
                if name not in names and name not in self.shared:
                    near = did_you_mean(name, [*names, *self.shared])
                    self.fail(f"unknown name {name!r}{near}", at)
                return names[name] if name in names else self.shared[name]
            case _:
                return self.statement(expression, context, names)

    def hash(self, items: Any, context: EvaluationContext, names: Names) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, one in items:
            name = self.value(key, context, names)
            if not isinstance(name, (str, int)) or isinstance(name, bool):
                self.fail("a key that is neither a symbol nor a string", key.at)
            made[name] = self.value(one, context, names)
        return made

    def operation(self, made: Operation, context: EvaluationContext, names: Names) -> Any:
        first = self.value(made.operands[0], context, names)
        if made.name == "!":
            return not _true(first)
        if made.name in ("&&", "||"):
            decided = _true(first) == (made.name == "||")
            return first if decided else self.value(made.operands[1], context, names)
        operands = [first, *(self.value(one, context, names) for one in made.operands[1:])]
        return self.applied(lambda: OPERATORS[made.name](*operands), made.name, made.at)

    def method(self, call: MethodCall, context: EvaluationContext, names: Names) -> Any:
        receiver = self.value(call.receiver, context, names)
        arguments = [self.value(one, context, names) for one in call.arguments]
        if call.name not in METHODS:
            near = did_you_mean(call.name, METHODS)
            self.fail(f"the method {call.name!r} is not read{near}", call.at)
        block = call.block

        def each(*items: Any) -> Any:
            assert block is not None
            self.spend(call.at)
            inner = names.new_child(_bound(block, list(items)))
            return self.statements(block.statements, context, inner)

        function = METHODS[call.name]
        if block is not None:
            arguments.append(each)
        return self.applied(lambda: function(receiver, *arguments), call.name, call.at)

    def applied(self, apply: Callable[[], Any], name: str, at: int) -> Any:
        """What an operator or method gives, if there is room for it."""
        try:
            made = apply()
        except Unusable as error:
            self.fail(f"{name}: {error}", at)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError):
            self.fail(f"{name} is not read with what stands here", at)
        if isinstance(made, (str, list, dict)):
            self.grown(made, at)
        return made

    def shown(self, value: Any, at: int) -> str:
        """A value in a string, as Ruby's to_s has it."""
        try:
            return shown(value)
        except Unusable as error:
            self.fail(str(error), at)

    def grown(self, made: str | list[Any] | dict[Any, Any], at: int) -> None:
        self.room -= len(made)
        if self.room < 0:
            self.scanner.fail(f"more than {_MAX_TEXT} characters made", at, Exhausted)


def _true(value: Any) -> bool:
    """Whether it is true in Ruby, where 0 and "" are."""
    return value is not None and value is not False


def _is_shared(name: str) -> bool:
    return name[0] == "@" or name[0].isupper()


def _bound(block: Block, items: list[Any]) -> dict[str, Any]:
    """A block's variables: one array is taken apart when there are several."""
    if len(block.parameters) > 1 and len(items) == 1 and isinstance(items[0], list):
        items = items[0]
    padded = items + [None] * len(block.parameters)
    return dict(zip(block.parameters, padded, strict=False))


def plain(value: Any) -> Any:
    """A value as JSON holds it: symbols are text, a regex its source."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, RegexpLiteral):
        return value.source
    if isinstance(value, (list, range)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return value
