"""The one way into a SQLite file: its version, and commits that are shared."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mcshell.errors import ConfigError, MachineError, MCShellError, StorageError
from mcshell.sqlite import Database, FileKind, _WriteTicket
from tests.peers.processes import no_descriptors
from tests.peers.small_disk import small_disk

KIND = FileKind(name="file of numbers", versions={1: "CREATE TABLE t (n INTEGER UNIQUE)"})


@pytest.fixture
def database(tmp_path):
    """An empty file of numbers."""
    with closing(Database(tmp_path / "d.sqlite", KIND)) as found:
        yield found


def insert(number):
    """A piece of work that gives its number back."""

    def work(connection):
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        return number

    return work


def numbers(database):
    """What is committed."""
    return [number for (number,) in database.read("SELECT n FROM t ORDER BY n")]


class Writers:
    """Threads that write; their results and errors in the order in which they came."""

    def __init__(self, database):
        self._database = database
        self._threads = []
        self.results = []

    def begin(self, work):
        """Have one more write, and wait until it stands in the queue; the first leads, of none."""
        before = len(self._threads)
        self._threads.append(threading.Thread(target=self._write, args=(work,)))
        self._threads[-1].start()
        while not self._database._led or len(self._database._queue) != before:
            threading.Event().wait(0.001)

    def _write(self, work):
        try:
            self.results.append(self._database.write(work))
        except (MCShellError, KeyboardInterrupt) as error:
            self.results.append(str(error))

    def end(self):
        """Wait for them."""
        for thread in self._threads:
            thread.join(20)


@pytest.fixture
def writers(database):
    """Threads that write into the file."""
    return Writers(database)


def test_a_file_is_brought_to_the_newest_version(tmp_path):
    """A new file runs through all versions, an older one through those that it has not had."""
    second = "ALTER TABLE t ADD COLUMN m; CREATE INDEX t_m ON t (m)"
    later = FileKind(name="file of numbers", versions={**KIND.versions, 2: second})
    for name in ("old", "new"):
        path = tmp_path / name
        if name == "old":
            with closing(Database(path, KIND)) as database:
                database.write(insert(1))
        with closing(Database(path, later)) as database:
            assert database.read("PRAGMA user_version")[0][0] == 2
            assert [row["name"] for row in database.read("PRAGMA table_info(t)")] == ["n", "m"]
            assert numbers(database) == ([1] if name == "old" else [])


@pytest.mark.parametrize("version", [99, 2])
def test_a_file_of_another_version_is_not_touched(tmp_path, version):
    """One line says what it is, which version, which is ours, and what to do."""
    path = tmp_path / "d.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={version}")
    before = path.read_bytes()
    kind = FileKind(name="file of numbers", versions={3: "CREATE TABLE t (n)"})
    with pytest.raises(ConfigError) as error:
        Database(path, kind)
    assert str(path) in str(error.value)
    for words in ("a file of numbers of", f"version {version},", "version 3:", "run the mcshell"):
        assert words in str(error.value)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["d.sqlite"]


def test_what_is_no_database_is_said_to_be_none(tmp_path):
    """A file of something else is no file of its kind; where none can be, none can be opened."""
    path = tmp_path / "d.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match=r"d\.sqlite is no file of numbers: "):
        Database(path, KIND)
    with pytest.raises(ConfigError, match=r"d\.sqlite/e cannot be opened: "):
        Database(path / "e", KIND)
    assert path.read_bytes() == b"no database" * 1000


def test_a_full_disk_is_no_wrong_file(tmp_path):
    """Where the disk takes nothing that is said, by an error that is not about the configuration."""
    with small_disk(tmp_path / "disk") as disk:
        Database(disk.path / "d.sqlite", KIND).close()
        disk.fill()
        with pytest.raises(StorageError, match=r"d\.sqlite cannot be opened: its disk is full"):
            Database(disk.path / "d.sqlite", KIND)
        disk.empty()
        Database(disk.path / "d.sqlite", KIND).close()


def test_a_disk_that_can_have_no_more_files_is_as_a_full_one(tmp_path):
    """What is there is read, though SQLite can make no WAL beside it; then it is written again."""
    with small_disk(tmp_path / "disk", files=20) as disk:
        path = disk.path / "d.sqlite"
        with closing(Database(path, KIND)) as database:
            database.write(insert(1))
        disk.take_files()
        with pytest.raises(StorageError, match=r"d\.sqlite cannot be opened: No space left on"):
            Database(path, KIND)
        with closing(Database(path, KIND, patient=True)) as database:
            assert (database.hindered, numbers(database)) == (True, [1])
        disk.empty()
        with closing(Database(path, KIND, patient=True)) as database:
            assert not database.hindered
            assert database.write(insert(2)) == 2


def test_a_database_of_something_else_is_left_as_it_was(tmp_path):
    """A file of another program in its place gets no version, no table, and no WAL."""
    path = tmp_path / "d.sqlite"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE visits (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"d\.sqlite is no file of numbers: .*'visits'"):
        Database(path, KIND)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["d.sqlite"]


def test_a_schema_that_is_no_text_is_said_to_be_none(tmp_path):
    """A byte in the words that made a table is no UTF-8: one error of ours, not one of a decoder."""
    path = tmp_path / "kept.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE t (one INTEGER NOT NULL)")
    path.write_bytes(path.read_bytes().replace(b"NOT NULL", b"NOT NU\xccL"))
    with pytest.raises(ConfigError, match="is no "):
        Database(path, FileKind(name="kept file", versions={1: "CREATE TABLE t (one INTEGER)"}))


def test_what_comes_together_is_committed_together(database, writers):
    """While one commits, the others queue up, and the next commit is for all of them."""
    commits = []
    database._connection.set_trace_callback(lambda sql: commits.append(sql == "COMMIT"))
    with database.transaction():
        for number in range(10):
            writers.begin(insert(number))
    writers.end()
    assert sorted(writers.results) == list(range(10))
    assert sum(commits) == 3


def test_writers_that_share_a_commit_keep_their_own_faults(tmp_path):
    """Of many threads that write at once each gets its own result, or its own error."""
    database = Database(tmp_path / "d.sqlite", KIND)
    results: dict[int, object] = {}

    def write(number: int) -> None:
        def work(connection: sqlite3.Connection) -> int:
            connection.execute("INSERT INTO t VALUES (?)", (number % 15,))
            return number

        try:
            results[number] = database.write(work, durable=number % 2 == 0)
        except MCShellError as error:
            results[number] = str(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 30
    for number in range(15):
        pair = results[number], results[number + 15]
        assert sum(isinstance(one, int) for one in pair) == 1
        assert sum("UNIQUE" in str(one) for one in pair) == 1
    assert len(database.read("SELECT * FROM t")) == 15
    database.close()


def test_who_is_interrupted_while_waiting_leaves_the_queue(database, writers):
    """Ctrl-C takes the piece of the one who waits along, and nobody else's."""
    main = threading.main_thread().ident
    held, entered, interrupted, go_on = (threading.Event() for _ in range(4))

    def write():
        entered.set()
        database.write(insert(2))

    def hold():
        with database.transaction():
            held.set()
            entered.wait(20)
            while not database._queue:
                go_on.wait(0.001)
            signal.pthread_kill(main, signal.SIGINT)
            if not interrupted.wait(5):  # it came just before the wait began, and does not end it
                signal.pthread_kill(main, signal.SIGINT)
            go_on.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    writers.begin(insert(1))
    while not database._led:  # else it is we who lead, and have nobody's queue to leave
        go_on.wait(0.001)
    with pytest.raises(KeyboardInterrupt):
        write()
    interrupted.set()
    writers.begin(insert(3))
    go_on.set()
    writers.end()
    holder.join(20)
    assert writers.results == numbers(database) == [1, 3]


class _Interrupting(list):
    """A queue in which one piece comes to stand just as Ctrl-C does."""

    def append(self, ticket):
        super().append(ticket)
        raise KeyboardInterrupt


@pytest.mark.parametrize("led", [False, True])
def test_who_is_interrupted_as_it_comes_into_the_queue_leaves_it(database, led):
    """Whether it was to lead or to wait: nothing of it is written, and nobody waits for it."""
    if led:
        database._led = True
    database._queue = _Interrupting()
    with pytest.raises(KeyboardInterrupt):
        database.write(insert(1))
    assert list(database._queue) == []
    assert database._led is led
    database._queue, database._led = [], False
    assert database.write(insert(2)) == 2
    assert numbers(database) == [2]


@pytest.mark.parametrize("leads", [False, True])
def test_who_was_to_lead_when_interrupted_leads_the_others_first(database, leads):
    """They are committed by it where nobody else would; its own piece is not."""
    own, other = (
        _WriteTicket(work=insert(n), durable=True, wake=threading.Event()) for n in (1, 2)
    )
    database._queue = [own, other]
    database._led = True
    if leads:
        own.wake.set()
    database._leave(own)
    assert not own.done
    assert (other.done, other.wake.is_set()) == (leads, leads)
    assert database._queue == ([] if leads else [other])
    assert numbers(database) == ([2] if leads else [])


def test_who_is_interrupted_while_committing_leaves_the_others_theirs(database, writers):
    """What was to be committed with it is committed by the next, once."""

    def interrupted(connection):
        connection.execute("INSERT INTO t VALUES (2)")
        raise KeyboardInterrupt("stop")

    with database.transaction():
        for work in (insert(1), interrupted, insert(3), insert(4)):
            writers.begin(work)
    writers.end()
    assert sorted(map(str, writers.results)) == ["1", "3", "4", "stop"]
    assert numbers(database) == [1, 3, 4]
    assert database.write(insert(5)) == 5


def test_what_fails_inside_a_transaction_is_rolled_back(database):
    """The fault of the database is one of ours, another's stays what it is; the next may write."""
    error = r"d\.sqlite cannot be written: UNIQUE"
    with pytest.raises(MCShellError, match=error), database.transaction() as connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), (1,)])
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (?)", (1 / 0,))
    assert numbers(database) == []
    with database.transaction(durable=False) as connection:
        connection.execute("INSERT INTO t VALUES (4)")
        assert numbers(database) == [4]
    with pytest.raises(MCShellError, match=r"d\.sqlite cannot be read: no such table"):
        database.read("SELECT * FROM u")


def test_a_closed_file_cannot_be_used(database):
    """Whoever comes too late is told so."""
    database.close()
    with pytest.raises(MCShellError, match="closed"):
        database.write(insert(1))
    with pytest.raises(MCShellError, match="closed"):
        database.read("SELECT 1")


def vanish(path: Path) -> None:
    """Delete a file with all that lies beside it."""
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


def lose_wal(path: Path) -> None:
    """Delete what was committed last."""
    Path(f"{path}-wal").unlink()


def restore(path: Path) -> None:
    """Put an older copy in its place, as `mv` and most tools do."""
    draft = path.with_name("restored")
    with closing(Database(draft, KIND)) as older:
        older.write(insert(99))
    draft.replace(path)


@pytest.mark.parametrize("harm", [vanish, lose_wal, restore])
def test_a_file_that_is_taken_from_under_us_is_put_back(tmp_path, caplog, harm):
    """What was committed before and after is in the file of that name, though this process be killed."""
    path = tmp_path / "d.sqlite"
    database = Database(path, KIND)  # never closed: whoever is killed closes nothing
    database.write(lambda one: one.execute("CREATE TEMP TABLE mine (n)"))
    database.write(lambda one: one.execute("INSERT INTO mine VALUES (7)"))
    database.write(insert(1))
    harm(path)
    for number in (2, 3):
        assert database.write(insert(number)) == number
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{path} was deleted or replaced under us: it is put back")
    assert database.read("SELECT n FROM mine")[0][0] == 7
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as other:
        assert other.execute("SELECT n FROM t ORDER BY n").fetchall() == [(1,), (2,), (3,)]
    if harm is restore:
        with closing(sqlite3.connect(f"{path}.found")) as found:
            assert found.execute("SELECT n FROM t").fetchall() == [(99,)]
    database.close()
    with closing(Database(path, KIND)) as again:
        assert numbers(again) == [1, 2, 3]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_deleted_is_put_back_at_the_end(tmp_path):
    """Nothing was written since: what had been committed is there when the file is closed."""
    path = tmp_path / "d.sqlite"
    database = Database(path, KIND)
    database.write(insert(1))
    vanish(path)
    database.close()
    with closing(Database(path, KIND)) as again:
        assert numbers(again) == [1]


def test_a_file_that_cannot_be_put_back_takes_nothing_until_it_can(tmp_path):
    """Without its folder, or room, nothing more is committed, as on a full disk; then all is there."""
    folder = tmp_path / "disk" / "state"
    with small_disk(folder.parent) as disk:
        folder.mkdir()
        database = Database(folder / "d.sqlite", KIND)
        database.write(insert(1))
        shutil.rmtree(folder)
        for what in ("nothing", "a file"):
            if what == "a file":
                folder.touch()
            with (
                pytest.raises(
                    StorageError, match=r"was deleted or replaced, and cannot be put back"
                ),
                database.transaction(),
            ):
                pass
        folder.unlink()
        folder.mkdir()
        disk.fill()
        with pytest.raises(StorageError, match="was deleted or replaced, and cannot be put back"):
            database.write(insert(2))
        disk.empty()
        database.write(insert(2))
        assert numbers(database) == [1, 2]
        assert [one.name for one in folder.glob("*.draft")] == []
        database.close()


def test_a_file_that_is_damaged_says_what_can_be_done(tmp_path):
    """In the line that a service ends with, beside what SQLite says and which file it is."""
    path = tmp_path / "d.sqlite"
    with closing(Database(path, KIND)) as database:
        database.write(lambda one: [insert(number)(one) for number in range(5000)])
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"x" * (path.stat().st_size - 2 * 4096))
    said = r"d\.sqlite cannot be read: .*malformed.*: move it away, or a backup into its place"
    with closing(Database(path, KIND)) as database, pytest.raises(MachineError, match=said):
        numbers(database)


def test_a_former_file_that_another_takes_over_just_now_is_no_obstacle(tmp_path):
    """It is there when it is looked for, and gone when it is opened: its rows are here by then."""
    former = tmp_path / "former.sqlite"
    with closing(sqlite3.connect(former)) as old:
        old.execute("CREATE TABLE t (n INTEGER)")
    at_work = True

    def hook(event, arguments):
        if at_work and event == "sqlite3.connect" and "former.sqlite" in str(arguments[0]):
            former.unlink()

    sys.addaudithook(hook)
    kind = replace(
        KIND, former=former.name, take_over={"t": "INSERT OR IGNORE INTO t VALUES (?)"}, shared=True
    )
    try:
        with closing(Database(tmp_path / "d.sqlite", kind)) as database:
            database.write(insert(1))
            assert numbers(database) == [1]
    finally:
        at_work = False


@pytest.mark.parametrize("there", [True, False])
def test_where_nothing_more_can_be_opened_it_is_the_machine(tmp_path, there):
    """`ulimit -n` is no fault of the file's, new or not, and SQLite's own words do not say what is wrong."""
    if there:
        Database(tmp_path / "d.sqlite", KIND).close()
    with no_descriptors(), pytest.raises(MachineError, match=r"opened: Too many open files$"):
        Database(tmp_path / "d.sqlite", KIND)


def test_where_too_little_can_be_opened_it_is_the_machine(tmp_path):
    """A file beside the database finds no descriptor: that is told, whichever of them it was."""
    Database(tmp_path / "d.sqlite", KIND).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.open(os.devnull, os.O_RDONLY)
    os.close(highest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
        with pytest.raises(MachineError, match=r"opened: Too many open files$"):
            Database(tmp_path / "d.sqlite", KIND)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
