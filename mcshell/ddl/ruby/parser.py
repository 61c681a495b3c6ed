"""From the text of a `.ddl` file to its statements: a recursive descent over what DDLs use of Ruby.

::

    file       = {statement}
    statement  = (call | NAME "=" value | "def" … "end" | value) [("if" | "unless") expression]
    call       = NAME [arguments | "(" arguments ")"] [block]
    value      = expression ["do" … "end"]
    block      = "do" ["|" names "|"] {statement} "end" | "{" … "}"
    arguments  = argument {"," argument}
    argument   = expression ["=>" expression] | NAME ":" expression
    expression = term {operator term} | expression "?" expression ":" expression
    term       = ["-" | "!"] primary {"." NAME ["(" arguments ")"] ["{" … "}"] | "[" arguments "]"}
    primary    = literal | "[" … "]" | "{" … "}" | "(" expression ")" | NAME ["(" arguments ")"]
               | "if" … "end" | "unless" … "end" | "case" … "end"
"""

from __future__ import annotations

import re
from typing import Final

from mcshell.ddl.ruby.scanner import Scanner
from mcshell.ddl.ruby.syntax import (
    ArrayLiteral,
    Assignment,
    Block,
    Conditional,
    Expression,
    FunctionCall,
    HashLiteral,
    InterpolatedString,
    Literal,
    MethodCall,
    MethodDefinition,
    Operation,
    Statement,
    SymbolLiteral,
    VariableName,
)
from mcshell.errors import DDLError

__all__ = ["parse"]

_MAX_DEPTH: Final = 40
_CONSTANTS: Final = {"true": True, "false": False, "nil": None}
_LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*[?!]?):(?!:)")
_ASSIGNED = re.compile(r"[ \t]*=(?![=~>])")
_WORDS: Final = frozenset({"do", "end", "then", "else", "elsif", "when"})
_UNREAD: Final = frozenset(
    {"while", "until", "for", "class", "module", "begin", "rescue", "ensure", "return", "yield"}
    | {"lambda", "proc", "self", "super"}
)
_OPERATOR = re.compile(
    r"\*\*|[=!]=(?!=)|[=!]~|<=(?!>)|>=|&&|\|\||\.\.\.?|<(?!<)|>(?!>)|[-+*/%?](?!=)|(?:and|or)\b"
)
_BETWEEN: Final = re.compile(rf"[ \t]*(?:{_OPERATOR.pattern})[ \t\n]")
"""What makes a word that begins a statement the first of an expression."""
_STRENGTH: Final = {
    **dict.fromkeys(("and", "or"), 1),
    "?": 2,
    **dict.fromkeys(("..", "..."), 3),
    "||": 4,
    "&&": 5,
    **dict.fromkeys(("==", "!=", "=~", "!~"), 6),
    **dict.fromkeys(("<", "<=", ">", ">="), 7),
    **dict.fromkeys(("+", "-"), 8),
    **dict.fromkeys(("*", "/", "%"), 9),
    "**": 10,
}
"""How strongly an operator binds."""
_MEANT: Final = {"and": "&&", "or": "||", "...": "..."}
_TOP = re.compile(r"^(?:metadata|requires|usage|action|dataquery|discovery)\b", re.MULTILINE)


def parse(
    text: str, path: str = "", flaws: list[str] | None = None
) -> tuple[tuple[Statement, ...], Scanner]:
    """Parse a file. The scanner knows places for later errors.

    With `flaws` what cannot be read is noted there, and costs the statement that it stands in.

    Raises:
        DDLError: with line and column.
    """
    parser = _DDLParser(text.removeprefix("\ufeff").replace("\r\n", "\n"), path, flaws)
    return parser.file(), parser


class _DDLParser(Scanner):
    depth = 0
    closed = ""
    """What has ended the last statements."""

    def file(self) -> tuple[Statement, ...]:
        """Read all statements; the next that begins a line follows one that cannot be read."""
        made: list[Statement] = []
        while self.at < len(self.text):
            begin = self.at
            try:
                made += self.statements((), one=True)
            except DDLError as error:
                self.flaw(error)
                self.depth = 0
                following = _TOP.search(self.text, max(begin + 1, self.begun + 1))
                self.at = len(self.text) if following is None else following.start()
        return tuple(made)

    def statements(self, closing: tuple[str, ...], *, one: bool = False) -> tuple[Statement, ...]:
        """Read statements up to a word or brace that closes them, or only one."""
        made: list[Statement] = []
        while True:
            self.blanks()
            if self.at >= len(self.text):
                if closing:
                    self.fail(f"expected {closing[-1]!r}, found the end")
                return tuple(made)
            if self.closes(closing):
                self.at += len(self.closed)
                return tuple(made)
            if one:
                self.begun = self.at
            made.append(self.statement())
            self.blank()
            if self.peek() not in ("", "\n", ";") and not self.closes(closing):
                self.fail(f"expected the end of the line, found {self.peek()!r}")
            if one:
                return tuple(made)

    def closes(self, closing: tuple[str, ...]) -> bool:
        """Whether the next word or brace closes statements."""
        self.closed = "}" if self.peek() == "}" else self.word()
        return bool(self.closed) and self.closed in closing

    def statement(self) -> Statement:
        start = self.at
        made = self.simple()
        while True:
            self.blank()
            word = self.word()
            if word not in ("if", "unless"):
                return made
            self.at += len(word)
            self.blank()
            condition = _negated(self.expression(), word)
            made = Conditional(((condition, (made,)),), (), start)

    def simple(self) -> Statement:
        start, word = self.at, self.word()
        if word == "def":
            return self.definition()
        after = self.at + len(word)
        if word and _ASSIGNED.match(self.text, after) and word not in _WORDS:
            self.at = after
            self.blank()
            self.take("=", required=True)
            self.blanks()
            return Assignment(word, self.value(), start)
        if (
            not word
            or word in ("if", "unless", "case", "not", *_CONSTANTS)
            or self.text[after : after + 1] in (".", "[")
            or _BETWEEN.match(self.text, after)
        ):
            return self.value()
        if word in _UNREAD:
            self.fail(f"{word!r} is Ruby that a DDL is not read with")
        self.at = after
        bare = self.peek() != "("
        arguments, block = self.call_arguments(), self.block()
        if bare and not arguments and block is None:
            return VariableName(word, start)
        return FunctionCall(word, arguments, block, start)

    def value(self) -> Expression:
        """Read an expression that may have a block of its own."""
        made = self.expression()
        self.blank()
        if self.word() != "do":
            return made
        if not isinstance(made, MethodCall) or made.block is not None:
            self.fail("expected a statement such as action, input or [...].each", made.at)
        return MethodCall(made.receiver, made.name, made.arguments, made.at, self.block())

    def definition(self) -> MethodDefinition:
        start = self.at
        self.at += len("def")
        self.blank()
        name = self.word()
        if not name:
            self.fail("expected a method's name")
        self.at += len(name)
        parameters: list[tuple[str, Expression | None]] = []
        self.blank()
        bracket = self.take("(")
        while word := self.parameter(bracket=bracket):
            default = None
            if self.take("="):
                self.blank()
                default = self.expression()
                self.blank()
            parameters.append((word, default))
            if not self.take(","):
                break
        if bracket:
            self.take(")", required=True)
        return MethodDefinition(name, tuple(parameters), self.inside(("end",)), start)

    def parameter(self, *, bracket: bool) -> str:
        """Read the name of a parameter, and the blanks around it; nothing where there is none."""
        if bracket:
            self.blanks()
        else:
            self.blank()
        word = self.word()
        self.at += len(word)
        self.blank()
        return word

    def inside(self, closing: tuple[str, ...]) -> tuple[Statement, ...]:
        self.deeper()
        made = self.statements(closing)
        self.depth -= 1
        return made

    def conditional(self, start: int, word: str) -> Conditional:
        """Read the rest of an `if` or `unless`, the cursor behind the word."""
        branches: list[tuple[Expression, tuple[Statement, ...]]] = []
        while True:
            self.blank()
            condition = _negated(self.expression(), word)
            self.then()
            branches.append((condition, self.inside(("elsif", "else", "end"))))
            word = self.closed
            if word != "elsif":
                break
        otherwise = self.inside(("end",)) if word == "else" else ()
        return Conditional(tuple(branches), otherwise, start)

    def case(self, start: int) -> Conditional:
        """Read the rest of a `case`: a value is equal to what stands behind `when`, or fits it."""
        self.blank()
        value = self.expression()
        self.blanks()
        if self.word() != "when":
            self.fail("expected 'when'")
        self.at += len("when")
        branches = []
        while True:
            self.blank()
            listed = ArrayLiteral(self.arguments(""), self.at)
            self.then()
            condition = Operation("in", (value, listed), self.at)
            branches.append((condition, self.inside(("when", "else", "end"))))
            if self.closed != "when":
                break
        otherwise = self.inside(("end",)) if self.closed == "else" else ()
        return Conditional(tuple(branches), otherwise, start)

    def then(self) -> None:
        self.blank()
        if self.word() == "then":
            self.at += len("then")

    def call_arguments(self) -> tuple[Expression, ...]:
        """Read what follows a call's name: arguments in parentheses, bare, or none."""
        if self.take("("):
            return self.arguments(")")
        self.blank()
        if self.peek() in ("", "\n", ";", "{", "}") or self.word() in (*_WORDS, "if", "unless"):
            return ()
        return self.arguments("")

    def block(self) -> Block | None:
        self.blank()
        if self.word() == "do":
            self.at += 2
            closing = "end"
        elif self.take("{"):
            closing = "}"
        else:
            return None
        parameters = self.parameters()
        return Block(parameters, self.inside((closing,)))

    def parameters(self) -> tuple[str, ...]:
        self.blank()
        if not self.take("|"):
            return ()
        names = []
        while True:
            self.blank()
            word = self.word()
            if not word:
                self.fail("expected the name of a block's variable")
            self.at += len(word)
            names.append(word)
            self.blank()
            if self.take("|"):
                return tuple(names)
            self.take(",", required=True)

    def arguments(self, closing: str) -> tuple[Expression, ...]:
        """Read arguments; `key => value` among them become one Hash at the end."""
        made: list[Expression] = []
        pairs: list[tuple[Expression, Expression]] = []
        start = self.at
        self.deeper()
        while True:
            if closing:
                self.blanks()
                if self.take(closing):
                    break
            else:
                self.blank()
            self.argument(made, pairs)
            self.blanks() if closing else self.blank()
            if self.take(","):
                self.blanks()
                continue
            if closing:
                self.take(closing, required=True)
            break
        self.depth -= 1
        return (*made, HashLiteral(tuple(pairs), start)) if pairs else tuple(made)

    def argument(self, made: list[Expression], pairs: list[tuple[Expression, Expression]]) -> None:
        key = self.label()
        if key is None:
            key = self.expression()
            self.blank()
            if not self.take("=>"):
                if (
                    self.peek() != ":"
                    or not isinstance(key, Literal)
                    or self.text[self.at - 1] not in "'\""
                ):
                    made.append(key)
                    return
                self.at += 1
                key = Literal(SymbolLiteral(key.value), key.at)
        self.blanks()
        pairs.append((key, self.expression()))

    def label(self) -> Expression | None:
        found = _LABEL.match(self.text, self.at)
        if found is None:
            return None
        start, self.at = self.at, found.end()
        return Literal(SymbolLiteral(found[1]), start)

    def expression(self, strength: int = 0) -> Expression:
        """Read an expression whose operators bind more strongly than `strength`."""
        start = self.at
        self.deeper()
        made = self.unary()
        while True:
            here = self.at
            self.blank()
            found = _OPERATOR.match(self.text, self.at)
            if found is None or _STRENGTH[found[0]] <= strength:
                self.at = here
                break
            self.at = found.end()
            self.blanks()
            if found[0] == "?":
                made = self.choice(made, start)
                continue
            bound = _STRENGTH[found[0]]
            right = self.expression(bound - 1 if found[0] == "**" else bound)
            made = Operation(_MEANT.get(found[0], found[0]), (made, right), start)
        self.depth -= 1
        return made

    def choice(self, condition: Expression, start: int) -> Conditional:
        """Read the rest of `a ? b : c`."""
        chosen = self.expression()
        self.blanks()
        self.take(":", required=True)
        self.blanks()
        return Conditional(((condition, (chosen,)),), (self.expression(),), start)

    def unary(self) -> Expression:
        start = self.at
        if self.peek() == "!" or self.word() == "not":
            self.at += 1 if self.peek() == "!" else len("not")
            self.blank()
            return Operation("!", (self.expression(_STRENGTH["**"]),), start)
        if self.peek() == "-" and not self.text[start + 1 : start + 2].isdigit():
            self.at += 1
            return Operation("-", (self.expression(_STRENGTH["*"]),), start)
        return self.term()

    def term(self) -> Expression:
        value = self.primary()
        while True:
            start = self.at
            if self.chained():
                self.blanks()
            if self.take("["):
                value = MethodCall(value, "[]", self.arguments("]"), start)
            elif self.peek() == "." and not self.text.startswith("..", self.at):
                self.at += 1
                value = self.method(value)
            else:
                return value

    def chained(self) -> bool:
        """Whether the next line goes on with a method of what stands here."""
        here = self.at
        self.blanks()
        found = re.compile(r"\.[A-Za-z_]").match(self.text, self.at)
        self.at = here
        return found is not None

    def method(self, receiver: Expression) -> MethodCall:
        self.blanks()
        start, word = self.at, self.word()
        if not word:
            self.fail("expected a method's name")
        self.at += len(word)
        arguments: tuple[Expression, ...] = ()
        block: Block | None = None
        if self.take("(&:"):
            name = self.word()
            self.at += len(name)
            self.take(")", required=True)
            each = VariableName("it", start)
            block = Block(("it",), (MethodCall(each, name, (), start),))
        elif self.take("("):
            arguments = self.arguments(")")
        here = self.at
        self.blank()
        if block is None and self.peek() == "{":
            block = self.block()
        else:
            self.at = here
        return MethodCall(receiver, word, arguments, start, block)

    def primary(self) -> Expression:
        start = self.at
        if (made := self.literal()) is not None:
            return self.joined(made) if self.text[start] in "'\"" else made
        if self.take("["):
            return ArrayLiteral(self.arguments("]"), start)
        if self.take("{"):
            inside = self.arguments("}")
            if not inside:
                return HashLiteral((), start)
            if len(inside) != 1 or not isinstance(inside[0], HashLiteral):
                self.fail("expected key => value", start)
            return inside[0]
        if self.take("("):
            self.blanks()
            value = self.expression()
            self.blanks()
            self.take(")", required=True)
            return value
        return self.named(start)

    def joined(self, first: Expression) -> Expression:
        """Read the strings that stand next to a string: together they are one."""
        parts = [first]
        while True:
            here = self.at
            self.blank()
            if self.peek() not in ("'", '"') or (made := self.literal()) is None:
                self.at = here
                return first if len(parts) == 1 else InterpolatedString(tuple(parts), first.at)
            parts.append(made)

    def named(self, start: int) -> Expression:
        word = self.word()
        if not word:
            found = self.peek()
            self.fail(f"expected a value, found {found!r}" if found else "expected a value")
        if word in _WORDS:
            self.fail(f"expected a value, found {word!r}")
        if word in _UNREAD:
            self.fail(f"{word!r} is Ruby that a DDL is not read with")
        self.at += len(word)
        if word in ("if", "unless"):
            return self.conditional(start, word)
        if word == "case":
            return self.case(start)
        if word in _CONSTANTS:
            return Literal(_CONSTANTS[word], start)
        if self.take("("):
            return FunctionCall(word, self.arguments(")"), None, start)
        if word.endswith("?") and self.text[self.at : self.at + 2] == " :":
            self.blank()
            return FunctionCall(word, (self.primary(),), None, start)
        return VariableName(word, start)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            self.fail(f"nested deeper than {_MAX_DEPTH} levels")


def _negated(condition: Expression, word: str) -> Expression:
    return Operation("!", (condition,), condition.at) if word == "unless" else condition
