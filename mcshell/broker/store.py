"""The broker's disk: persistent messages in SQLite, written once a turn of the event loop.

`synchronous=FULL`: a RECEIPT means that the message survives a power cut, as with ActiveMQ. What
only deletes or marks is written with NORMAL: losing that in a power cut means a delivery more.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcshell.errors import ConfigError
from mcshell.private import private_file, private_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MessageStore", "StoredMessage"]


@dataclass(slots=True)
class StoredMessage:
    """A message of a queue. `head` is its MESSAGE head in STOMP 1.2, `expires` 0 for never."""

    id: int
    queue: str
    head: bytes
    body: bytes
    expires: float
    tries: int = 0
    persistent: bool = True


class MessageStore:
    """The persistent messages; `held` counts the bytes of all bodies, persistent or not."""

    def __init__(self, directory: Path) -> None:
        try:
            place = private_file(private_folder(directory) / "broker.sqlite")
            self._db = sqlite3.connect(place, 0, isolation_level=None)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, queue TEXT NOT NULL,"
                " head BLOB NOT NULL, body BLOB NOT NULL, expires REAL NOT NULL, tries INTEGER NOT NULL)"
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"the broker cannot use {directory}: {error}") from error
        self.held = 0
        self._new: dict[int, StoredMessage] = {}
        self._tried: dict[int, StoredMessage] = {}
        self._gone: list[tuple[int]] = []

    def load(self) -> list[StoredMessage]:
        """Read what an earlier run left, oldest first."""
        messages = [
            StoredMessage(*row) for row in self._db.execute("SELECT * FROM message ORDER BY id")
        ]
        self.held = sum(len(message.body) for message in messages)
        return messages

    def put(self, message: StoredMessage) -> None:
        """Keep a message: in memory, and if it is persistent on disk from the next commit on."""
        self.held += len(message.body)
        if message.persistent:
            self._new[message.id] = message

    def tried(self, message: StoredMessage) -> None:
        """Note a delivery, so that one after a crash of the broker is marked redelivered."""
        if message.persistent and message.id not in self._new:
            self._tried[message.id] = message

    def delete(self, message: StoredMessage) -> None:
        """Forget a message that was acknowledged or is too old."""
        self.held -= len(message.body)
        if message.persistent and self._new.pop(message.id, None) is None:
            self._tried.pop(message.id, None)
            self._gone.append((message.id,))

    def commit(self) -> None:
        """Write this turn's changes in one transaction; what is new is synced to the disk."""
        if not (self._new or self._tried or self._gone):
            return
        new = [(m.id, m.queue, m.head, m.body, m.expires, m.tries) for m in self._new.values()]
        tried = [(m.tries, m.id) for m in self._tried.values()]
        self._db.execute(f"PRAGMA synchronous={'FULL' if new else 'NORMAL'}")
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)", new)
        self._db.executemany("UPDATE message SET tries = ? WHERE id = ?", tried)
        self._db.executemany("DELETE FROM message WHERE id = ?", self._gone)
        self._db.execute("COMMIT")
        for done in (self._new, self._tried, self._gone):
            done.clear()

    def close(self) -> None:
        """Write what is left and close the file."""
        self.commit()
        self._db.close()
