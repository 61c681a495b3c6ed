"""Values of a notebook's names in a line or a cell: `{name}` and `{{expression}}`, as whole words.

A value is put in after the words are known, so it is one word whatever is in it: what a node has
said becomes no option and no second word. What is not put in is refused, never sent as it stands.
"""

from __future__ import annotations

import ast
import builtins
import datetime as dt
import json
import keyword
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn

from mcshell.client.documents.reader import Written
from mcshell.ddl.types import Given, coerce
from mcshell.errors import UsageError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

__all__ = ["Closures", "Template", "refuse_lists"]

_WORD = re.compile(r"[^\W\d]\w*")
_NAME = re.compile(r"\{([^\W\d]\w*)\}")
_DOLLAR = re.compile(r"\$(?:\{([^\W\d]\w*)\}|([^\W\d]\w*))")
_BEFORE = r"[^\s{}=<>!~]*[=<>!~]+"
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_BRACES = re.compile(rf"(?:{_BEFORE})?\{{(.*)\}}", re.DOTALL)
_SHOWN = 60


class Closures(ast.NodeTransformer):
    """Lets a line in a function have the names of the functions around it.

    A function takes from those around it only what its code names, and a line's names stand in a
    text: the notebook's variable of that name would be put in. So the code names them, never run.
    `magics` are the names of the lines' magic.
    """

    def __init__(self, magics: Container[str]) -> None:
        self._magics = magics

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """The call of a line's magic, with the line's words as names beside it."""
        self.generic_visit(node)
        match node:
            case ast.Call(
                func=ast.Attribute(attr="run_line_magic"),
                args=[ast.Constant(value=str(magic)), ast.Constant(value=str(line)), *_],
            ) if magic in self._magics or "%mco" in line:
                words = [word for word in _WORD.findall(line) if not keyword.iskeyword(word)]
                names: list[ast.expr] = [ast.Name(word, ast.Load()) for word in {*words}]
                never = ast.Tuple(names, ast.Load())
                both = ast.IfExp(test=ast.Constant(value=True), body=node, orelse=never)
                return ast.fix_missing_locations(ast.copy_location(both, node))
            case _:
                return node


@dataclass(frozen=True, slots=True)
class _Hole:
    """A place in the text: `source` as it was written, `expression` as Python reads it."""

    source: str
    expression: str
    is_name: bool


class Template:
    """A line or a cell's body, `text`, with a mark in each place that a value may take.

    `names` are those that count there, a function's own before the notebook's. `tables` are what
    `--nodes` of the line means, by the word that stands there.
    """

    def __init__(self, text: str, names: Mapping[str, Any]) -> None:
        self._names = names
        self._mark = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)
        self.tables: dict[str, Any] = {}
        self._holes: list[_Hole] = []
        self._place = re.compile(f"{self._mark}([0-9]+){self._mark}")
        self._whole = re.compile(f"({_BEFORE})?{self._place.pattern}")
        self.text = self._marked(text)

    def _marked(self, text: str) -> str:
        parts: list[str] = []
        done = at = 0
        while (at := text.find("{", at)) >= 0:
            hole = _expression(text, at) or _name(text, at)
            if hole is None:
                at += 1
                continue
            parts += [text[done:at], f"{self._mark}{len(self._holes)}{self._mark}"]
            self._holes.append(hole)
            done = at = at + len(hole.source)
        return "".join([*parts, text[done:]])

    def words(self, words: Iterable[str]) -> list[str]:
        """The words of the line with their values.

        Raises:
            UsageError: there is no such name, its value is no word, or it stands inside of one.
        """
        found: list[str] = []
        for word in words:
            if found[-1:] == ["--nodes"] and (place := self._place.fullmatch(word)):
                hole = self._holes[int(place[1])]
                self.tables[hole.source] = self._evaluated(hole)
                found.append(hole.source)
                continue
            value = self.value(word)
            alone = self._place.fullmatch(word) is not None
            if alone and value.startswith("-") and "--" not in found:
                self._refuse(word, "its value would be read as an option")
            found.append(value)
        return found

    def value(self, word: str) -> str:
        """One word or text with its value; the word itself where it has none."""
        if whole := self._whole.fullmatch(word):
            before, number = whole[1] or "", int(whole[2])
            value = self._plain(self._holes[number])
            return Given(before + _text(self._holes[number].source, value), value)
        if (dollar := _DOLLAR.fullmatch(word.partition("=")[2] or word)) is not None:
            name = dollar[1] or dollar[2]
            if self._knows(name):
                raise UsageError(f"{dollar[0]}: the value of {name} is put in by {{{name}}}")
        if braces := _BRACES.fullmatch(word):
            self._refuse_single(braces[1])
        return self._restored(word)

    def _refuse_single(self, inside: str) -> None:
        """Refuse `{n + 1}` as IPython has it, where it speaks of names that are there."""
        try:
            tree = ast.parse(inside.strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return  # such as awk's or a shell's
        if any(isinstance(one, ast.Name) and self._knows(one.id) for one in ast.walk(tree)):
            raise UsageError(
                f"{{{inside}}}: what an expression comes to is put in by {{{{{inside}}}}}"
            )

    def yaml(self, value: Any) -> Any:
        """What YAML has made of the text, with the values in it."""
        if isinstance(value, dict):
            if len(value) == 1 and [*value.values()] == [None]:
                self._refuse_single(str(next(iter(value))))
            return {
                self._restored(key) if isinstance(key, str) else key: self.yaml(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self.yaml(inner) for inner in value]
        if not isinstance(value, str):
            return value
        found = self.value(value) if self._place.search(value) else value
        return Written(found) if isinstance(value, Written) and type(found) is str else found

    def sql(self, text: str, bound: dict[str, Any]) -> str:
        """SQL with a parameter in each place; `bound` takes the values, so that none is read as SQL.

        Raises:
            UsageError: as `words`, or it stands in quotes.
        """

        def parameter(place: re.Match[str]) -> str:
            hole, name = self._holes[int(place[1])], f"given{place[1]}"
            value = self._evaluated(hole)
            if not isinstance(value, dt.datetime) or value != value:  # noqa: PLR0124 - NaT is not
                value = _plain(hole.source, value)
            bound[name] = value
            return f":{name}"

        pieces, done = [], 0
        for quoted in _QUOTED.finditer(text):
            pieces.append(self._place.sub(parameter, text[done : quoted.start()]))
            comment = quoted[0].startswith(("--", "/*"))
            why = "inside quotes: write it without them"
            pieces.append(self._written(quoted[0]) if comment else self._restored(quoted[0], why))
            done = quoted.end()
        return "".join([*pieces, self._place.sub(parameter, text[done:])])

    def plain(self) -> str:
        """The text as it was written, where no value can be put in."""
        return self._restored(self.text, "where no value is put in")

    def _restored(self, text: str, where: str = "") -> str:
        """The text as it was written; UsageError where a value is meant: `NR==1{exit}` is awk's."""

        def source(place: re.Match[str]) -> str:
            hole = self._holes[int(place[1])]
            if not hole.is_name or not callable(self._names.get(hole.expression, str)):
                self._refuse(text, where or "inside a word: a value is put in as a whole word")
            return hole.source

        return self._place.sub(source, text)

    def _written(self, text: str) -> str:
        return self._place.sub(lambda place: self._holes[int(place[1])].source, text)

    def _refuse(self, text: str, why: str) -> NoReturn:
        written = self._written(text)
        first = self._place.search(text)
        source = self._holes[int(first[1])].source if first else written
        quoted = "'" if "'" not in written else '"'
        raise UsageError(
            f"{source} stands in {_short(written)}: {why}; a text is made by {{{{f{quoted}…{quoted}}}}}, "
            f"and {{{{{quoted}{source}{quoted}}}}} are these very letters"
        )

    def _knows(self, name: str) -> bool:
        return name in self._names

    def _evaluated(self, hole: _Hole) -> Any:
        """What Python makes of what stands there."""
        if hole.is_name and not self._knows(hole.expression):
            raise UsageError(
                f"{hole.source}: there is no variable {hole.expression!r} here; "
                f"{{{{{hole.source!r}}}}} are these very letters"
            )
        names = {"__builtins__": builtins, **self._names}
        try:
            return eval(compile(hole.expression, hole.source, "eval"), names)  # noqa: S307 - the operator's own, in his own process
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if isinstance(error, SyntaxError):
                said = "this is no expression"
            hint = f"; {{{{{hole.source!r}}}}} are these very letters"
            raise UsageError(f"{hole.source}: {said}{hint}") from error

    def _plain(self, hole: _Hole) -> Any:
        """The same as a value that a word can stand for."""
        return _plain(hole.source, self._evaluated(hole))


def refuse_lists(options: Any) -> None:
    """Refuse lists where a line takes a word; inputs take them.

    Raises:
        UsageError: there is one.
    """
    for name, said in vars(options).items():
        words = [said] if isinstance(said, str) else said if isinstance(said, list) else ()
        for word in words:
            if name != "inputs" and isinstance(word, Given) and isinstance(word.value, list | dict):
                raise UsageError(
                    f"{_short(word)}: a word is meant, not several "
                    "(--nodes NAME takes a list of nodes, input={name} any list)"
                )


def _expression(text: str, at: int) -> _Hole | None:
    """`{{…}}` at a place: up to the first end behind which it is Python, else to the first."""
    if not text.startswith("{{", at):
        return None
    first = end = text.find("}}", at + 2)
    while end >= 0:
        inside = text[at + 2 : end].strip()
        try:
            ast.parse(inside, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            end = text.find("}}", end + 1)
            continue
        return _Hole(text[at : end + 2], inside, is_name=False)
    return None if first < 0 else _Hole(text[at : first + 2], text[at + 2 : first].strip(), False)


def _name(text: str, at: int) -> _Hole | None:
    """`{name}` at a place; a shell's own `${name}` is none."""
    found = _NAME.match(text, at)
    if found is None or text[:at].endswith("$"):
        return None
    return _Hole(found[0], found[1], is_name=True)


def _plain(source: str, value: Any) -> Any:
    """A value as a line or a document can have it.

    Raises:
        UsageError: it is none, or of a kind that no word can stand for.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    try:
        plain = coerce("any", value)
    except ValueError as error:
        if isinstance(value, dt.date | dt.time) and value == value:  # noqa: PLR0124 - NaT is not
            return value.isoformat()
        if isinstance(value, list | tuple | dict):
            raise UsageError(f"{source}: {error}") from error
        what = f"{source} is a {type(value).__name__}"
        if str(value) in ("nan", "NaT", "<NA>"):
            what = f"{source} has no value ({value})"
        raise UsageError(f"{what}: a word, a number or a list is meant") from error
    if plain is None or isinstance(plain, bytes):
        raise UsageError(f"{source} has no value that a word can stand for ({_short(plain)})")
    return plain


def _text(source: str, value: Any) -> str:
    """A value as a line has it."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError as error:
        raise UsageError(f"{source}: {error}") from error


def _short(value: Any) -> str:
    text = repr(value if not isinstance(value, str) else str(value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
