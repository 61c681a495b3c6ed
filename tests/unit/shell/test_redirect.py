"""Where a line's result goes: which files and commands are taken, which are refused before anything is sent."""

from __future__ import annotations

import io
import os
import random
import re
import shlex
import shutil
import sys
import zipfile
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from mcshell.commands.context import Context
from mcshell.commands.grammar.options import Options
from mcshell.commands.grammar.parser import only_line
from mcshell.commands.output.result import Prose, Table
from mcshell.errors import MachineError, UsageError
from mcshell.shell import lines as running
from mcshell.shell.lines import run_lines
from mcshell.shell.output import Screen, show
from mcshell.shell.redirect import shower_of
from tests.peers.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mcshell.shell.redirect import Shower

TABLE = Table(("sender", "b"), [("web1", "x"), ("web2", None)], notes=("a note",))


def shower(line: str) -> Shower:
    """What shows the result of a line."""
    read = only_line(line)
    assert read is not None
    return shower_of(read)


def write(line: str, result: object = TABLE) -> str:
    """Show a result as a line says; what standard error has of it."""
    err = io.StringIO()
    out = io.StringIO()
    shower(line)(result, Options(), Screen(out, err, 20), None)  # type: ignore[arg-type]
    assert out.getvalue() == ""
    return err.getvalue()


@pytest.mark.parametrize(
    "line",
    ["find -S 'a | b'", 'find -S "cpu>4"', "find -F cpu>4", "find -F a\\ |b", "sql select 1 > 2"],
)
def test_what_is_text_goes_nowhere(line: str) -> None:
    """Only a sign that stands apart, outside quotes and free text, takes the result elsewhere."""
    assert shower(line) is show


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("> x", ">: a line is missing before it"),
        ("| cat", "|: a line is missing before it"),
        ("find |", "|: a command is missing"),
        ("find | # nothing", "|: a command is missing"),
        ("find || true", "||: that is your shell's"),
        ("find |& cat", "|&: that is your shell's"),
        ("find >  ", ">: a file is missing"),
        ("find >>", ">>: a file is missing"),
        ("find > ''", ">: a file without a name"),
        ("find > f | wc", "'|' is one word too many (a file or a command, not both)"),
        ("find > f > g", "'>' is one word too many (a file or a command, not both)"),
        ("find > my file.csv", "'file.csv' is one word too many (a space is quoted)"),
        ("find >&2", ">&2: a file is meant (./&2 is one)"),
        ("find >|x", ">|x: a file is meant"),
        ("find >>>x", ">>>x: a file is meant"),
        ("find -F cpu > 4", "> 4: a comparison is quoted, as in 'lag > 4' (./4 is the file)"),
        ("find > 0.02", "> 0.02: a comparison is quoted"),
        ("find > -5%", "> -5%: a comparison is quoted"),
        ("find > x.xls", ".xls is not written (.csv .tsv .json .jsonl .md .parquet .xlsx; a table"),
        ("find > x.GZ", ".gz is not written"),
        ("find > x.pickle", ".pickle is not written"),
        ("find > x.html", ".html is not written"),
        ("find >> x.json", ">> x.json: a .json is one document"),
        ("find >> x.parquet", "a .parquet is one document"),
        ("find >> x.xlsx", "a .xlsx is one document"),
        ("find > /no/such/x.csv", "there is no such folder"),
        ("find > /tmp", "that is a folder"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(line: str, said: str) -> None:
    """Before anything is sent: the line's result has no place to go to."""
    with pytest.raises(UsageError) as caught:
        shower(line)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_by_their_endings(tmp_path: Path) -> None:
    """The ending chooses the format; the screen sees only what is not data."""
    for name, start in (
        ("t.csv", "sender,b\nweb1,x\n"),
        ("t.CSV", "sender,b\nweb1,x\n"),
        ("t.tsv", "sender\tb\nweb1\tx\n"),
        ("t.json", '[{"sender": "web1", "b": "x"}'),
        ("t.jsonl", '{"sender": "web1", "b": "x"}\n'),
        ("t.md", "| sender"),
        ("t.txt", "sender"),
        ("two words.2026-11-25", "sender"),
        ("5", "sender"),
    ):
        path = tmp_path / name
        assert "a note" in write(f"find > '{path}'") or path.suffix in (".json", ".jsonl")
        assert path.read_text().startswith(start)


def test_two_signs_add_to_a_file(tmp_path: Path) -> None:
    """A table with a head keeps one head; other columns are refused and change nothing."""
    for name, expected in (
        ("a.csv", "sender,b\nweb1,x\nweb2,\n" + "web1,x\nweb2,\n"),
        ("a.tsv", "sender\tb\nweb1\tx\nweb2\t\n" + "web1\tx\nweb2\t\n"),
        ("a.jsonl", '{"sender": "web1", "b": "x"}\n{"sender": "web2", "b": null}\n' * 2),
    ):
        for _ in range(2):
            write(f"find >> {tmp_path / name}")
        assert (tmp_path / name).read_text() == expected
    before = (tmp_path / "a.csv").read_text()
    with pytest.raises(UsageError, match=r"it has other columns \(sender,b\); nothing is lost"):
        write(f"find >> {tmp_path / 'a.csv'}", Table(("c",), [(1,)]))
    assert (tmp_path / "a.csv").read_text() == before
    write(f"find > {tmp_path / 'a.csv'}", Table(("c",), [(1,)]))
    assert (tmp_path / "a.csv").read_text() == "c\n1\n"


@pytest.mark.parametrize("name", ["x.parquet", "x.xlsx"])
def test_typed_files_want_a_table(tmp_path: Path, name: str) -> None:
    """Prose is no table; without the package that writes it the line is refused in words."""
    line = f"help > {tmp_path / name}"
    package = {"x.parquet": "pyarrow", "x.xlsx": "xlsxwriter"}[name]
    if find_spec(package) is None:
        with pytest.raises(UsageError, match=f"needs the package {package}: pip install {package}"):
            shower(line)
        return
    with pytest.raises(UsageError, match="a table is meant"):
        write(line, Prose("help"))
    assert not (tmp_path / name).exists()


@pytest.mark.skipif(find_spec("xlsxwriter") is None, reason="needs XlsxWriter (the extra `report`)")
def test_a_sheet_has_text_where_a_node_has_said_text(tmp_path: Path) -> None:
    """No formula and no link is made of it, control characters are escaped, long numbers stay whole."""
    path = tmp_path / "x.xlsx"
    said = ["=1+1", "http://x.example/", "\x1b[2J", "plain"]
    rows = [(f"web{at}", text, 2**60 + at, [text], 0.5) for at, text in enumerate(said)]
    write(f"find > {path}", Table(("sender", "said", "count", "list", "lag"), rows))
    with zipfile.ZipFile(path) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        texts = book.read("xl/sharedStrings.xml").decode()
        assert not any("rels" in name and "sheet1" in name for name in book.namelist())
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    assert "\x1b" not in texts
    for text in ("=1+1", "http://x.example/", str(2**60 + 3)):
        assert f">{text}<" in texts
    with pytest.raises(UsageError, match="said has a text over 32767 letters"):
        write(f"find > {path}", Table(("said",), [("x" * 40_000,)]))


def test_a_file_that_is_no_file_is_written_to() -> None:
    """What the system gives as a file is one: nothing is made beside it or put in its place."""
    write("find > /dev/null")
    write("find >> /dev/null")
    with pytest.raises(MachineError, match="> /dev/full: No space left on device"):
        write("find > /dev/full")


@pytest.mark.parametrize("name", ["x.csv", "x.json", "x", "x.parquet", "x.xlsx"])
def test_a_full_disk_takes_nothing_away(tmp_path: Path, name: str) -> None:
    """The line says so; a new file is not there, and one that was there is as it was, by > and by >>."""
    if name in ("x.parquet", "x.xlsx"):
        pytest.importorskip({"x.parquet": "pyarrow", "x.xlsx": "xlsxwriter"}[name])
    big = Table(("sender", "b"), [("web1", os.urandom(10_000).hex()), ("web2", None)])
    with small_disk(tmp_path / "disk", size="64k") as disk:
        path = disk.path / name
        (disk.path / "old").write_text("sender,b\nweb3,z\n")
        disk.fill()
        for sign in (">", ">>") if name in ("x", "x.csv") else (">",):
            with pytest.raises(MachineError, match=f"{name}: No space left on device"):
                write(f"find {sign} {path}", big)
            assert not path.exists()
        (disk.path / "old").rename(path)
        for sign in (">", ">>") if name in ("x", "x.csv") else (">",):
            with pytest.raises(MachineError, match=f"{name}: No space left on device"):
                write(f"find {sign} {path}", big)
            assert path.read_text() == "sender,b\nweb3,z\n"
        disk.empty()
        write(f"find > {path}")
        assert b"web3" not in path.read_bytes()


def test_the_home_of_nobody_is_no_place() -> None:
    """It is refused in a line before anything is asked."""
    with pytest.raises(UsageError, match=r"~nobody_here/x\.csv: there is no such home"):
        write("find > ~nobody_here/x.csv")


VERBS = (
    "find",
    "ping -I web1",
    "sql",
    "sql 'select 1'",
    "rpc exec run --",
    "facts os",
    "help",
    "watch 5",
)
PIECES = (
    *(
        *VERBS,
        ">",
        ">>",
        "> a.csv",
        ">b.txt",
        ">> 'c d.csv'",
        "> f | cat",
        "> my file.csv",
        "> x.xlsx",
        "> e.gz",
    ),
    *(
        "|",
        "| cat",
        "| while read a; do true; done",
        "||",
        "&&",
        ";",
        "#",
        "\\",
        "\n",
        "'",
        '"',
        "it's",
    ),
    *(
        "lag > 0.02",
        "and state = 'ok'",
        "-F cpu>4",
        "-S",
        "0.02",
        "--json",
        "a.csv",
        "!true",
        "\u00a0",
        "  ",
    ),
)
NAMED = re.compile(r"(?:^|\s)>>?\s*(.*)", re.DOTALL)


@contextmanager
def opened(folder: Path) -> Iterator[set[str]]:
    """The names of the files in a folder that are opened to be written, as the interpreter tells."""
    found: set[str] = set()
    active = True

    def hook(event: str, args: Sequence[object]) -> None:
        if active and event == "open" and isinstance(args[0], str | os.PathLike) and args[2]:
            place = os.path.join(os.getcwd(), os.fspath(args[0]))  # noqa: PTH109, PTH118 - no opening here
            flags = args[2]
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                found.add(os.path.relpath(place, folder))

    sys.addaudithook(hook)
    try:
        yield found
    finally:
        active = False


def names(text: str) -> set[str]:
    """Every file that a text could name: what stands behind a `>` that stands apart."""
    found: set[str] = set()
    for at, letter in enumerate(text):
        match = NAMED.match(text, at - 1 if at else 0) if letter == ">" else None
        if match is None:
            continue
        for end in range(1, len(match[1]) + 1):
            try:
                found.update(shlex.split(match[1][:end])[:1])
            except ValueError:
                continue
    return found


@pytest.mark.parametrize(
    "count", [2_000, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_no_file_is_opened_that_no_line_names(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever is typed, only files behind a `>` that is none of a query's or a command's are written.

    Every line that is understood has a result to write; shell commands of the pieces write nothing.
    """
    monkeypatch.setattr(running, "run", lambda _invocation, _context: TABLE)
    monkeypatch.setattr(
        running,
        "_watch",
        lambda _o, _c, screen, form, show: show(TABLE, Options(), screen, form) or 0,
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cat").symlink_to(shutil.which("cat") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # a shell finds no watch, no find
    context = Context("prompt")
    chance = random.Random(count)
    written = done = 0
    with opened(tmp_path) as found:
        while done < count:
            mark = chance.choice((" ", " ", " ", ""))
            pieces = [chance.choice(VERBS), *chance.choices(PIECES, k=chance.randint(0, 5))]
            text = mark.join(pieces[chance.random() < 0.2 :])
            if re.search(r"!|\|", text) and chance.random() < 0.95:  # fewer: each may start a shell
                continue
            done += 1
            found.clear()
            run_lines(text, context, Screen(io.StringIO(), io.StringIO(), None))
            context.left = False
            mine = {name for name in found if not name.startswith("..")}
            if mine:
                assert mine <= names(text) | names(text.replace("\\\n", "")), text
            assert not any(re.fullmatch(r"\d*\.?\d+", name) for name in mine), text
            written += bool(mine)
    capfd.readouterr()
    assert written > count / 100
    print(f"{done} lines, {written} of them wrote a file")
