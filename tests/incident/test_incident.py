"""What a day's sessions show afterwards: verified again, written up as a notebook, no byte changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mcshell
from mcshell.client.session.seal import file_digest
from mcshell.wire.documents.signatures import Verifier
from tests.incident.conftest import EACH
from tests.incident.flips import change, found, places, rows

if TYPE_CHECKING:
    from tests.incident.conftest import Books, Day

pytestmark = pytest.mark.timeout(300)


def digest(line: bytes) -> str:
    """The hash of a line of an audit log."""
    return sha256(line).hexdigest()


def test_a_day_is_as_it_was_written(day: Day) -> None:
    """Each request of both sessions is a row that is ok: a session by its name, a file by its path."""
    for what in ("day-alice", "bob.mcs"):
        code, told, _ = day.verify(what)
        assert [row for row in told if not row["ok"]] == []
        assert code == 0
        assert len(told) == EACH
        assert Counter(row["proof"] for row in told)["signed"] == EACH
        notes = day.cli("audit", "verify", what).stderr
        assert "nobody signs" in notes
        assert "no audit log was given" in notes


def test_what_nodes_wrote_down_bears_it_out(day: Day, tmp_path: Path) -> None:
    """Beside the audit logs each last reply is found; a log in which one is another is named."""
    logs = day.logs()
    code, told, notes = day.verify("bob.mcs", *logs)
    assert code == 0, notes
    assert sum(row["logged"] for row in told) > EACH
    web1 = Path(logs[1])
    last = json.loads(web1.read_bytes().splitlines()[-1])
    head = {
        "identity": "web1",
        "count": last["n"],
        "hash": digest(web1.read_bytes().splitlines()[-1]),
    }
    (tmp_path / "heads").write_text(json.dumps(head) + "\n")
    code, told, notes = day.verify(
        "bob.mcs", "--log", str(web1), "--heads", str(tmp_path / "heads")
    )
    assert code == 0, notes
    other = tmp_path / "audit.jsonl"
    other.write_bytes(web1.read_bytes().replace(b'"state":"ok"', b'"state":"failed"'))
    code, told, notes = day.verify(
        "bob.mcs", "--log", str(other), "--heads", str(tmp_path / "heads")
    )
    problems = [row["problem"] for row in told if not row["ok"]]
    assert code == 1
    assert any("web1 answered ok, and its audit log has failed" in one for one in problems)
    assert any("was changed" in one or "whose head has left" in one for one in problems)


def test_the_notebook_of_a_day_runs_without_a_broker(day: Day, books: Books) -> None:
    """Two operators' 200 requests in one notebook, every cell of which runs where only the files are."""
    book = nbformat.read(books.folder / "day.ipynb", as_version=4)
    nbformat.validate(book)
    asked = [cell for cell in book.cells if ".replies(" in cell.source]
    assert len(asked) == 2 * EACH
    words = ("nbconvert", "--to", "notebook", "--execute", "day.ipynb", "--output", "ran.ipynb")
    run = subprocess.run(
        [sys.executable, "-m", "jupyter", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=books.folder,
        env={**day.fleet.environ, "MCSHELL_CONFIG": "/nowhere", "HOME": str(books.folder)},
    )
    assert run.returncode == 0, run.stderr
    ran = nbformat.read(books.folder / "ran.ipynb", as_version=4)
    shown = [str(cell.outputs) for cell in ran.cells if ".replies(" in cell.source]
    assert all("web1" in one or "web2" in one or "emu" in one for one in shown)
    text = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    assert (
        "asked by cert&#61;alice, cert&#61;bob" in text or "asked by cert=alice, cert=bob" in text
    )
    assert text.count("nightly &#60;check&#62;, pytest") == 4
    assert "sealed by" in text
    assert "<script>" not in text
    times = [line[:26] for line in text.splitlines() if line.startswith("- 20") and ", by " in line]
    assert times == sorted(times)


def test_a_copy_that_was_changed_does_not_run(day: Day, books: Books, tmp_path: Path) -> None:
    """The notebook knows its files by their SHA-256: another byte, and its first cell refuses."""
    copy = shutil.copy(books.files[0], tmp_path / "s.mcs")
    right = file_digest(books.files[0])
    assert len(mcshell.stored(copy, sha256=right).requests()) == EACH
    raw = bytearray(Path(copy).read_bytes())
    raw[-1] ^= 1
    Path(copy).write_bytes(raw)
    with pytest.raises(mcshell.MCShellError, match="not the file that was meant"):
        mcshell.stored(copy, sha256=right)


NOTES = {
    "requests.number": "only which of two of one moment comes first",
    "requests.created": "the signed time is what is shown; this one is within an hour of it",
    "requests.expires": "as above",
    "requests.options": "how and where from it was put",
    "targets.place": "the order of rows",
    "targets.sent": "when the client sent",
    "targets.reason": "why the client calls it silent",
    "counts.request": "where the count is zero: it says nothing, here or there",
    "outgoing.confirmed": "when the broker had it",
    "replies.number": "the order in which replies of several nodes came",
    "sqlite_sequence.seq": "the next number; a redelivery takes one, too",
    "jobs.number": "the order of rows",
    "meta.value": "its name, who holds it, its marks; caller and address are found below",
}
"""What nobody signs: without a seal a change of it is not found, and `audit verify` says so."""


def test_any_value_that_is_changed_is_found(day: Day, books: Books, tmp_path: Path) -> None:
    """One bit of each column of each table: under a seal of all, without one of all but the notes."""
    verifier = Verifier((day.fleet.folder / "pki" / "ca.pem").read_bytes())
    bare = day.folder / "bob.mcs"
    assert found(bare, verifier) == []
    missed = set()
    for path in (books.files[0], bare):
        assert found(path, verifier) == []
        for table, column in places(path):
            copy = Path(shutil.copy(path, tmp_path / "s.mcs"))
            said = change(copy, table, column, Random(f"{table} {column} 0"))
            if not found(copy, verifier):
                assert path == bare, said
                missed.add(f"{table}.{column}")
    assert missed <= NOTES.keys()
    assert len(list(places(bare))) > 50


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_byte_of_the_file_that_says_something(
    day: Day, books: Books, at: float, bit: int
) -> None:
    """A bit of a sealed file anywhere: it is found, or SQLite reads the very same rows all the same."""
    path = books.files[0]
    raw = bytearray(path.read_bytes())
    raw[int(at * len(raw))] ^= 1 << bit
    copy = books.folder / "flipped.mcs"
    copy.write_bytes(raw)
    verifier = Verifier((day.fleet.folder / "pki" / "ca.pem").read_bytes())
    if not found(copy, verifier):
        assert rows(copy) == books.rows


EXCHANGE = (
    "UPDATE replies SET number=CASE number WHEN 7 THEN -9 ELSE -7 END WHERE number IN (7, 9);"
    " UPDATE replies SET number=-number WHERE number<0"
)
CHANGES = (
    "DELETE FROM replies WHERE number=7",
    "DELETE FROM replies WHERE number=(SELECT max(number) FROM replies)",
    "DELETE FROM replies WHERE request=(SELECT id FROM requests LIMIT 1)",
    "DELETE FROM requests WHERE number=(SELECT max(number) FROM requests)",
    "DELETE FROM requests WHERE number=7",
    EXCHANGE,
    "UPDATE meta SET value='cert=bob' WHERE key='caller'",
    "UPDATE meta SET value='other' WHERE key='address'",
    "CREATE TRIGGER t AFTER INSERT ON meta BEGIN SELECT 1; END",
)


@pytest.mark.parametrize("script", CHANGES)
def test_what_is_left_out_or_put_elsewhere_is_found(
    day: Day, books: Books, tmp_path: Path, script: str
) -> None:
    """A reply or a request that is gone, two replies that have changed places, another owner, a trigger."""
    verifier = Verifier((day.fleet.folder / "pki" / "ca.pem").read_bytes())
    copy = Path(shutil.copy(books.files[0], tmp_path / "s.mcs"))
    with closing(sqlite3.connect(copy)) as db:
        db.executescript(script)
        sealed = found(copy, verifier)
        db.executescript("DELETE FROM meta WHERE key='seal'")
    assert "the seal" in sealed[0]
    assert found(copy, verifier) or script == EXCHANGE, "order is no node's word: a seal's alone"


def test_a_seal_that_was_taken_off_is_missed(day: Day, books: Books, tmp_path: Path) -> None:
    """It is said that there is none; and the notebook, which knows the file's SHA-256, does not run."""
    copy = Path(shutil.copy(books.files[0], tmp_path / "bare.mcs"))
    with closing(sqlite3.connect(copy)) as db:
        db.executescript("DELETE FROM meta WHERE key='seal'")
    done = day.cli("audit", "verify", str(copy))
    assert (done.returncode, "no seal is there" in done.stderr) == (0, True)
    with pytest.raises(mcshell.MCShellError, match="not the file that was meant"):
        mcshell.stored(copy, sha256=file_digest(books.files[0]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("audit", "verify", "nothing"), "there is no nothing, and no session of that name"),
        (("audit", "verify", "bob.mcs", "--heads", "h"), "--log FILE says which"),
        (("audit", "verify", "bob.mcs", "--node", "web1"), "--node is for a log"),
        (("audit", "verify", "bob.mcs", "--log", "nothing"), "there is no nothing"),
        (("notebook", "day-alise", "-o", "x.ipynb"), "no session or file 'day-alise'"),
        (("notebook", "day-alice", "-o", "x.html"), "a name that ends in .ipynb is meant"),
        (("notebook", "day-alice", "-o", "no/x.ipynb"), "there is no such folder"),
    ],
)
def test_bad_input_gets_one_line(day: Day, words: tuple[str, ...], said: str) -> None:
    """It is usage, nothing is written, and the line says what was meant."""
    before = sorted(day.folder.iterdir())
    done = day.cli(*words)
    assert done.returncode == 64
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(day.folder.iterdir()) == before
