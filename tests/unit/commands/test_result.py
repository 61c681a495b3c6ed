"""Exit codes (mcshell/README.md §3) and the JSON document, from real replies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.commands.grammar.parser import parse
from mcshell.commands.output.json_document import document, dumps, plain
from mcshell.commands.output.result import (
    Prose,
    Table,
    counts_code,
    exit_code,
    submitted_code,
)
from mcshell.message import State


def counts(**states: int) -> dict[str, int]:
    """The stats of a request whose targets are in these states."""
    found = {state.value: states.get(state.value, 0) for state in State}
    return {"targets": sum(states.values()), **found}


@pytest.mark.parametrize(
    ("states", "discovered", "code"),
    [
        ({"ok": 3}, True, 0),
        ({}, True, 1),
        ({"ok": 2, "failed": 1}, True, 2),
        ({"ok": 2, "denied": 1, "silent": 1}, True, 2),
        ({"interrupted": 1}, True, 2),
        ({"silent": 3}, True, 3),
        ({"silent": 1, "expired": 1, "pending": 1}, True, 3),
        ({"silent": 3}, False, 4),
        ({"ok": 2, "silent": 1}, True, 5),
        ({"ok": 2, "silent": 1}, False, 5),
        ({"received": 1}, True, 5),
        ({"running": 1, "ok": 1}, True, 5),
        ({"expired": 1, "ok": 1}, True, 5),
        ({"pending": 1, "ok": 1}, True, 5),
    ],
)
def test_the_first_exit_code_that_fits(
    states: dict[str, int], code: int, *, discovered: bool
) -> None:
    """Counts of states come to the code that §3 gives, in its order."""
    assert counts_code(counts(**states), discovered=discovered) == code


@pytest.mark.parametrize(
    ("states", "heard", "code"),
    [
        ({"received": 2}, False, 0),
        ({"received": 1, "ok": 1}, True, 0),
        ({"expired": 2}, True, 5),
        ({"pending": 2}, False, 3),
        ({"received": 1, "pending": 1}, False, 5),
        ({"received": 1, "expired": 1}, True, 5),
        ({"received": 1, "denied": 1}, True, 2),
    ],
)
def test_job_submit_exits_as_the_states_say(
    states: dict[str, int], code: int, *, heard: bool
) -> None:
    """A job that all have is 0; all missed, refused or unheard of is not."""
    assert submitted_code(counts(**states), discovered=True, heard=heard) == code


def test_what_is_no_request_is_all_right_unless_it_says_otherwise() -> None:
    """Text and nothing are 0; a table carries its own code."""
    assert exit_code(None) == 0
    assert exit_code(Prose("help")) == 0
    assert exit_code(Table(("a",), [], 3)) == 3


def test_text_shows_as_itself() -> None:
    """IPython shows help as lines, not as a quoted string."""
    assert repr(Prose("a\nb")) == "a\nb"


def test_bytes_that_are_no_text_travel_as_base64() -> None:
    """UTF-8 bytes are text, others are {"$base64": …}; NaN is null; sets are sorted."""
    value = {"a": b"\xff\x00", "b": b"text", "c": float("nan"), "d": {2, 1}, 5: (1, None)}
    assert plain(value) == {
        "a": {"$base64": "/wA="},
        "b": "text",
        "c": None,
        "d": [1, 2],
        "5": [1, None],
    }


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_json_is_harmless_and_means_the_same(value: object) -> None:
    """No control or bidi character leaves raw, and reading it back gives the value."""
    text = dumps(value)
    assert json.loads(text) == value
    assert not set(text) & {chr(code) for code in (*range(32), *range(0x7F, 0xA0), 0x202E, 0x2066)}


def test_a_table_is_a_list_of_objects() -> None:
    """Verbs that ask nobody give objects with the columns of their table."""
    assert document(Table(("a", "b"), [(1, "x"), (2, None)])) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": None},
    ]


def test_named_targets_are_told_from_discovered_ones() -> None:
    """Only names given by hand, without any filter beside them, were never discovered."""
    for line, named in (
        ("rpc a b", False),
        ("rpc a b -I web1", True),
        ("rpc a b -I /web/", False),
        ("rpc a b -I web1 -F os=Debian", False),
        ("rpc a b --nodes f", True),
        ("rpc a b --nodes f -C web", False),
        ("rpc a b --dm stdin", True),
    ):
        assert parse(line.split()).options.named is named, line
