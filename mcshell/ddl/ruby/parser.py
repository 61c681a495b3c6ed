"""From the text of a `.ddl` file to its statements: a recursive descent over what DDLs use of Ruby.

::

    file       = {statement}
    statement  = NAME [arguments | "(" arguments ")"] [block] | expression ".each" block
    block      = "do" ["|" names "|"] {statement} "end" | "{" … "}"
    arguments  = argument {"," argument}
    argument   = expression ["=>" expression] | NAME ":" expression
    expression = term {"+" term}
    term       = primary {"." NAME ["(" arguments ")"]}
    primary    = literal | "[" … "]" | "{" … "}" | "(" expression ")" | NAME ["(" arguments ")"]
"""

from __future__ import annotations

import re
from typing import Final

from mcshell.ddl.ruby.scanner import Scanner
from mcshell.ddl.ruby.syntax import (
    ArrayLiteral,
    Block,
    Concatenation,
    Each,
    Expression,
    FunctionCall,
    HashLiteral,
    Literal,
    MethodCall,
    Statement,
    SymbolLiteral,
    VariableName,
)

__all__ = ["parse"]

_MAX_DEPTH: Final = 40
_CONSTANTS: Final = {"true": True, "false": False, "nil": None}
_LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*[?!]?):(?!:)")
_KEYWORDS: Final = frozenset(
    {"if", "unless", "while", "until", "case", "def", "class", "module", "begin", "require", "load"}
)


def parse(text: str, path: str = "") -> tuple[tuple[Statement, ...], Scanner]:
    """Parse a file; DDLError with line and column. The scanner knows places for later errors."""
    parser = _DDLParser(text.removeprefix("\ufeff"), path)
    statements = parser.statements("")
    return statements, parser


class _DDLParser(Scanner):
    depth = 0

    def statements(self, closing: str) -> tuple[Statement, ...]:
        """Read statements up to the word or brace that closes them."""
        made: list[Statement] = []
        while True:
            self.blanks()
            if self.at >= len(self.text):
                if closing:
                    self.fail(f"expected {closing!r}, found the end")
                return tuple(made)
            if closing and (self.word() == closing or (closing == "}" and self.peek() == "}")):
                self.at += len(closing)
                return tuple(made)
            made.append(self.statement())
            self.blank()
            if self.peek() not in ("", "\n", ";") and not (closing and self.peek() == "}"):
                if closing and self.word() == closing:
                    continue
                self.fail(f"expected the end of the line, found {self.peek()!r}")

    def statement(self) -> Statement:
        start, word = self.at, self.word()
        if word in _KEYWORDS:
            self.fail(f"{word!r} is Ruby that a DDL is not read with")
        if not word or self.text[self.at + len(word) : self.at + len(word) + 1] in (".", "["):
            return self.each(start)
        self.at += len(word)
        arguments = self.call_arguments()
        return FunctionCall(word, arguments, self.block(), start)

    def each(self, start: int) -> Each:
        value = self.expression()
        if not isinstance(value, MethodCall) or value.name != "each" or value.arguments:
            self.fail("expected a statement such as action, input or [...].each", start)
        block = self.block()
        if block is None:
            self.fail("each without a block", start)
        return Each(value.receiver, block, start)

    def call_arguments(self) -> tuple[Expression, ...]:
        """Read what follows a call's name: arguments in parentheses, bare, or none."""
        if self.take("("):
            return self.arguments(")")
        self.blank()
        if self.peek() in ("", "\n", ";", "{", "}") or self.word() in ("do", "end"):
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
        self.deeper()
        parameters = self.parameters()
        statements = self.statements(closing)
        self.depth -= 1
        return Block(parameters, statements)

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

    def expression(self) -> Expression:
        start = self.at
        self.deeper()
        parts = [self.term()]
        while True:
            here = self.at
            self.blank()
            if self.take("+"):
                self.blanks()
            elif self.peek() not in ("'", '"') or not isinstance(parts[-1], Literal):
                self.at = here
                break
            parts.append(self.term())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts), start)

    def term(self) -> Expression:
        value = self.primary()
        while self.peek() == "." and not self.text.startswith("..", self.at):
            self.at += 1
            start, word = self.at, self.word()
            if not word:
                self.fail("expected a method's name")
            self.at += len(word)
            arguments = self.arguments(")") if self.take("(") else ()
            value = MethodCall(value, word, arguments, start)
        return value

    def primary(self) -> Expression:
        start = self.at
        if (made := self.literal()) is not None:
            return made
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

    def named(self, start: int) -> Expression:
        word = self.word()
        if not word:
            found = self.peek()
            self.fail(f"expected a value, found {found!r}" if found else "expected a value")
        if word in ("do", "end"):
            self.fail(f"expected a value, found {word!r}")
        self.at += len(word)
        if word in _CONSTANTS:
            return Literal(_CONSTANTS[word], start)
        if self.take("("):
            return FunctionCall(word, self.arguments(")"), None, start)
        return VariableName(word, start)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            self.fail(f"nested deeper than {_MAX_DEPTH} levels")
