"""A session file as bytes that anybody may have written: a copy of it, looked at row by row.

The file itself is neither changed nor locked, and brought to no newer version; its copy is.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.store.bodies import BESIDE
from mcshell.client.store.schema import SESSION
from mcshell.errors import ConfigError, SessionError
from mcshell.message import State
from mcshell.sqlite import Database, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BROKEN",
    "RawRows",
    "as_it_is",
    "copied",
    "refuse_misfits",
    "snapshot",
    "strange",
]

BROKEN: Final = (sqlite3.Error, UnicodeDecodeError)
"""What a broken file comes to; the second where SQLite itself has no text to say it in."""
_TABLES: Final = "SELECT name FROM sqlite_master WHERE type='table' AND name<>'sqlite_sequence'"
_KINDS: Final = {"INTEGER": (int,), "REAL": (float,), "TEXT": (str,), "BLOB": (bytes,)}


@contextmanager
def as_it_is(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file for reading; nothing is left beside it.

    Raises:
        SessionError: it is none of SQLite's, or broken.
    """
    with ExitStack() as stack:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        if not _beside(path, "-wal").exists():
            uri += "&immutable=1"
        elif not _beside(path, "-shm").exists():
            # Nobody has it open: SQLite would make a file beside it, so it is read elsewhere.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mcshell-session-"))
            for part in (path, _beside(path, "-wal")):
                shutil.copyfile(part, Path(folder) / part.name)
            uri = (Path(folder) / path.name).resolve().as_uri()
        try:
            yield stack.enter_context(closing(_connected(uri)))
        except BROKEN as error:
            raise SessionError(f"{path} cannot be read: {error}", path.stem) from error


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def strange(path: Path) -> str:
    """What a file has beside, or in place of, the tables of a session file; "" where nothing is.

    Nothing of it is run for that: a view, a trigger, a computed column or index can take for ever, or all
    memory, once somebody reads or writes the table that it says it is.

    Raises:
        SessionError: it is none of SQLite's, or broken.
    """
    with as_it_is(path) as rows:
        version = rows.execute("PRAGMA user_version").fetchone()[0]
        found = _made(rows)
    if version not in (0, *SESSION.versions):
        return ""  # opening it says so, and runs nothing
    meant, newest = _schema_of(version), _schema_of(max(SESSION.versions))
    others = sorted({name for name, _ in (found - meant - newest) | (meant - found)})
    return f"its tables are not those of a session file: {', '.join(others)}" if others else ""


def _refuse_strange(path: Path) -> None:
    """Refuse a file that is `strange`; raises SessionError, for that too."""
    if why := strange(path):
        raise SessionError(f"{path}: {why}", path.stem)


def snapshot(path: Path, copy: Path) -> None:
    """Copy a session file as it stands, with what its WAL has and the bodies beside it.

    Somebody may be at work in it. Where nobody has left a WAL, the copy is the same byte for byte.

    Raises:
        SessionError: it is none of SQLite's, or broken.
    """
    if _beside(path, "-wal").exists():
        with as_it_is(path) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    else:
        shutil.copyfile(path, copy)
    if (bodies := _beside(path, BESIDE)).exists():
        shutil.copyfile(bodies, _beside(copy, BESIDE))


def refuse_misfits(path: Path) -> None:
    """Refuse a file that is `strange`, or in which some value is of no kind that its column is for.

    Raises:
        SessionError: it is so, or broken.
    """
    _refuse_strange(path)
    with as_it_is(path) as rows:
        tables = [name for (name,) in rows.execute(_TABLES)]
        for table in tables:
            for _, name, kind, needed, _, key in rows.execute(
                f"PRAGMA table_info({table})"
            ).fetchall():
                kinds = f"'{kind.lower()}'" if needed or key else f"'{kind.lower()}', 'null'"
                query = f"SELECT 1 FROM {table} WHERE typeof({name}) NOT IN ({kinds}) LIMIT 1"  # noqa: S608 - our own names
                if rows.execute(query).fetchone():
                    raise SessionError(
                        f"{path}: {table}: no value of its kind in {name}", path.stem
                    )
        states = ", ".join(f"'{one.value}'" for one in State)
        query = f"SELECT 1 FROM targets WHERE state NOT IN ({states}) LIMIT 1"  # noqa: S608 - our own words
        if rows.execute(query).fetchone():
            raise SessionError(f"{path}: targets: there is no such state", path.stem)


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """A copy of a session file, of the newest version, for as long as somebody looks at it.

    The large bodies that lie beside the file are not with it (`bodies.whole` reads them there).

    Raises:
        SessionError: it is no session file, or broken.
    """
    _refuse_strange(path)
    with tempfile.TemporaryDirectory(prefix="mcshell-session-") as folder:
        copy = Path(folder) / path.name
        with as_it_is(path) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        _brought_up(copy)
        yield copy


def _brought_up(path: Path) -> None:
    """Have a file of the newest version, whatever is in its tables."""
    try:
        Database(path, SESSION).close()
    except ConfigError as error:
        raise SessionError(str(error), path.stem) from error


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True)
    connection.row_factory = sqlite3.Row
    # What is no UTF-8 is to be found, not to end the search.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return connection


class RawRows:
    """The rows of a copy whose values are of the kind that their column is for; `flaws` of the others."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.flaws: list[str] = []
        for (said,) in connection.execute("PRAGMA integrity_check(20)"):
            if said != "ok":
                self.flaws.append(f"the file is damaged: {said}")

    def all(self, table: str, order: str = "1") -> list[dict[str, Any]]:
        """The good rows of a table."""
        kinds = {
            name: _KINDS[kind] if needed or key else (*_KINDS[kind], type(None))
            for _, name, kind, needed, _, key in self._connection.execute(
                f"PRAGMA table_info({table})"
            )
        }
        good = []
        try:
            found = self._connection.execute(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608 - our own names
            for row in map(dict, found):
                flaws = [name for name, fit in kinds.items() if not _fits(row[name], fit)]
                if flaws:
                    self.flaws.append(f"{table}: no value of its kind in {', '.join(flaws)}")
                else:
                    good.append(row)
        except BROKEN as error:
            self.flaws.append(f"{table}: {error}")
        return good

    def highest(self, table: str) -> int:
        """The highest number that a row of a table ever had, as SQLite has counted them."""
        found = self._connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        if any((name, type(seq)) != (table, int) for name, seq in found):
            self.flaws.append("SQLite's own count of rows was changed")
            return 0
        return int(found[0][1]) if found else 0


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return isinstance(value, kinds)


def _made(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """What a file is made of, and how: tables, indices and whatever else there is."""
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return {
        (f"{kind} {name}", f"{table} {''.join((sql or '').split())}")
        for kind, name, table, sql in found
    }


def _schema_of(version: int) -> set[tuple[str, str]]:
    """The same of a new session file of a version; 0 has nothing."""
    with closing(in_memory(SESSION, version)) as connection:
        return _made(connection)
