"""What a method is given where its annotation says text."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from mcshell.client.arguments import checks_methods
from mcshell.errors import UsageError, on_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


TABLE = pd.DataFrame({"sender": ["web1"]})
SHOWN = on_one_line(reprlib.repr(TABLE))


@checks_methods
class Asked:
    """Says what it was given."""

    def ask(
        self, agent: str, /, *rest: str, path: str | Path | None = None, count: int = 1, **more: Any
    ) -> Any:
        """Return all of it."""
        return agent, rest, path, count, more

    def other(self, node: str | list[str], ttl: float | str = 0) -> Any:
        """Return what is looked at nowhere else."""
        return node, ttl

    def many(
        self,
        nodes: str | Iterable[str] = (),
        inputs: Mapping[str, Any] | None = None,
        rate: float | None = None,
        done: Callable[[str], None] | None = None,
        rows: Iterable[Any] = (),
        *,
        sure: bool = True,
    ) -> Any:
        """Return all of it."""
        return nodes, inputs, rate, done, rows, sure


def test_what_fits_is_passed_on() -> None:
    """What is like text or a number counts as one; the name of an argument without one is an input's."""
    asked: Any = Asked()
    given = asked.ask(np.str_("a"), "b", path=Path("c"), count=np.int64(2), agent=5)
    assert given == ("a", ("b",), Path("c"), 2, {"agent": 5})
    assert asked.ask("a", path=None) == ("a", (), None, 1, {})
    assert asked.other(["a"], 3) == (["a"], 3)
    nodes = pd.Series(["a"])
    assert asked.many(nodes, {"a": 1}, np.float32(2), print, [1])[0] is nodes


@pytest.mark.parametrize("flag", [True, False, np.True_, np.bool(False), 1, 0, np.int64(1)])
def test_a_flag_is_what_a_notebook_has(flag: Any) -> None:
    """Python's True or numpy's, and 1 and 0."""
    assert Asked().many(sure=flag)[-1] is flag


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        ((3,), {}, "agent 3: text is meant"),
        (("a", None), {}, "rest None: text is meant"),
        (("a",), {"path": b"x"}, "path b'x': text or a path is meant"),
        (("a",), {"count": "two"}, "count 'two': a whole number is meant"),
    ],
)
def test_what_does_not_fit_is_named(given: Any, named: Any, said: str) -> None:
    """The argument, what it was, and what is meant."""
    with pytest.raises(UsageError) as raised:
        Asked().ask(*given, **named)
    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"nodes": 5}, "nodes 5: text or a list of text is meant"),
        ({"nodes": [5]}, "nodes [5]: text or a list of text is meant"),
        ({"nodes": b"web1"}, "nodes b'web1': text or a list of text is meant"),
        ({"inputs": [1]}, "inputs [1]: a dict is meant"),
        ({"rate": "fast"}, "rate 'fast': a number is meant"),
        ({"done": "print"}, "done 'print': a function is meant"),
        ({"rows": "ab"}, "rows 'ab': a list is meant"),
        ({"sure": "no"}, "sure 'no': True or False is meant"),
        ({"sure": 30}, "sure 30: True or False is meant"),
        ({"sure": None}, "sure None: True or False is meant"),
        ({"nodes": TABLE}, f"nodes {SHOWN}: text or a list of text is meant"),
    ],
)
def test_lists_dicts_numbers_and_functions_are_looked_at(named: Any, said: str) -> None:
    """What is in a list, too; text is no list of its letters, nor a table one of its columns."""
    with pytest.raises(UsageError) as raised:
        Asked().many(**named)
    assert str(raised.value) == said


def test_an_object_whose_name_is_typed_says_what_can_be_called() -> None:
    """One line with the methods, in place of an address in memory."""
    assert repr(Asked()) == "<Asked: ask, other, many>"
