"""`report -p name=value`: typed by what the notebook has."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from mcshell.commands.parameters import declared, given
from mcshell.errors import UsageError

CELL = """
day = "x"  # text
n: int = 1
share = 0.1
flag = False
items = []
opts = {}
none = None
made = print("x")
"""


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("day=2026-11-25", "2026-11-25"),
        ("day=1.10", "1.10"),
        ("day=0644", "0644"),
        ("day=yes", "yes"),
        ("day=[a: b", "[a: b"),
        ("day=a=b", "a=b"),
        ("day=", ""),
        ("n=3", 3),
        ("share=2", 2),
        ("share=1e-3", 0.001),
        ("flag=true", True),
        (
            "items=[a, 'b=c', 1, 1.10, 0644, 2026-11-25]",
            ["a", "b=c", 1, "1.10", "0644", "2026-11-25"],
        ),
        ("opts={a: 1, b: yes}", {"a": 1, "b": "yes"}),
        ("none=2026-11-25", "2026-11-25"),
        ("none=5", 5),
        ("none=1.5", 1.5),
        ("none=1.50", "1.50"),
        ("none=null", None),
        ("made=12:30", "12:30"),
    ],
)
def test_values_are_as_they_were_written(word: str, value: object) -> None:
    """Text stays text; numbers, lists and hashes are read where the notebook has such."""
    name = word.partition("=")[0]
    found = given([word], declared([CELL]))[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["n=x"], "a value such as 1 is meant"),
        (["n=true"], "such as 1"),
        (["n=0644"], "such as 1"),
        (["flag=1"], "such as False"),
        (["items=a"], r"such as \[\]"),
        (["items=[a"], r"such as \[\]"),
        (["opts=[a]"], "such as {}"),
        (["day"], "name=value is meant"),
        (["dya=x"], "did you mean day"),
        (["day=a", "day=b"], "day is given twice"),
    ],
)
def test_what_is_no_value_is_refused(words: list[str], said: str) -> None:
    """One line says which parameter, and what the notebook has there."""
    with pytest.raises(UsageError, match=said):
        given(words, declared([CELL]))


def test_a_cell_that_is_no_python_still_names_its_parameters() -> None:
    """A magic beside them costs their types, not their names."""
    known = declared(["%load_ext mcshell\nday = 'x'"])
    assert given(["day=2026-11-25"], known) == {"day": "2026-11-25"}


@hypothesis_given(st.text(max_size=40))
def test_any_text_is_a_value(text: str) -> None:
    """Nothing but UsageError comes of what somebody writes; what is text comes as it is."""
    known: dict[str, Any] = {"day": "x", "none": None, "items": []}
    assert given([f"day={text}"], known) == {"day": text}
    given([f"none={text}"], known)
    with suppress(UsageError):
        given([f"items={text}"], known)
