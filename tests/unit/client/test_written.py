"""YAML of inputs: what is written is what the DDL types, whatever YAML would make of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.documents.reader import Written, inputs_of, load_yaml
from mcshell.ddl import Action, Input
from mcshell.ddl.types import Given
from mcshell.errors import InputError, UsageError

TYPES = ("string", "integer", "number", "boolean", "array", "hash", "any")
ACTION = Action(
    agent="a",
    name="b",
    inputs={kind: Input(name=kind, type=kind, optional=True) for kind in TYPES},
)


def read(text: str) -> dict[str, object]:
    """The inputs of a cell, checked."""
    return ACTION.from_text(inputs_of(load_yaml(text, "the cell")))


@given(st.from_regex(r"[A-Za-z0-9._+~/=-][A-Za-z0-9._+~/=:-]*[A-Za-z0-9._+~/=-]", fullmatch=True))
def test_a_plain_word_is_the_text_it_is(word: str) -> None:
    """Letter by letter where the DDL wants text, and nested where JSON has no such value."""
    if word in ("---", "..."):
        return
    found = read(f"string: {word}\narray: [{word}]\nhash: {{{word}x: {word}}}")
    assert found["string"] == word
    for nested in (*found["array"], *found["hash"].values()):  # type: ignore[misc, attr-defined]
        assert nested == word or json.dumps(nested) == word
    assert list(found["hash"]) == [f"{word}x"]  # type: ignore[call-overload]


# Above it YAML has another escape than JSON.
LETTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])


@given(st.one_of(st.text(LETTERS), st.integers(), st.booleans(), st.floats(allow_nan=False)))
def test_quotes_make_text(value: object) -> None:
    """What JSON quotes is text, for an `any` too; other values are themselves."""
    found = read(f"any: {json.dumps(value)}\narray: [{json.dumps(value)}]")
    if not (isinstance(value, float) and value in (float("inf"), float("-inf"))):
        assert found["any"] == value
        assert found["array"] == [value]


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        ("integer", "0644", 644),
        ("integer", "'5'", 5),
        ("number", "1.10", 1.1),
        ("number", "-2", -2),
        ("boolean", "yes", True),
        ("boolean", "off", False),
        ("boolean", "'true'", True),
        ("string", "on", "on"),
        ("string", "1_000", "1_000"),
        ("string", "0x1F", "0x1F"),
        ("string", "2026-11-25T04:00:00Z", "2026-11-25T04:00:00Z"),
        ("any", "1.10", "1.10"),
        ("any", "1.5", 1.5),
        ("any", "true", True),
        ("any", "'true'", "true"),
        ("any", "!!int 5", 5),
        ("array", "[null, ~, 1E5]", [None, "~", "1E5"]),
        ("hash", "{on: {no: 1}}", {"on": {"no": 1}}),
    ],
)
def test_words_are_typed_by_the_ddl(kind: str, written: str, value: object) -> None:
    """As on a line."""
    found = read(f"{kind}: {written}")
    assert found == {kind: value}
    assert type(found[kind]) is type(value)


def test_nothing_behind_the_colon_is_not_given() -> None:
    """As before it was there at all."""
    assert read("string:\ninteger: \nany: ''") == {"any": ""}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("integer: 1_000", "must be a whole number"),
        ("boolean: maybe", "must be true or false"),
        ("array: ls", "must be JSON"),
        ("string: [a]", "must be text"),
    ],
)
def test_what_is_not_of_the_type_is_refused(text: str, why: str) -> None:
    """One line, with the input's name."""
    with pytest.raises(InputError, match=why):
        read(text)


def test_only_inputs_are_read_so_in_a_plan() -> None:
    """Other keys are YAML's; merges and anchors work in both."""
    text = "a: 1.10\ninputs: &x {v: 1.10}\nmore: {inputs: {<<: *x, w: yes}}"
    found = load_yaml(text, "p.yaml", under="inputs")
    assert found["a"] == 1.1
    assert found["inputs"] == {"v": "1.10"}
    assert found["more"]["inputs"] == {"v": "1.10", "w": "yes"}
    assert isinstance(found["more"]["inputs"]["w"], Written)
    with pytest.raises(UsageError, match="'w' is given twice"):
        load_yaml("inputs: {w: 1, w: 2}", "p.yaml", under="inputs")


def test_a_given_text_is_its_value() -> None:
    """Text that stands for a value is that value where it fits, else read as on a line."""
    assert ACTION.from_text({"any": Given("5", "5"), "string": Given("5", 5)}) == {
        "any": "5",
        "string": "5",
    }
    with pytest.raises(InputError, match="must be text"):
        ACTION.from_text({"string": Given("[1]", [1])})


@pytest.mark.parametrize(
    "value", ["!!bool maybe", "!!int ''", "!!float ''", "!!timestamp soon", "2026-13-45", "0x_"]
)
def test_what_is_no_value_of_its_type_is_said_with_its_place(value: str) -> None:
    """Whatever PyYAML raises for it, of which some is no error of YAML's."""
    with pytest.raises(
        UsageError, match=r"^plan:2:7: no YAML: '.*' is no (bool|int|float|timestamp)$"
    ):
        load_yaml(f"plan: x\nstop: {value}\n", "plan", under="inputs")
