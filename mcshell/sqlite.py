"""One way to open, version, migrate and commit a SQLite file, for every kind that mcshell keeps.

A kind of file is a `FileKind`: its tables, version by version. Opening a file brings it to the
newest version in one transaction, with the number in `PRAGMA user_version`: whoever is killed in
between leaves it as it was. A file of a version that is not known here is refused before a byte of
it is touched. All are private (0600) and in WAL mode.

A disk that is full, or read-only, does not keep a node from its files: what is in them is read, and
what would be written fails as `StorageError` (`hindered`).

Any thread may call. What comes together is committed together: of those that `write` one leads. It
commits what all of them have queued, in one transaction, wakes them, and hands the lead to the
first that came meanwhile. So nobody works for the others for long.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mcshell import forking
from mcshell.errors import ConfigError, MachineError, MCShellError, StorageError
from mcshell.private import private_file
from mcshell.storage import copy_temporary, exhausted, files_at, is_storage_fault, lacking, put_back
from mcshell.values import dataclass

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Database", "FileKind", "in_memory"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_EVERY: Final = 0.5
_PATIENCE: Final = 5.0
"""Seconds for which a file that is to have another name is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """What one kind of file is; `name` is what messages call it.

    `versions` has the SQL that makes each version out of the one before, the first out of nothing;
    a statement has no `;` inside. `shared` says that several processes may have the file open,
    `pragmas` are set whenever it is opened, another process is waited for `timeout` seconds.

    `former` is the file beside it in which an earlier mcshell kept the same rows, and no version;
    `take_over` has for each of its tables the statement that brings a row of it in. The file goes
    after the commit, so a row may come twice, and must then do no harm.

    `loses`: it is only a cache, and that is lost with it. One that is damaged is set aside, and begun anew.

    `closed` makes what is raised where it is asked after its end, for whoever does not know the file.
    """

    name: str
    versions: Mapping[int, str]
    former: str | None = None
    take_over: Mapping[str, str] = field(default_factory=dict)
    shared: bool = False
    pragmas: Sequence[str] = ()
    timeout: float = 10.0
    loses: str = ""
    closed: Callable[[], MCShellError] | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class _WriteTicket:
    """One writer's piece of work, and what became of it."""

    work: Callable[[sqlite3.Connection], Any]
    durable: bool
    done: bool = False
    result: Any = None
    error: Exception | None = None
    wake: threading.Event | None = None
    """Set when it is done or leads; none for a leader from the start."""


class Database:
    """An open file, until `close`. Rows are `sqlite3.Row`: known by place and by name.

    With `patient` a disk that takes nothing is no reason to fail: the file is opened for reading,
    and `hindered`. Once there is room it wants to be opened again.

    Raises:
        StorageError: the disk takes nothing.
        MachineError: this process can open nothing more.
        ConfigError: it cannot be opened, is none of its kind, or of a version not known here.
    """

    def __init__(
        self, path: str | os.PathLike[str], kind: FileKind, *, patient: bool = False
    ) -> None:
        self.path = Path(path)
        self.hindered = False
        self._kind = kind
        self._process = forking.generation()
        self._lock = threading.RLock()
        self._durable = True
        self._closed = False
        self._queue: list[_WriteTicket] = []
        self._led = False
        self._waiting = threading.Lock()
        """Guards the queue, and whether somebody leads it."""
        self._files: list[tuple[int, int]] = []
        """The file and its WAL; none that others may move or replace."""
        self._look_at = 0.0
        with self._lock:  # a fork waits until it is open
            forking.hold(self)
            try:
                self._connection = _open(self.path, kind)
                self._note_files()
            except StorageError as error:
                if not patient:
                    raise
                self._connection = _open_for_reading(self.path, kind, error)
                self.hindered = True

    @property
    def _turn(self) -> threading.RLock:
        """Held by whoever uses the connection; raises ForkedClient where it is another process's."""
        forking.check(self._process)
        return self._lock

    def rest(self, timeout: float) -> bool:
        """Have nobody at work in it from now on, for a fork (`forking`)."""
        return self._lock.acquire(timeout=timeout)

    def go_on(self) -> None:
        """Let everybody work again: the fork is made."""
        self._lock.release()

    def let_go(self) -> None:
        """Close what a child has inherited: as SQLite remembers a file, it could not open it anew.

        Nothing is written: nobody was at work in it, and the parent's lock keeps the WAL as it is.
        """
        if hasattr(self, "_connection"):
            self._connection.close()
        self._lock.release()

    def close(self) -> None:
        """Close the file; nobody may be at work in it any more."""
        with self._turn:
            self._closed = True
            try:
                self._keep_in_place()
            except (sqlite3.Error, OSError, MCShellError) as error:
                log.error("%s", error)  # noqa: TRY400  said in full
            finally:
                self._connection.close()

    def move(self, path: Path, ending: str) -> None:
        """Give the file another name; who is at work in it meanwhile waits, and goes on there.

        A file beside it, its name with `ending`, comes along. Another process that has it open would
        go on under the old name, and what it holds in the WAL is not in the file before it has
        ended: it is waited for, some seconds.

        Raises:
            MachineError: another process keeps it open, or it cannot be renamed. It is as it was.
        """
        with self._turn:
            try:
                _take_alone(self._connection, time.monotonic() + _PATIENCE)
                beside, new = (one.with_name(one.name + ending) for one in (self.path, path))
                new.unlink(missing_ok=True)
                if beside.exists():  # under both names, until the file has the new one
                    new.hardlink_to(beside)
                self.path.rename(path)
                self.path = path
                beside.unlink(missing_ok=True)
            except sqlite3.OperationalError as error:
                why = "another process has it open" if _is_busy(error) else str(error)
                raise MachineError(f"{self.path} cannot be renamed: {why}") from error
            except OSError as error:
                raise MachineError(f"{self.path} cannot be renamed: {error.strerror}") from error
            finally:
                self._connection.close()
                self._connection = _open(self.path, self._kind)

    def checkpoint(self) -> None:
        """Bring what is committed into the file, and empty the WAL: what was deleted is gone then.

        Where another process reads just now, that waits for the next time.

        Raises:
            StorageError: the disk takes nothing.
            MachineError: it could not be written.
        """
        with self._turn:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise self._unwritten(error) from error

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a query over what is committed.

        Raises:
            MachineError: it could not be read.
        """
        with self._turn:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._failed(MachineError, "read", error) from error

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One commit of what is done inside, on the disk when it ends if it is a durable one.

        With `durable=False` a power cut may undo it; the death of this process never does.

        Raises:
            StorageError: the disk takes nothing.
            MachineError: it could not be committed.
        """
        with self._turn:
            try:
                # Before a sync it costs nothing; what is not synced is put back with the rest.
                if durable or time.monotonic() >= self._look_at:
                    self._keep_in_place()
                if durable is not self._durable:
                    level = "FULL" if durable else "NORMAL"
                    self._connection.execute(f"PRAGMA synchronous={level}")
                    self._durable = durable
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                with suppress(
                    sqlite3.Error
                ):  # there may be none any more; the first error says why
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise self._unwritten(error) from error
                raise

    def _note_files(self) -> None:
        """Remember which files they are, where only this process has them open."""
        if not self._kind.shared:
            # There is a WAL from then on.
            self._connection.execute("PRAGMA schema_version").fetchone()
            self._files = files_at(self.path)

    def _keep_in_place(self) -> None:
        """Put the file back, as it is for us, where somebody has deleted or replaced it, or its WAL.

        What would be written else is gone with this process.

        Raises:
            StorageError: it cannot be put back.
        """
        self._look_at = time.monotonic() + _LOOK_EVERY
        try:
            if not self._files or files_at(self.path) == self._files:
                return
        except OSError:  # nobody can say: what is open is written to as before
            return
        try:
            found = put_back(self._connection, self.path)
            connection = _open(self.path, self._kind)
        except (OSError, sqlite3.Error) as error:
            text = f"{self.path} was deleted or replaced, and cannot be put back: {error}"
            raise StorageError(text) from error
        copy_temporary(self._connection, connection)
        self._connection.close()  # SQLite sees that its file is another's now, and deletes no WAL
        self._connection, self._durable = connection, True
        self._note_files()
        log.error("%s was deleted or replaced under us: it is put back%s", self.path, found)

    def _unwritten(self, error: sqlite3.Error) -> MCShellError:
        """What to raise when nothing could be written."""
        kind = StorageError if self.hindered or is_storage_fault(error) else MachineError
        return self._failed(kind, "written", error)

    def _failed(self, kind: type[MCShellError], what: str, error: sqlite3.Error) -> MCShellError:
        if self._closed and self._kind.closed is not None:
            return self._kind.closed()
        return kind(f"{self.path} cannot be {what}: {self._found(error)}")

    def _found(self, error: sqlite3.Error) -> str:
        """What SQLite says, and where the file is damaged, what to do."""
        if type(error) is not sqlite3.DatabaseError:
            return f"{error}"
        if self._kind.loses:
            return f"{error}: delete it: {self._kind.loses}"
        return f"{error}: move it away, or a backup into its place (what it held is then lost)"

    def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Have `work` done in a transaction with that of others, and return its result after it.

        `work` only touches the database: when another's fails, it is done again. It is on the disk
        if it, or another's, is `durable` (see `transaction`). Not for the inside of a transaction.

        Raises:
            MachineError: it could not be committed.
        """
        forking.check(self._process)
        ticket = _WriteTicket(work=work, durable=durable)
        try:
            with self._waiting:
                if self._led:
                    ticket.wake = threading.Event()
                self._queue.append(ticket)
                self._led = True
            if ticket.wake is not None:
                ticket.wake.wait()
        except BaseException:
            self._leave(ticket)
            raise
        if not ticket.done:
            self._lead(ticket)
        if isinstance(ticket.error, MCShellError):
            raise ticket.error
        if ticket.error is not None:
            raise MachineError(f"{self.path} cannot be written: {ticket.error}") from ticket.error
        result: T = ticket.result
        return result

    def _leave(self, ticket: _WriteTicket) -> None:
        """Stop waiting (Ctrl-C in the main thread), without taking the lead along."""
        with self._waiting:
            waits = ticket in self._queue
            if waits:
                self._queue.remove(ticket)
        if waits and (ticket.wake is None or ticket.wake.is_set()):
            self._lead(ticket)

    def _lead(self, own: _WriteTicket) -> None:
        """Commit all that wait, and hand the lead to the first that has come meanwhile."""
        with self._waiting:
            tickets, self._queue = self._queue, []
        try:
            self._commit(tickets)
        finally:
            with self._waiting:
                # What an interrupted leader has not committed is the next one's.
                left = [one for one in tickets if not one.done and one is not own]
                self._queue = left + self._queue
                self._led = bool(self._queue)
                for one in (*self._queue[:1], *(one for one in tickets if one.done)):
                    if one.wake is not None:
                        one.wake.set()

    def _commit(self, tickets: list[_WriteTicket]) -> None:
        """One transaction for all; when it fails, one for each, so that each has its own fault."""
        try:
            with self.transaction(durable=any(one.durable for one in tickets)) as connection:
                for ticket in tickets:
                    ticket.result = ticket.work(connection)
        except Exception as error:  # noqa: BLE001 - the callers', each of whom raises its own
            if len(tickets) > 1:
                for ticket in tickets:
                    self._commit([ticket])
                return
            tickets[0].error = error
        for ticket in tickets:
            ticket.done = True


def _open(path: Path, kind: FileKind) -> sqlite3.Connection:
    """A connection to a file of the newest version; raises as `Database`."""
    former = None if kind.former is None else path.with_name(kind.former)
    inode = path.stat().st_ino if path.is_file() else 0
    try:
        found = _look(path, kind)
        with ExitStack() as unless_open:
            connection = _connected(str(private_file(path)), kind)
            unless_open.callback(connection.close)
            # What is deleted, or set to NULL, is overwritten: inputs may be secrets.
            for pragma in (*kind.pragmas, "synchronous=FULL", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")
            _use_wal(connection, time.monotonic() + kind.timeout)
            if found != max(kind.versions) or (former is not None and former.exists()):
                _upgrade(connection, path, kind, former)
            unless_open.pop_all()
            return connection
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        if why := exhausted(error):
            raise MachineError(f"{path} cannot be opened: {why}") from error
        if not path.is_dir() and (why := lacking(path, error)):
            raise StorageError(f"{path} cannot be opened: {why}") from error
        # What an operational error finds fault with is the place, not what the file holds. One that
        # cannot be decoded is SQLite's own, about bytes in a schema that are no text.
        wrong = type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)
        if wrong and kind.loses and inode and _set_aside(path, kind, inode, error):
            return _open(path, kind)
        what = f"is no {kind.name}" if wrong else "cannot be opened"
        raise ConfigError(f"{path} {what}: {error}", origin=str(path)) from error


def _set_aside(path: Path, kind: FileKind, inode: int, why: Exception) -> bool:
    """Give a damaged cache another name, unless another process has; whether a new one may be begun."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        if path.stat().st_ino == inode:
            path.replace(aside)
            for ending in ("-wal", "-shm"):
                Path(f"{path}{ending}").unlink(missing_ok=True)
            text = "%s is no %s (%s): it lies in %s now, and a new one is begun: %s"
            log.warning(text, path, kind.name, why, aside, kind.loses)
    except OSError:  # nor can anything else be done here: what was found first says why
        return path.is_file() and path.stat().st_ino != inode
    return True


def _open_for_reading(path: Path, kind: FileKind, error: StorageError) -> sqlite3.Connection:
    """A connection to a file on a disk that takes nothing; raises `error` where there is none.

    A file that is not there yet is an empty one in memory, in which nothing can be written.
    """
    if not _size(path):
        connection = in_memory(kind, max(kind.versions))
        connection.set_authorizer(_nothing_written)
        return connection
    address = path.resolve().as_uri()
    # Alone in it, SQLite makes no file beside it. Nor where nothing can change, and no WAL is left.
    ways = [(address, "EXCLUSIVE"), (address, "NORMAL")]
    if not _size(Path(f"{path}-wal")):
        ways.append((f"{address}?mode=ro&immutable=1", "NORMAL"))
    for uri, lock in ways:
        try:
            connection = _connected(uri, kind)
        except sqlite3.Error:  # it is no file at all
            break
        with suppress(sqlite3.Error):  # the next way, or the first error
            connection.execute(f"PRAGMA locking_mode={lock}")
            if _version(connection, path, kind) == max(kind.versions):
                return connection
        connection.close()
    raise error


def in_memory(kind: FileKind, version: int) -> sqlite3.Connection:
    """An empty file of a version, on no disk."""
    connection = _connected(":memory:", kind)
    for number, script in kind.versions.items():
        if number <= version:
            connection.executescript(script)
    return connection


def _nothing_written(what: int, *about: str | None) -> int:
    """Let a file that is not there be read, and tables of the connection's own be written."""
    writes = what in (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
    return sqlite3.SQLITE_DENY if writes and about[2] == "main" else sqlite3.SQLITE_OK


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _connected(address: str, kind: FileKind) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address, uri=True, timeout=kind.timeout, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.create_function("sha256", 1, _sha256, deterministic=True)
    return connection


def _sha256(value: bytes) -> str:
    """The SQL function of that name, in hexadecimal: for what a new version derives from bytes."""
    return hashlib.sha256(value).hexdigest()


def _use_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Switch to WAL; SQLite itself does not wait for another process that is about to."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _look(path: Path, kind: FileKind) -> int:
    """The version, read without a trace: a plain connection would make a checkpoint as it closes."""
    if not path.exists():
        return 0
    # Where no WAL is, nobody is at work: the file can be read without a lock.
    mode = "ro" if Path(f"{path}-wal").exists() else "ro&immutable=1"
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=kind.timeout)) as connection:
        return _version(connection, path, kind)


def _version(connection: sqlite3.Connection, path: Path, kind: FileKind) -> int:
    """The version of a file, 0 for a new one; ConfigError for one that is not known here."""
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found not in (0, *kind.versions):
        raise ConfigError(
            f"{path} is a {kind.name} of version {found}, this mcshell works with version"
            f" {max(kind.versions)}: run the mcshell that made it, or move the file away (what it"
            " holds is then lost)",
            origin=str(path),
        )
    # 67a4456 wrote the version last: a file of its own without one has some of the kind's tables.
    if not found and (named := _tables(connection)):
        with closing(in_memory(kind, max(kind.versions))) as own:
            if others := sorted(named - _tables(own)):
                raise ConfigError(
                    f"{path} is no {kind.name}: it has a table {others[0]!r}", origin=str(path)
                )
    return found


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def _upgrade(
    connection: sqlite3.Connection, path: Path, kind: FileKind, former: Path | None
) -> None:
    """Bring the tables to the newest version, and into them what an earlier mcshell has left."""
    connection.execute("BEGIN IMMEDIATE")
    found = _version(connection, path, kind)
    for version, script in kind.versions.items():
        for statement in script.split(";") if version > found else ():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={max(kind.versions)}")
    if former is None or not former.exists():
        connection.execute("COMMIT")
        return
    try:
        uri = f"{former.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=0.0)) as old:
            alone = _hold(old, shared=kind.shared)
            if alone or not found:
                _copy(old, connection, kind.take_over)
            connection.execute("COMMIT")
            for end in ("-shm", "-journal", "") if alone else ():
                Path(f"{former}{end}").unlink(missing_ok=True)
    except sqlite3.Error as error:
        if not former.exists():  # another process has taken it over meanwhile, and committed
            connection.execute("COMMIT")
            return
        text = (
            f"{former}, of an earlier mcshell that may still be at work in it, cannot be taken over"
        )
        raise ConfigError(f"{text}: {error}", origin=str(former)) from error


def _hold(old: sqlite3.Connection, *, shared: bool) -> bool:
    """Have a former file alone, with its WAL in it; False while another has a shared one open.

    What an earlier mcshell still writes into that is taken over when it has ended.
    """
    try:
        _take_alone(old)
    except sqlite3.OperationalError as error:
        if not shared or not _is_busy(error):
            raise
        old.execute("PRAGMA locking_mode=NORMAL")
        return False
    return True


def _take_alone(connection: sqlite3.Connection, deadline: float = 0.0) -> None:
    """Have a file for this connection only, with its WAL in it; raises OperationalError (busy)."""
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    while True:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode == sqlite3.SQLITE_BUSY


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, take_over: Mapping[str, str]) -> None:
    for table in take_over.keys() & _tables(old):
        rows = old.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own names
        new.executemany(take_over[table], rows)
