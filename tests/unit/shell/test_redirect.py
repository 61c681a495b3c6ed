"""Where a line's result goes: what counts as a pipe or a file, and what is only text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from mcshell.commands.grammar.options import Options
from mcshell.commands.output.result import Prose, Table
from mcshell.errors import UsageError
from mcshell.shell.output import Screen, show
from mcshell.shell.redirect import redirected

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "line",
    [
        "find -S 'a | b'",
        'find -S "cpu>4"',
        "find -F cpu>4",
        "find -F a\\ |b",
        'rpc exec run argv=\'["a", "|"]\'',
        "",
    ],
)
def test_what_is_quoted_or_inside_a_word_stays(line: str) -> None:
    """Only a sign that stands apart, outside quotes, takes the result elsewhere."""
    assert redirected(line) == (line, show)


@pytest.mark.parametrize("line", ["find | sort | head", "find |sort", "find > x.csv", "find >x"])
def test_the_line_ends_before_the_sign(line: str) -> None:
    """What stands before the sign is the line."""
    rest, shower = redirected(line)
    assert rest.strip() == "find"
    assert shower is not show


@pytest.mark.parametrize(("line", "words"), [("find |", "a command"), ("find >  ", "a file")])
def test_nothing_behind_the_sign_is_refused(line: str, words: str) -> None:
    """A sign without a target is a usage error."""
    with pytest.raises(UsageError, match=f"{words} is missing"):
        redirected(line)


def test_files_by_their_endings(tmp_path: Path) -> None:
    """The ending chooses the format; the screen sees only what is not data."""
    out, err = io.StringIO(), io.StringIO()
    table = Table(("a", "b"), [(1, "x"), (2, None)], notes=("a note",))
    for name, start in (
        ("t.csv", "a,b\n1,x\n"),
        ("t.tsv", "a\tb\n1\tx\n"),
        ("t.json", '[{"a": 1, "b": "x"}'),
        ("t.jsonl", '{"a": 1, "b": "x"}\n'),
        ("t.md", "| a"),
        ("t.txt", "a"),
    ):
        _, shower = redirected(f"find > '{tmp_path / name}'")
        shower(table, Options(), Screen(out, err, 20), None)
        assert (tmp_path / name).read_text().startswith(start)
    assert out.getvalue() == ""
    assert "a note" in err.getvalue()


def test_parquet_wants_a_table(tmp_path: Path) -> None:
    """Prose is no table."""
    _, shower = redirected(f"help > {tmp_path / 'x.parquet'}")
    with pytest.raises(UsageError, match="a table is meant"):
        shower(Prose("help"), Options(), Screen(io.StringIO(), io.StringIO(), None), None)
