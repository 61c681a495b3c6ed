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

from mcshell.client.store.schema import SESSION
from mcshell.errors import ConfigError, SessionError
from mcshell.sqlite import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BROKEN", "RawRows", "as_it_is", "copied"]

BROKEN: Final = (sqlite3.Error, UnicodeDecodeError)
"""What a broken file comes to; the second where SQLite itself has no text to say it in."""
_KINDS: Final = {"INTEGER": (int,), "REAL": (float,), "TEXT": (str,), "BLOB": (bytes,)}
_OURS: Final = "name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


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


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """A copy of a session file, of the newest version, for as long as somebody looks at it.

    The large bodies that lie beside the file are not with it (`bodies.whole` reads them there).

    Raises:
        SessionError: it is no session file, or broken.
    """
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
    """The rows of a copy whose values are of the kind that their column is for; `flaws` of the others.

    `readable`: the tables are those of a session file. Of others no row is to be asked for.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.flaws: list[str] = []
        for (said,) in connection.execute("PRAGMA integrity_check(20)"):
            if said != "ok":
                self.flaws.append(f"the file is damaged: {said}")
        with tempfile.TemporaryDirectory(prefix="mcshell-session-") as folder:
            _brought_up(Path(folder) / "new.sqlite")
            with as_it_is(Path(folder) / "new.sqlite") as new:
                meant = _schema(new)
        found = _schema(connection)
        self.readable = found == meant
        if not self.readable:
            others = sorted(name for name, _ in found ^ meant)
            self.flaws.append(f"its tables are not those of a session file: {', '.join(others)}")

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


def _schema(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """What a file is made of: of a table its columns, of anything else how it was made."""
    found = connection.execute(
        f"SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE {_OURS}"  # noqa: S608 - our own text
    ).fetchall()
    return {
        (f"{kind} {name}", _columns(connection, name) if kind == "table" else " ".join(sql.split()))
        for kind, name, sql in found
    }


def _columns(connection: sqlite3.Connection, table: str) -> str:
    quoted = table.replace('"', '""')
    return str([tuple(row) for row in connection.execute(f'PRAGMA table_info("{quoted}")')])
