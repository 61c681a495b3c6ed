"""What reaches a screen: every format, nothing harmful, nothing changed on the way."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wcwidth import wcwidth

from mcshell.commands.grammar.options import OutputOptions
from mcshell.commands.output.result import Prose, Table
from mcshell.commands.output.sanitize import sanitize
from mcshell.errors import UsageError
from mcshell.shell.output import Screen, render, show
from mcshell.shell.tables import cell, fitted, tabulated

COLUMNS = ("sender", "version", "up", "tags", "more")
ROWS = [
    ("web1", "1.10", True, ["a", "b"], {"x": 1}),
    ("web2", "1e5", None, [], None),
]


def shown(result: object, form: str | None = None, width: int | None = None) -> tuple[str, str]:
    """What `show` writes to standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    show(result, OutputOptions(format=form), Screen(out, err, width))
    return out.getvalue(), err.getvalue()


def test_a_table_keeps_numbers_in_strings_as_they_are() -> None:
    """Versions such as 1.10 and 1e5 are text and stay it; nothing is an empty cell."""
    text = render(COLUMNS, ROWS, "table")
    assert "1.10" in text
    assert "1e5" in text
    assert "None" not in text
    assert text.splitlines()[0].split() == list(COLUMNS)


@pytest.mark.parametrize(
    ("form", "start"),
    [("psql", "+---"), ("github", "| sender"), ("table", "sender"), (None, "sender")],
)
def test_each_table_format_has_its_look(form: str | None, start: str) -> None:
    """table, psql and github draw the same rows."""
    text = render(COLUMNS, ROWS, form)
    assert text.startswith(start)
    assert "web2" in text


def wide(line: str) -> int:
    """The columns that a line takes on a terminal."""
    return sum(max(0, wcwidth(letter)) for letter in line)


def test_what_does_not_fit_is_left_out_by_name() -> None:
    """A row stays a row on a narrow terminal: the last columns go, and standard error says which."""
    table = Table(COLUMNS, ROWS)
    assert shown(table, None, 200) == (render(COLUMNS, ROWS, "table"), "")
    out, err = shown(table, None, 22)
    assert out.splitlines()[0].split() == ["sender", "version"]
    assert [line.split() for line in out.splitlines()[2:]] == [["web1", "1.10"], ["web2", "1e5"]]
    assert err == "not shown: up, tags, more (--format vertical shows all)\n"
    for form in ("table", "vertical"):
        assert shown(table, form, 20)[0] == render(COLUMNS, ROWS, form)


def test_a_terminal_of_no_size_shows_tables() -> None:
    """One that says 0 columns, as without a terminal behind it, is as wide as one of old."""
    behind, there = os.openpty()
    with os.fdopen(there, "w") as out, os.fdopen(behind, "rb", buffering=0):
        assert os.get_terminal_size(there).columns == 0
        assert Screen(out=out, width=1).measured().width == 80


def test_a_letter_wider_than_its_column_is_shown() -> None:
    """The narrowest terminal there is shows what is there, letter below letter."""
    assert fitted(("a",), [["日本"]], 1).cells == [["日\n本"]]


def test_the_least_important_columns_go_first() -> None:
    """Those that a verb calls minor are left out before anything is wrapped."""
    rows = [("web1", "cert=alice", "waits for the disk to be mounted again")]
    table = Table(("sender", "owner", "reason"), rows, minor=("owner",))
    out, err = shown(table, None, 50)
    assert out.splitlines()[0].split() == ["sender", "reason"]
    assert rows[0][2] in out
    assert err.startswith("not shown: owner (")


def test_long_text_is_wrapped_at_its_words() -> None:
    """What is wider than the terminal stays readable; what is very long is cut, and named."""
    reason = "the disk /var is full: nothing can be kept until somebody makes room on it"
    rows = [("web1", reason), ("web2", "word " * 500)]
    out, err = shown(Table(("sender", "reason"), rows), None, 40)
    assert all(len(line) <= 40 for line in out.splitlines())
    lines = [line[10:] for line in out.splitlines()[2:]]
    assert " ".join(lines).startswith(reason)
    assert err == "cut short: reason (--format vertical shows all)\n"


FORGED = "Ubuntu  99  web[01-99]"


@pytest.mark.parametrize("width", [None, 200, 44])
@pytest.mark.parametrize(
    "value", [f"Debian\n{FORGED}", f"Debian{' ' * 40}{FORGED}", f"Debi\r\n{FORGED}é"]
)
def test_no_value_draws_a_row_of_its_own(value: str, width: int | None) -> None:
    """Where the first column is what a node said, only a row begins at the edge: the rest of it is indented."""
    table = Table(("value", "count", "nodes"), [(value, 1, "web07"), ("Rocky", 2, "db[01-02]")])
    for form in (None, "table"):
        out, _ = shown(table, form, width)
        edge = [line for line in out.splitlines()[2:] if line[:1] != " "]
        assert [line.split()[0] for line in edge] == [value.split(maxsplit=1)[0], "Rocky"], out
        assert "web07" in edge[0] or form == "table"


@pytest.mark.parametrize("form", [None, "table", "psql", "github", "csv", "tsv", "vertical"])
def test_no_name_of_an_output_draws_a_row(form: str | None) -> None:
    """A column that a node has named in two lines has one line as its head, as the others have."""
    table = Table(("sender", "a\nweb99   ok\tb"), [("web1", "x")])
    for width in (None, 200):
        out, _ = shown(table, form, width)
        assert not any(line.startswith(("web99", "| web99")) for line in out.splitlines()), out
        assert "web99" in out.splitlines()[form in ("psql", "vertical")], out


def test_what_could_only_be_shown_in_part_is_left_out() -> None:
    """A bulky column that would be cut goes, where others are there; where it is the answer it stays."""
    facts = {f"fact{number}": "x" * 20 for number in range(60)}
    many = ("sender", "state", "facts", "version", "site", "role")
    rows = [("web1", "ok", facts, "1", "ams", "web"), ("web2", "ok", facts, "1", "ams", "web")]
    out, err = shown(Table(many, rows), None, 100)
    assert out.splitlines()[0].split() == [name for name in many if name != "facts"]
    assert err == "not shown: facts (--format vertical shows all)\n"
    out, err = shown(Table(many[:3], [row[:3] for row in rows]), None, 100)
    assert "fact0" in out
    assert err == "cut short: facts (--format vertical shows all)\n"


def test_a_single_node_s_hash_is_read_upright() -> None:
    """One row with a hash that does not fit is a record: there is nothing to compare it with."""
    row = ("web1", {"os": {"name": "Debian", "release": "12"}, "role": "web" * 10})
    out, err = shown(Table(("sender", "facts"), [row]), None, 40)
    assert out.startswith("sender: web1\n")
    assert "os.name: Debian" in out
    assert err == ""


@given(
    st.lists(
        st.tuples(
            # a letter that this Python does not know yet may be as wide as it likes
            st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=60),
            st.text("ab 日本\n\t", max_size=60),
            st.integers(),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(12, 70),
)
@example([("00000\x1f⺀䷀", "", 0)], 12)
@example([("☰⚊𝌀𝍠🇦" * 4, "", 0)], 12)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, int]], width: int) -> None:
    """Whatever nodes say, each line of a table fits; what is not there is said."""
    names = ("a", "b", "c")
    cells = [[cell(value).expandtabs(4) for value in row] for row in rows]
    found = fitted(names, cells, width)
    text = tabulated(found.columns, found.cells, "table")
    assert all(wide(line) <= max(width, 3) for line in text.split("\n")), text
    assert [*found.columns, *found.left] == list(names)
    if not (found.left or found.cut):
        flat = ["".join("".join(row).split()) for row in cells]
        assert ["".join("".join(row).split()) for row in found.cells] == flat


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_states_have_colours_where_there_is_a_terminal(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, colours: bool
) -> None:
    """NO_COLOR and a terminal that is dumb are respected; a pipe and csv never have any."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    table = Table(("sender", "state", "said"), [("web1", "failed", "\x1b[32mok")])
    out = Tty()
    show(table, OutputOptions(), Screen(out, io.StringIO(), 80))
    assert ("\x1b[31mfailed\x1b[0m" in out.getvalue()) is colours
    assert "\\x1b[32mok" in out.getvalue()
    assert "\x1b" not in shown(table, None, 80)[0]
    out = Tty()
    show(table, OutputOptions(format="csv"), Screen(out, io.StringIO(), 80))
    assert "\x1b" not in out.getvalue()


def test_names_that_are_drawn_alike_stay_apart() -> None:
    """Two outputs whose names differ in what cannot be drawn are two columns of a csv."""
    text = render(("sender", "a\x1b", "a\\x1b"), [("web1", 1, 2)], "csv")
    assert text.splitlines()[0] == "sender,a\\x1b,a\\x1b_2"


def test_json_formats_hold_values_not_text() -> None:
    """Json is a list of objects, jsonl an object a line."""
    expected = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
    assert json.loads(render(COLUMNS, ROWS, "json")) == expected
    assert [json.loads(line) for line in render(COLUMNS, ROWS, "jsonl").splitlines()] == expected


def test_senders_are_names_alone() -> None:
    """`--senders` feeds `--nodes -`; a verb without senders says so."""
    assert render(COLUMNS, [*ROWS, *ROWS], "senders") == "web1\nweb2\n"
    with pytest.raises(UsageError, match="no senders"):
        render(("a",), [(1,)], "senders")


text_cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)


@given(st.lists(st.tuples(text_cells, text_cells), max_size=4))
@example([("a\tb", "c\nd")])
def test_csv_and_tsv_come_back_as_they_went(rows: list[tuple[str, str]]) -> None:
    """A reader of csv gets every harmless cell back; tsv has a line a row whatever is in it."""
    text = render(("a", "b"), list(rows), "csv")
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found[1:] == [[sanitize(one) for one in row] for row in rows]
    lines = render(("a", "b"), list(rows), "tsv").split("\n")
    assert len(lines) == len(rows) + 2
    assert all(line.count("\t") == 1 for line in lines[:-1])
    for named in rows:  # nodes name columns, too
        assert render(named, [], "tsv").count("\n") == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web01\u200b", "web01\\u200b"),
        ("web\u200d01", "web\\u200d01"),
        ("web01\ufe0f", "web01\\ufe0f"),
        ("we\xadb01\u2060\ufeff", "we\\xadb01\\u2060\\ufeff"),
        ("ok\U000e0041\U000e0042", "ok\\U000e0041\\U000e0042"),
        ("\u3164web01", "\\u3164web01"),
        ("e\u0301\u0323", "e\u0301\u0323"),
        ("\u0301" * 6, "\u0301" * 4 + "\\u0301" * 2),
        ("\u26a0\ufe0f \U0001f469\u200d\U0001f4bb", "\u26a0\ufe0f \U0001f469\u200d\U0001f4bb"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
    ],
)
def test_what_nobody_sees_is_drawn(text: str, shown: str) -> None:
    """Two names that look alike are told apart, and no pile of accents paints over the line above."""
    assert sanitize(text) == shown


@given(st.text(max_size=40), st.sampled_from(["table", "psql", "github", "vertical", "csv", "tsv"]))
def test_nothing_that_a_terminal_acts_on_gets_through(text: str, form: str) -> None:
    """Escapes, C1 controls, bidi controls and carriage returns are drawn, not sent."""
    hostile = f"\x1b]0;owned\x07\x9b31m\u202e\u2066\r{text}"
    found = render(("sender", "\x1b[2J"), [(hostile, "x")], form)
    assert not set(found) & set("\x1b\x07\x9b\u202e\u2066\r\x08\x7f\x00\u2028")
    unescaped = found.replace("\\\\", "\\").replace("\\]", "]")
    assert "\\x1b]0;owned\\x07" in unescaped


def test_markdown_holds_what_a_node_wrote_as_text() -> None:
    """Pages that draw the table show tags, links and code as they were written."""
    nasty = "<img src=x onerror=alert(1)> [x](javascript:alert(1)) `a` | b & c"
    text = render(("sender", "a|b<i>"), [(nasty, "x")], "github")
    assert (
        "&lt;img src=x onerror=alert(1)> \\[x\\](javascript:alert(1)) \\`a\\` \\| b &amp; c" in text
    )
    assert "a\\|b&lt;i>" in text
    assert "<" not in text


@pytest.mark.parametrize("form", ["csv", "tsv", "table", "jsonl"])
def test_cells_that_a_spreadsheet_would_run_are_counted(form: str) -> None:
    """It is said on standard error, for the formats that spreadsheets read; the cells stay as they are."""
    rows = [("=cmd|' /C calc'!A0", -5), ("@SUM(1)", 1), ("web1", 2)]
    out, err = shown(Table(("-name", "count"), rows), form)
    assert "=cmd|' /C calc'!A0" in out
    said = "3 cells begin with = + - or @: a spreadsheet may run them as formulas\n"
    assert err == (said if form in ("csv", "tsv") else "")


def test_cells_of_every_type() -> None:
    """Each value has one text; bytes are text when they can be."""
    assert [cell(value) for value in (None, True, 3, 1.5, "x", ["a", "b"], [1], {"k": b"v"})] == [
        "",
        "true",
        "3",
        "1.5",
        "x",
        "a, b",
        "[1]",
        '{"k": "v"}',
    ]


def test_data_and_notes_go_to_their_streams() -> None:
    """Rows go to standard output, notes to standard error, and none with json."""
    result = Table(("a",), [(1,)], notes=("silent: web[1-2]",))
    out, err = shown(result)
    assert "1" in out
    assert err == "silent: web[1-2]\n"
    assert shown(result, "json") == ('[{"a": 1}]\n', "")


@pytest.mark.parametrize("form", [None, "table", "vertical", "github", "psql"])
def test_a_pipe_is_given_all_of_it(form: str | None) -> None:
    """A terminal is spared what is far too long to read; what goes to a program is whole."""
    result = Table(("sender", "output"), [("web1", "x" * 30_000)])
    assert "x" * 30_000 in shown(result, form)[0]
    assert "x" * 30_000 not in shown(result, form, 80)[0]


def test_times_are_local_for_the_eye_and_seconds_for_programs() -> None:
    """Epoch columns are drawn as times in tables only."""
    result = Table(("sent",), [(1.5e9,), (None,)], times=("sent",))
    assert "2017-07-1" in shown(result)[0]
    assert json.loads(shown(result, "json")[0]) == [{"sent": 1.5e9}, {"sent": None}]
    assert shown(result, "csv")[0].splitlines()[1] == "1500000000.0"


def test_times_of_today_are_short_at_a_terminal() -> None:
    """Of today only the time, of another day the date too; ISO text is a time as well."""
    today = datetime.now().astimezone().replace(hour=4, minute=0, second=0, microsecond=250_000)
    rows = [(today.timestamp(),), (today.isoformat(),), (1.5e9,)]
    table = Table(("sent",), rows, times=("sent",))
    lines = shown(table, None, 80)[0].splitlines()[2:]
    assert lines[:2] == ["04:00:00", "04:00:00"]
    assert lines[2].startswith("2017-07-1")
    exact = shown(replace(table, precise=True), None, 80)[0].splitlines()[2:]
    assert exact[0] == "04:00:00.250"


def test_text_and_nothing() -> None:
    """Help is written as it is, with one line end; nothing writes nothing."""
    assert shown(Prose("help"))[0] == "help\n"
    assert shown(None) == ("", "")
    assert shown(Table((), [])) == ("", "")


def test_a_terminal_counts_what_is_bulky() -> None:
    """Facts and agents are numbers at a terminal; a pipe and a named format have them whole."""
    table = Table(
        ("sender", "facts"), [("web1", {"os": "Debian", "role": "web"})], bulky=("facts",)
    )
    assert shown(table, None, 80)[0].splitlines()[-1].split() == ["web1", "2"]
    assert "Debian" in shown(table)[0]
    assert json.loads(shown(table, "json", 80)[0])[0]["facts"]["role"] == "web"


def test_an_empty_table_is_said_to_be_empty_at_a_terminal() -> None:
    """Who looks at a screen is told; a pipe, JSON, and a table with a note of its own are not."""
    table = Table(("job", "state"), [])
    assert shown(table, None, 80) == ("", "nothing there\n")
    assert shown(table) == ("", "")
    assert shown(table, "json", 80) == ("[]\n", "")
    assert shown(Table(("a",), [], notes=("no node matches",)), None, 80)[1] == "no node matches\n"


def test_upright_a_hash_is_a_line_for_each_path() -> None:
    """Paths are written as a filter takes them; a list of hashes is a line each."""
    row = (
        "web1",
        {"os": {"name": "Debian", "release": {"major": "12"}}, "disks": ["sda", "sdb"], "tags": {}},
        [{"pid": 1}, {"pid": 2}],
    )
    assert render(("sender", "facts", "processes"), [row], "vertical").splitlines() == [
        "sender:    web1",
        "facts:     os.name: Debian",
        "           os.release.major: 12",
        "           disks: sda, sdb",
        "           tags: {}",
        'processes: {"pid": 1}',
        '           {"pid": 2}',
    ]
