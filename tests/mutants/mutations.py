"""Small mutants of a module: one change each, where it decides something, as text and as a line.

A mutation is an edit of the source between two offsets, found by the syntax tree (queries: by the
tokens, since SQL decides as much as Python does). None is made where nothing is decided: docstrings,
logging, assertions, `__repr__`, type-checking, annotations, messages, and numbers at the top of a
module, which are settings.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Mutation", "chosen", "defaults_of", "mutations"]

TURNED = {
    "<": (">=", "<="),
    "<=": (">", "<"),
    ">": ("<=", ">="),
    ">=": ("<", ">"),
    "==": ("!=",),
    "!=": ("==",),
    "is": ("is not",),
    "is not": ("is",),
    "in": ("not in",),
    "not in": ("in",),
}
"""Of each comparison its opposite, then the same with its boundary moved."""
SYMBOLS = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Mod: ("%", "*")}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
EMPTY = {"str": "''", "int": "0", "float": "0.0", "list": "[]", "dict": "{}"}
"""What is returned in a value's place, by the beginning of the annotation; None elsewhere."""
QUERY = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE|VALUES|ORDER BY|CONFLICT)\b")
IN_QUERIES = (
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bNOT IN\b", "IN"),
    (r"(?<!<)>=|(?<![<>=])>(?!=)", "<="),
    (r"(?<![<>=])<(?![=>])", ">="),
    (r"<=", ">"),
    (r"(?<=[a-z] = )\?(?= AND)", "NOT ?"),
    (r" AND ", " OR "),
    (r" OR IGNORE", ""),
    (r"\bmax\(", "min("),
    (r"\bmin\(", "max("),
    (r" DESC\b", ""),
    (r" \+ 1\b", ""),
    (r"= NULL\b", "= ''"),
)
UNTOUCHED = (ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.arguments, ast.AnnAssign)
SAYS = re.compile(r"^log\.|\.(wait|join)$")
REPRESENTING = frozenset({"__repr__", "__str__"})
TOP = "(top)"
"""Where a query stands that several functions ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One change: `text` is the module with it, `before` and `after` its first line that differs."""

    function: str
    line: int
    kind: str
    before: str
    after: str
    text: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Put `new` between two offsets (characters) of the source."""

    kind: str
    start: int
    end: int
    new: str


class Source:
    """A module's text; offsets for the syntax tree's lines and columns, which count bytes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        """The offset of a line (from 1 on) and a column in bytes."""
        return self._starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        """Where a node begins and ends."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.offset(node.lineno, node.col_offset)
        return start, self.offset(node.end_lineno, node.end_col_offset)

    def of(self, node: ast.expr | ast.stmt) -> str:
        """A node's own text."""
        start, end = self.span(node)
        return self.text[start:end]

    def mutation(self, function: str, edit: Edit) -> Mutation | None:
        """What an edit makes; None where that is no module any more, or the same one."""
        text = self.text[: edit.start] + edit.new + self.text[edit.end :]
        try:
            if ast.dump(ast.parse(text)) == ast.dump(ast.parse(self.text)):
                return None
        except SyntaxError:
            return None
        pairs = zip(self.lines, [*text.splitlines(keepends=True), ""], strict=False)
        number, (before, after) = next(
            (number, pair) for number, pair in enumerate(pairs, 1) if pair[0] != pair[1]
        )
        return Mutation(
            function=function,
            line=number,
            kind=edit.kind,
            before=before.strip(),
            after=after.strip(),
            text=text,
        )


def mutations(text: str, defaults: Mapping[str, Iterable[str]]) -> dict[str, list[Mutation]]:
    """All mutants of a module, by function. `defaults`: what may be left out of a call (`defaults_of`)."""
    source = Source(text)
    tree = ast.parse(text)
    found: dict[str, list[Mutation]] = defaultdict(list)
    seen: set[str] = set()
    edits = [*_in_functions(source, tree, defaults), *_in_queries(source, tree)]
    for function, edit in edits:
        mutation = source.mutation(function, edit)
        if mutation is not None and mutation.text not in seen:
            seen.add(mutation.text)
            found[function].append(mutation)
    return dict(found)


def chosen(found: Mapping[str, list[Mutation]], count: int, dice: random.Random) -> list[Mutation]:
    """Up to `count` of the mutants, drawn from one function after the other."""
    left = {name: dice.sample(some, len(some)) for name, some in sorted(found.items())}
    names = dice.sample(sorted(left), len(left))
    drawn: list[Mutation] = []
    while names and len(drawn) < count:
        for name in list(names):
            drawn.append(left[name].pop())
            if not left[name]:
                names.remove(name)
            if len(drawn) == count:
                break
    return sorted(drawn, key=lambda one: (one.line, one.after))


def defaults_of(texts: Iterable[str]) -> dict[str, set[str]]:
    """Which keywords a call of each name may leave out, as functions and classes are declared."""
    found: dict[str, set[str]] = defaultdict(set)
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                asked = node.args
                plain = asked.posonlyargs + asked.args
                found[node.name].update(
                    one.arg for one in plain[len(plain) - len(asked.defaults) :]
                )
                found[node.name].update(
                    one.arg
                    for one, default in zip(asked.kwonlyargs, asked.kw_defaults, strict=True)
                    if default is not None
                )
            elif isinstance(node, ast.ClassDef):
                found[node.name].update(
                    one.target.id
                    for one in node.body
                    if isinstance(one, ast.AnnAssign)
                    and one.value
                    and isinstance(one.target, ast.Name)
                )
    return dict(found)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions and methods with their names; one inside another is part of that."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def _in_functions(
    source: Source, tree: ast.Module, defaults: Mapping[str, Iterable[str]]
) -> Iterator[tuple[str, Edit]]:
    for name, function in _functions(tree):
        if function.name in REPRESENTING or _abstract(function):
            continue
        returns = "" if function.returns is None else ast.unparse(function.returns)
        for statement in function.body:
            for node in _nodes(statement):
                for edit in _edits(source, node, returns, defaults):
                    yield name, edit


def _abstract(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    last = function.body[-1]
    return isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last)


def _nodes(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """The nodes of a tree in which something is decided."""
    if isinstance(node, UNTOUCHED) or (isinstance(node, ast.Expr) and _says(node.value)):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from _nodes(node.value)
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child)


def _says(value: ast.expr) -> bool:
    """Whether a statement is a docstring, a line of the log, or how long somebody has patience."""
    if isinstance(value, ast.Constant):
        return True
    return isinstance(value, ast.Call) and SAYS.search(ast.unparse(value.func)) is not None


def _edits(
    source: Source, node: ast.expr | ast.stmt, returns: str, defaults: Mapping[str, Iterable[str]]
) -> Iterator[Edit]:
    if isinstance(node, ast.Compare):
        yield from _comparisons(source, node)
    elif isinstance(node, ast.BoolOp):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in pairwise(node.values):
            yield from _token(source, left, right, old, new, "and/or")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        start, _end = source.span(node)
        yield Edit("not dropped", start, start + len("not"), "")
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield from _token(source, node.left, node.right, *ARITHMETIC[type(node.op)], "arithmetic")
    elif isinstance(node, ast.Constant):
        yield from _constants(source, node)
    elif isinstance(node, ast.Call):
        yield from _calls(source, node, defaults)
    elif isinstance(node, ast.stmt):
        yield from _statements(source, node, returns)
    test = getattr(node, "test", None)
    if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr):
        start, end = source.span(test)
        yield Edit("condition turned", start, end, f"not ({source.of(test)})")


def _token(
    source: Source, left: ast.expr, right: ast.expr, old: str, new: str, kind: str
) -> Iterator[Edit]:
    """Put one operator in the place of another between two operands, parentheses or not."""
    start, end = source.span(left)[1], source.span(right)[0]
    pattern = rf"\b{old}\b" if old[0].isalpha() else re.escape(old)
    match = re.search(pattern.replace(" ", r"\s+"), source.text[start:end])
    if match is not None:
        yield Edit(kind, start + match.start(), start + match.end(), new)


def _comparisons(source: Source, node: ast.Compare) -> Iterator[Edit]:
    for (left, right), op in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
        old = SYMBOLS[type(op)]
        for new, kind in zip(TURNED[old], ("turned", "boundary"), strict=False):
            yield from _token(source, left, right, old, new, kind)


def _constants(source: Source, node: ast.Constant) -> Iterator[Edit]:
    start, end = source.span(node)
    value = node.value
    if isinstance(value, bool):
        yield Edit("constant", start, end, str(not value))
    elif isinstance(value, int | float):
        yield Edit("constant", start, end, repr(value + 1))
        if value != 0:  # an index of one row is as good from its end
            yield Edit("constant", start, end, repr(value - 1))


def _calls(source: Source, node: ast.Call, defaults: Mapping[str, Iterable[str]]) -> Iterator[Edit]:
    name = ast.unparse(node.func).rpartition(".")[2]
    if isinstance(node.func, ast.Name) and name in NAMES:
        yield Edit("other function", *source.span(node.func), NAMES[name])
    for keyword in node.keywords:
        if keyword.arg in defaults.get(name, ()):
            start, end = source.span(keyword)
            comma = re.compile(r"\s*,").match(source.text, end)
            yield Edit("argument dropped", start, end if comma is None else comma.end(), "")


def _statements(source: Source, node: ast.stmt, returns: str) -> Iterator[Edit]:
    start, end = source.span(node)
    if isinstance(node, ast.Return) and node.value is not None:
        new = next((new for kind, new in EMPTY.items() if returns.startswith(kind)), "None")
        if returns == "bool":
            new = f"not ({source.of(node.value)})"
        if not isinstance(node.value, ast.Constant):
            yield Edit("return value", start, end, f"return {new}")
    elif (
        isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Continue | ast.Break)
        or (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Subscript | ast.Attribute)
        )
        or (isinstance(node, ast.If) and not node.orelse and _leaves(node.body[-1]))
    ):
        yield Edit("deleted", start, end, "pass")


def _leaves(node: ast.stmt) -> bool:
    return isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break)


def _in_queries(source: Source, tree: ast.Module) -> Iterator[tuple[str, Edit]]:
    """The same for queries, wherever they stand."""
    names = dict.fromkeys(range(len(source.lines) + 2), TOP)
    silent: set[int] = set()
    for name, function in _functions(tree):
        assert function.end_lineno is not None
        names.update(dict.fromkeys(range(function.lineno, function.end_lineno + 1), name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.update(range(node.lineno, (node.end_lineno or 0) + 1))
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if "STRING" not in tokenize.tok_name[token.type] or token.start[0] in silent:
            continue
        if "CREATE TABLE" in token.string or not QUERY.search(token.string):
            continue
        line, column = token.start
        at = sum(map(len, source.lines[: line - 1])) + column
        for pattern, new in IN_QUERIES:
            for match in re.finditer(pattern, token.string):
                yield names[line], Edit("query", at + match.start(), at + match.end(), new)
