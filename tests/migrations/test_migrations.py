"""What commit 67a4456 wrote is there under this version: every kind of file, every row.

The files are its own (`make_files.py`), as they were when their processes were killed. Whoever
changes tables adds a version in `mcshell/`; these tests stay as they are.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mcshell.client.session.session import listing
from mcshell.client.session.transfer import import_session
from mcshell.wire.documents.signatures import Verifier
from tests.migrations.kinds import EXPECTED, FILES, KINDS, NOW, read, rows

MOVED = [kind for kind in KINDS if kind.old != kind.path]
SHARED = [kind for kind in MOVED if kind.kind.shared]
ALONE = [kind for kind in MOVED if not kind.kind.shared]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path):
    """A state folder as 67a4456 left it, with the index that whoever is killed leaves."""
    state = shutil.copytree(FILES, tmp_path / "state")
    for kind in KINDS:
        (state / f"{kind.old}-shm").touch()
    return state


def original(kind, tmp_path):
    """The rows that 67a4456 wrote, read without our code, in another copy."""
    return rows(shutil.copytree(FILES, tmp_path / "original") / kind.old)


def version(path):
    """The version of a file."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def files(state):
    """Every file of a folder but SQLite's index of a WAL, which is no content, with its bytes."""
    return {
        path.relative_to(state): path.read_bytes()
        for path in state.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


def signed_in(before):
    """The digests of all signed bytes in a session of 67a4456, and that of replies without one."""
    bodies = [row[3] for row in before["outgoing"]] + [row[3] for row in before["jobs"]]
    return {"", *(hashlib.sha256(body).hexdigest() for body in bodies)}


def check(kind, state, before):
    """Open a file twice: what its owner reads, every row, and the old one is no more."""
    for _time in ("first", "second"):
        with kind.opened(state) as owner:
            assert read(kind, owner) == EXPECTED[kind.name]
    path = state / kind.path
    found = rows(path)
    for table, kept in before.items():
        width = len(kept[0]) if kept else 0  # a version may add columns, at the end
        assert [row[:width] for row in found[table]] == kept, table
    derived = found.pop("digests", [])
    assert {digest for *_, digest in derived} == signed_in(before) if derived else True
    assert not any(found[table] for table in found.keys() - before.keys())
    assert version(path) == max(kind.kind.versions)
    left = [one.name for one in path.parent.iterdir() if one.name.startswith(path.stem)]
    assert left == [path.name]
    assert kind not in MOVED or not left_of(kind, state)


def left_of(kind, state):
    """What there is of a file under its old name."""
    return list((state / kind.old).parent.glob(f"{Path(kind.old).name}*"))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_file_of_67a4456_opens_with_every_row(kind, state, tmp_path):
    """What its owner reads is what the owner of then read, and every row has every byte."""
    before = original(kind, tmp_path)
    assert all(before.values()), "the file has rows of every kind"
    check(kind, state, before)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_kill_9_in_the_middle_of_a_migration_loses_nothing(kind, tmp_path):
    """Killed at whatever line: the file is of the one version or the other, and opens with all."""
    before = original(kind, tmp_path)
    folder = tmp_path / "copies"
    command = [sys.executable, "-m", "tests.migrations.doomed", kind.name, str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    copies = sorted(folder.iterdir(), key=lambda path: int(path.name))
    assert len(copies) > 20
    versions = []
    for state in copies:
        path = state / kind.path
        left = shutil.copytree(state, state.with_name(f"{state.name}-left")) / kind.path
        versions.append(version(left) if path.exists() else 0)
        check(kind, state, before)
    assert versions == sorted(versions)
    assert set(versions) == {versions[0], max(kind.kind.versions)}
    assert versions[0] != versions[-1]


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_newer_file_is_refused_in_words_and_left_alone(kind, crashed, state, tmp_path):
    """What it is, its version, ours, what to do; with the WAL of whoever was killed in it, too."""
    kind.open(state).close()
    path, newest = state / kind.path, max(kind.kind.versions)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        db.execute(f"PRAGMA user_version={newest + 1}")
        db.execute("CREATE TABLE IF NOT EXISTS news (a)")
        if crashed:
            state = shutil.copytree(state, tmp_path / "crashed")
    path = state / kind.path
    before = files(state)
    assert (path.with_name(f"{path.name}-wal") in [state / one for one in before]) is crashed
    with pytest.raises(kind.error) as error:
        kind.open(state)
    said = str(error.value)
    assert said.startswith(f"{path} is a {kind.kind.name} of version {newest + 1}, ")
    assert f"works with version {newest}: run the mcshell that made it, or move" in said
    assert files(state) == before
    assert version(path) == newest + 1


@pytest.mark.parametrize("name", ["session", "work"])
def test_what_67a4456_reads_a_version_of_has_another_now(name):
    """It refuses, in words, what is not of its own version; else it would use the new form."""
    (kind,) = (one for one in KINDS if one.name == name)
    assert EXPECTED["versions"][name] in kind.kind.versions
    assert max(kind.kind.versions) > EXPECTED["versions"][name] > 0


def test_what_67a4456_reads_no_version_of_has_another_name_now(state):
    """It then makes a file of its own, and never opens the new form."""
    assert {kind.name for kind in MOVED} == {"claims", "known", "inventory", "messages"}
    for kind in MOVED:
        assert kind.kind.former == Path(kind.old).name != Path(kind.path).name
        assert version(state / kind.old) == 0
        assert Path(kind.old).parent == Path(kind.path).parent


@pytest.mark.parametrize("kind", MOVED, ids=str)
def test_what_67a4456_writes_after_a_step_back_is_taken_over_too(kind, state, tmp_path):
    """Whoever goes back to it for a day finds that day's rows, and the others once."""
    kind.open(state).close()
    before = rows(state / kind.path)
    shutil.copy(FILES / kind.old, state / kind.old)
    with closing(sqlite3.connect(state / kind.old)) as db, db:
        db.execute(*kind.new_row)
    kind.open(state).close()
    found = rows(state / kind.path)
    added = {table: set(found[table]) - set(before[table]) for table in before}
    assert [row for table in added.values() for row in table] == [kind.new_row[1]]
    assert all(len(found[table]) == len(before[table]) + len(added[table]) for table in before)
    assert not left_of(kind, state)


@pytest.mark.parametrize("kind", SHARED, ids=str)
def test_an_older_process_may_go_on_with_a_shared_file(kind, state, tmp_path):
    """Its rows are there at once; what it writes later is taken over when it has ended."""
    before = original(kind, tmp_path)
    with closing(sqlite3.connect(state / kind.old, isolation_level=None)) as older:
        older.execute("SELECT * FROM nodes").fetchall()
        with kind.opened(state) as owner:
            assert read(kind, owner) == EXPECTED[kind.name]
        older.execute(*kind.new_row)
        kind.open(state).close()
        found = rows(state / kind.path)
        assert {table: some for table, some in found.items() if some or table in before} == before
        assert kind.new_row[1] in rows(state / kind.old)["nodes"]
    kind.open(state).close()
    assert kind.new_row[1] in rows(state / kind.path)["nodes"]
    assert not left_of(kind, state)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.kind.shared], ids=str)
def test_several_processes_may_be_the_first(kind, state, tmp_path):
    """They come at once to what an older version left: one brings it up, all find every row."""
    before = original(kind, tmp_path)
    code = (
        "import sys; from pathlib import Path; from tests.migrations.kinds import *\n"
        "kind = next(one for one in KINDS if one.name == sys.argv[1])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "with kind.opened(Path(sys.argv[2])) as owner:\n"
        "    assert read(kind, owner) == EXPECTED[kind.name]"
    )
    command = [sys.executable, "-c", code, kind.name, str(state)]
    some = [
        subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(5)
    ]
    for process in some:
        assert process.stdout.readline() == "ready\n"
    for process in some:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in some:
        process.communicate(timeout=60)
    assert [process.returncode for process in some] == [0] * 5
    check(kind, state, before)


@pytest.mark.parametrize("kind", ALONE, ids=str)
def test_a_file_for_one_is_not_taken_over_from_an_older_process(kind, state, tmp_path):
    """What it still does would be lost, and done twice: the file is named, and left to it."""
    before = original(kind, tmp_path)
    with closing(sqlite3.connect(state / kind.old, isolation_level=None)) as older:
        if kind.name == "messages":
            older.execute("PRAGMA locking_mode=EXCLUSIVE")
        older.execute(*kind.new_row)
        with pytest.raises(
            kind.error, match=f"{kind.old}, of .* still be at work in it, cannot .* locked"
        ):
            kind.open(state)
    kind.open(state).close()
    ((table, found),) = rows(state / kind.path).items()
    assert found == sorted([*before[table], kind.new_row[1]], key=repr)


def test_an_old_file_without_tables_is_no_obstacle(state):
    """Whoever was killed as it made its first file left one of no bytes."""
    for kind in MOVED:
        for path in left_of(kind, state):
            path.unlink()
        (state / kind.old).touch()
        kind.open(state).close()
        assert not any(rows(state / kind.path).values())
        assert not left_of(kind, state)


def test_a_file_for_work_that_was_being_made_is_made(state, tmp_path):
    """67a4456 wrote the version after the tables: whoever was killed in between left them at 0."""
    (kind,) = (one for one in KINDS if one.name == "work")
    before = original(kind, tmp_path)
    with closing(sqlite3.connect(state / kind.old)) as db:
        db.execute("PRAGMA user_version=0")
    check(kind, state, before)


def test_claims_of_67a4456_are_claimed_for_ever(state):
    """What ran does not run again, not even under a later expiry; what has not run may."""
    (kind,) = (one for one in KINDS if one.name == "claims")
    with kind.opened(state) as guard:
        assert not guard.claim("web1", f"{1:032x}", NOW + 9999 * 86_400.0, NOW)
        assert not guard.claim("web1", "last", NOW + 1, NOW)
        assert guard.claim("web1", "another", NOW + 1, NOW)


def test_a_session_of_67a4456_verifies_on_another_machine(state, tmp_path):
    """Its file can be brought in elsewhere: every signature in it is as it was."""
    source = state / "sessions" / "patch-friday.sqlite"
    with closing(sqlite3.connect(source)) as db:
        db.execute("PRAGMA journal_mode=DELETE")  # what is in the WAL comes into the file
    verifier = Verifier((FILES / "ca.pem").read_bytes())
    there = tmp_path / "elsewhere"
    report = import_session(there, verifier, source, lambda _pool, _sender: True)
    counts = EXPECTED["session"]["requests"]
    assert (report.name, report.refused, report.plans_left) == ("patch-friday", {}, 3)
    assert (report.requests, report.replies) == (len(counts), EXPECTED["session"]["latest"][1])
    (info,) = listing(there)
    assert (info.requests, info.caller) == (len(counts), "cert=alice")
