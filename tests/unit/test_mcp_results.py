"""What goes out to an assistant: harmless, bounded, and JSON, whatever a node has said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.mcp.results import harmless, one_line, part, size
from mcshell.mcp.tools import TOOLS

NAN = float("nan")
TEXTS = st.text(st.characters(), max_size=18)  # halves of pairs, too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=40) | TEXTS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=6),
    max_leaves=30,
)


def texts(value: Any) -> list[str]:
    """Every text in it, keys too."""
    match value:
        case str():
            return [value]
        case dict():
            return [*value, *(text for inner in value.values() for text in texts(inner))]
        case list():
            return [text for inner in value for text in texts(inner)]
    return []


@given(VALUES, st.integers(1, 50), st.integers(1, 5), st.integers(1, 5))
def test_whatever_it_is_it_becomes_plain(
    value: Any, characters: int, items: int, depth: int
) -> None:
    """JSON that UTF-8 carries, with nothing that acts, hides or turns round; twice is as good as once."""
    found = harmless(value, characters, items, depth)
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    for text in texts(found):
        assert all(one.isprintable() or one in "\n\t" or one.isspace() for one in text)
        assert not set(text) & set("\u2028\u2029\u202e\u200b\ufeff\x00\x1b\r")


@given(VALUES)
def test_what_is_plain_already_stays(value: Any) -> None:
    """What has come out once is not changed again."""
    once = harmless(value, 10_000, 1_000, 50)
    assert harmless(once, 10_000, 1_000, 50) == once


@given(
    st.lists(VALUES, max_size=30), st.integers(0, 40), st.integers(1, 10), st.integers(2_000, 9_000)
)
def test_all_rows_are_there_part_by_part(
    rows: list[Any], offset: int, limit: int, most: int
) -> None:
    """Each part is as small as was asked for, says where the next begins, and loses none."""
    seen, at = 0, offset
    while True:
        found = part(rows, lambda row: {"says": row}, offset=at, limit=limit, most=most)
        assert found.total == len(rows)
        assert len(found.rows) <= limit
        assert size(found.rows) <= most + 2_000
        seen += len(found.rows)
        if found.following is None:
            break
        assert f"offset={found.following}" in found.cut
        assert found.following > at
        at = found.following
    assert seen == max(0, len(rows) - offset)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("a\x00b", "a\\x00b"),
        ("a\ud800b", "a\\ud800b"),
        ("line\r\nline\ttab", "line\nline\ttab"),
        ("x\U000e0041", "x\\U000e0041"),
        ("x\ufe0f", "x\\ufe0f"),
        ("\u200bzero", "\\u200bzero"),
        ("na\u00efve \u00a0 \u4e2d\u6587 \U0001f600", "na\u00efve \u00a0 \u4e2d\u6587 \U0001f600"),
        ("A" * 3_000, "A" * 2_000 + "\u2026 (3000 characters: cut)"),
    ],
)
def test_a_text_is_what_it_looks_like(text: str, drawn: str) -> None:
    """What acts or is not seen is drawn; letters of any script stay."""
    assert harmless(text) == drawn


def test_what_is_large_is_cut_and_says_so() -> None:
    """Items, keys, depth and numbers that no reader of JSON keeps."""
    assert harmless([1] * 600)[-1] == "\u2026 (600 items, 500 of them here: cut)"
    assert harmless({str(n): n for n in range(600)})["\u2026"] == "600 keys, 500 of them here: cut"
    assert harmless(2**53 + 1) == str(2**53 + 1)
    assert harmless({"\x01": 1, "\\x01": 2}) == {"\\x01": 1, "\\x01'": 2}
    assert "cut" in json.dumps(harmless(json.loads("[" * 40 + "]" * 40)), ensure_ascii=False)
    found = part(["x" * 50_000] * 9, lambda row: [row] * 100, characters=50_000)
    assert "were too large, and are cut" in found.cut
    assert one_line("a\n b\x1b") == "a b\\x1b"


def test_every_tool_says_what_it_takes_and_gives() -> None:
    """Names, descriptions and schemas are constants of ours, and no tool approves, runs or writes."""
    assert set(TOOLS) == {
        *("discover", "facts", "inventory", "doc", "explain", "replies", "sql", "call"),
        *("propose", "proposals"),
    }
    for tool in TOOLS.values():
        assert tool.description.isascii()
        for schema in (tool.takes, tool.gives):
            assert schema["type"] == "object"
            assert schema["additionalProperties"] is False
        assert tool.complaint({"nonsense": 1})
        assert "\n" not in tool.complaint({"nonsense": "a\nb" * 1_000})
    assert [tool.name for tool in TOOLS.values() if not tool.reads] == ["propose"]


def test_nan_is_no_number_of_seconds() -> None:
    """A client may write it, and it lies within any bounds: a tool would wait for ever."""
    assert TOOLS["replies"].complaint({"wait": NAN}) == "replies: wait: NaN is no number"
    assert TOOLS["replies"].complaint({"wait": 1.5}) == ""
