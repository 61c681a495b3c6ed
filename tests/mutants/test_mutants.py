"""The script of mutants: what it changes, that it notices, and that its list of equivalents holds."""

from __future__ import annotations

import random

import pytest

from tests.mutants.__main__ import PROJECT, equivalents
from tests.mutants.modules import TESTS
from tests.mutants.mutations import chosen, defaults_of, mutations

SOURCE = '''\
"""A docstring with 1 number."""

QUERY = "SELECT x FROM t WHERE a > ? AND b IS NULL"
LIMIT = 5


class Keeper:
    """Keeps 2 things."""

    def __repr__(self) -> str:
        return "1" if not self else "2"

    def keep(self, one: int, *, durable: bool = False) -> bool:
        """Say 3 words."""
        assert one != 4, "never"
        log.info("kept %d", one + 5)
        if one <= LIMIT and not durable:
            self.count += 1
        return one > 6


def use(keeper: Keeper) -> list[int]:
    keeper.keep(7, durable=True)
    raise ValueError("no")
'''


def lines(text: str = SOURCE) -> set[tuple[str, str]]:
    """The lines of all mutants, before and after."""
    found = mutations(text, defaults_of([text]))
    return {(one.before, one.after) for some in found.values() for one in some}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if one <= LIMIT and not durable:", "if one > LIMIT and not durable:"),
        ("if one <= LIMIT and not durable:", "if one < LIMIT and not durable:"),
        ("if one <= LIMIT and not durable:", "if one <= LIMIT or not durable:"),
        ("if one <= LIMIT and not durable:", "if one <= LIMIT and  durable:"),
        ("self.count += 1", "pass"),
        ("self.count += 1", "self.count += 2"),
        ("return one > 6", "return not (one > 6)"),
        ("return one > 6", "return one >= 6"),
        ("return one > 6", "return one > 5"),
        ("keeper.keep(7, durable=True)", "keeper.keep(7, )"),
        ("keeper.keep(7, durable=True)", "keeper.keep(7, durable=False)"),
        ("keeper.keep(7, durable=True)", "pass"),
        ('raise ValueError("no")', "pass"),
        (
            'QUERY = "SELECT x FROM t WHERE a > ? AND b IS NULL"',
            'QUERY = "SELECT x FROM t WHERE a > ? OR b IS NULL"',
        ),
        (
            'QUERY = "SELECT x FROM t WHERE a > ? AND b IS NULL"',
            'QUERY = "SELECT x FROM t WHERE a > ? AND b IS NOT NULL"',
        ),
    ],
)
def test_each_kind_of_change_is_made(before: str, after: str) -> None:
    """Comparisons, boundaries, `and`, `not`, numbers, statements, values, arguments, queries."""
    assert (before, after) in lines()


def test_nothing_is_changed_that_decides_nothing() -> None:
    """Docstrings, settings, assertions, the log and `__repr__` stay as they are."""
    changed = {before for before, _ in lines()}
    for word in ("docstring", "LIMIT = 5", "Keeps", "Say", "assert", "log.", 'return "1"', "def "):
        assert not [line for line in changed if word in line and "if one" not in line], word


def test_one_seed_draws_the_same_mutants_from_all_functions() -> None:
    """And as many of one function as of another, as far as it has them."""
    found = mutations(SOURCE, defaults_of([SOURCE]))
    drawn = chosen(found, 6, random.Random("1 m"))
    assert drawn == chosen(found, 6, random.Random("1 m"))
    assert {name: sum(one.function == name for one in drawn) for name in found} == {
        "Keeper.keep": 2,
        "use": 2,
        "(top)": 2,
    }


def test_all_tests_and_equivalents_that_are_named_are_here() -> None:
    """An equivalent is of a line that stands in its module, and says why."""
    assert [path for some in TESTS.values() for path in some if not (PROJECT / path).exists()] == []
    lines = {
        name: {line.strip() for line in (PROJECT / name).read_text("utf-8").splitlines()}
        for name in TESTS
    }
    gone = [key for key in equivalents() if key[1] not in lines[key[0]] or key[1] == key[2]]
    assert gone == []
    assert all(len(why) > 20 for why in equivalents().values())
