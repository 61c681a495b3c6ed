"""Changes of a session file: of one value in a row, or of one bit of the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mcshell.client.session.evidence import examine
from mcshell.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from mcshell.wire.documents.signatures import Verifier

__all__ = ["change", "found", "places", "rows"]


def found(path: Path, verifier: Verifier) -> list[str]:
    """What is said to be wrong with a file; nothing where all is well."""
    try:
        return [one.what for one in examine(path, verifier).findings]
    except SessionError as error:
        return [str(error)]


def tables(db: sqlite3.Connection) -> list[str]:
    """The names of all tables, SQLite's own too."""
    return [
        str(name) for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]


def places(path: Path) -> Iterator[tuple[str, str]]:
    """Each column, with its table, that has a value somewhere."""
    with closing(sqlite3.connect(path)) as db:
        for table in tables(db):
            for _, column, *_ in db.execute(f"PRAGMA table_info({table})").fetchall():
                query = f"SELECT 1 FROM {table} WHERE {column} IS NOT NULL AND {column}<>'' LIMIT 1"
                if db.execute(query).fetchone():
                    yield table, column


def change(path: Path, table: str, column: str, random: Random) -> str:
    """Flip one bit of a value of some row; says which it was."""
    with closing(sqlite3.connect(path)) as db:
        key = [name for _, name, *_, at in db.execute(f"PRAGMA table_info({table})") if at]
        keys = ", ".join(key) or "rowid"
        query = f"SELECT {column}, {keys} FROM {table} WHERE {column} IS NOT NULL AND {column}<>''"
        value, *where = random.choice(db.execute(f"{query} ORDER BY {keys}").fetchall())
        named = " AND ".join(f"{name}=?" for name in key or ["rowid"])
        for _ in range(100):
            new = flipped(value, random)
            try:
                db.execute(f"UPDATE {table} SET {column}=? WHERE {named}", (new, *where))
            except sqlite3.IntegrityError:
                continue  # two rows would be one: SQLite itself refuses it
            db.commit()
            return f"{table}.{column}: {value!r:.60} -> {new!r:.60}"
    raise AssertionError(f"no change of {table}.{column} is taken")


def flipped(value: Any, random: Random) -> Any:
    """A value with one bit changed."""
    if isinstance(value, int):
        return value ^ (1 << random.randrange(16))
    if isinstance(value, float):
        return value + random.choice((-1, 1)) * 2.0 ** random.randrange(-10, 8)
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    raw[random.randrange(len(raw))] ^= 1 << random.randrange(7)
    return bytes(raw).decode("utf-8", "replace") if isinstance(value, str) else bytes(raw)


def rows(path: Path) -> dict[str, list[Any]] | None:
    """All that a file says, read once more and by nothing of ours; None where SQLite cannot read it."""
    try:
        with closing(sqlite3.connect(path)) as db:
            db.text_factory = bytes
            names = [
                name.decode()
                for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
            ]
            said = {"": db.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall()}
            said[" "] = db.execute("PRAGMA user_version").fetchall()
            return said | {
                name: sorted(map(repr, db.execute(f'SELECT * FROM "{name}"'))) for name in names
            }
    except (sqlite3.Error, UnicodeDecodeError):
        return None
