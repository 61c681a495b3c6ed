"""Hostile replies, as a node could send them: harmless in every format of the terminal."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest

from mcshell.commands.grammar.options import OutputOptions
from mcshell.commands.grammar.values import FORMATS
from mcshell.commands.output.result import Table
from mcshell.shell.output import Screen, show

HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "ansi": "\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07\x1b]52;c;Y2xpcA==\x07",
    "controls": "".join(map(chr, (*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0)))),
    "lines": "one\r\ntwo\rthree\u2028four\x0bfive",
    "bidi": "\u202eevil\u202c \u2066hidden\u2069 \u200f \u061c",
    "surrogate": "\ud800",
    "long": "x" * 10_000_000,
}
ACTED_ON = {chr(code) for code in (*range(9), *range(11, 32), *range(0x7F, 0xA0))}
ACTED_ON |= set(
    "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def drawn(value: object, form: str | None, column: str = "value") -> str:
    """What a terminal is sent for a table with this value."""
    out = io.StringIO()
    table = Table(("sender", column), [("web1", value)], notes=(str(value)[:200],))
    show(table, OutputOptions(format=form), Screen(out, out, 100))
    return out.getvalue()


@pytest.mark.parametrize("form", [None, *FORMATS])
@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_no_format_passes_anything_on(kind: str, form: str | None) -> None:
    """Nothing that a terminal acts on is sent, and any stream can encode what is; soon."""
    began = time.process_time()
    for value in (HOSTILE[kind], [HOSTILE[kind]], {"deep": {HOSTILE[kind][:50]: HOSTILE[kind]}}):
        text = drawn(value, form)
        assert not ACTED_ON & set(text)
        text.encode("utf-8")
    assert time.process_time() - began < 30
    if kind != "long":
        assert not ACTED_ON & set(drawn(1, form, HOSTILE[kind]))


@pytest.mark.parametrize("form", [None, "table", "psql", "github", "vertical"])
def test_what_is_far_too_long_is_cut_for_the_eye(form: str | None) -> None:
    """A reader gets the beginning and is told of the rest; a program gets all."""
    text = drawn(HOSTILE["long"], form)
    assert len(text) < 200_000
    assert ("cut short: value" if form is None else "10000000 characters") in text
    assert json.loads(drawn(HOSTILE["long"], "json").splitlines()[0])[0]["value"] == HOSTILE["long"]


def test_csv_keeps_every_letter_that_is_harmless() -> None:
    """Ten megabytes come back whole."""
    former = csv.field_size_limit(20_000_000)
    try:
        rows = list(csv.reader(io.StringIO(drawn(HOSTILE["long"], "csv"))))
    finally:
        csv.field_size_limit(former)
    assert rows[1][1] == HOSTILE["long"]
