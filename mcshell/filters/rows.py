"""The filter language over the rows of a table: `installed=false and lag>2`.

What a filter calls a fact is a column here. A value that is missing matches no comparison, `!=`
included. There are neither classes nor data plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.errors import FilterError
from mcshell.filters.expressions import compile_expression, parse_compound
from mcshell.filters.tree import And, ClassTest, DataTest, Expression, FactTest, Not, Or, show
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from mcshell.filters.matcher import Subject

__all__ = ["RowTest", "compile_rows"]


@dataclass(frozen=True, slots=True)
class RowTest:
    """A compiled expression; `comparisons` are those that it makes."""

    comparisons: tuple[FactTest, ...]
    _test: Callable[[Subject], bool]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names, or paths, that it looks at."""
        return tuple(dict.fromkeys(one.fact for one in self.comparisons))

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Whether it is true of a row."""
        return self._test(_Row(row))


@dataclass(frozen=True, slots=True)
class _Row:
    """A row in the place of a node: its columns are the facts."""

    facts: Mapping[str, Any]
    identity: str = ""
    agents: AbstractSet[str] = frozenset()
    classes: AbstractSet[str] = frozenset()

    def query(self, plugin: str, params: str | None) -> Mapping[str, Any]:
        """Never asked: `compile_rows` takes no data plugins."""
        raise FilterError(f"a row answers no data plugin: {plugin}({params or ''})")


def compile_rows(text: str) -> RowTest:
    """Compile an expression over columns.

    Raises:
        FilterError: it does not parse, or holds something else than comparisons.
    """
    expression = parse_compound(text)
    return RowTest(tuple(_comparisons(expression, text)), compile_expression(expression))


def _comparisons(expression: Expression, text: str) -> Iterator[FactTest]:
    match expression:
        case FactTest():
            yield expression
        case ClassTest() | DataTest():
            raise FilterError(
                f"{show(expression)!r} compares no column: COLUMN=VALUE is meant", text
            )
        case Not(operand):
            yield from _comparisons(operand, text)
        case And(operands) | Or(operands):
            for operand in operands:
                yield from _comparisons(operand, text)
