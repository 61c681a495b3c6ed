"""The broker's disk: persistent messages in SQLite, written once a turn of the event loop.

`synchronous=FULL`: a RECEIPT means that the message survives a power cut, as with ActiveMQ. What
only deletes or marks is written with NORMAL: losing that in a power cut means a delivery more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcshell.private import private_folder
from mcshell.sqlite import Database, FileKind
from mcshell.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MESSAGES", "MessageStore", "StoredMessage"]

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL,
    expires REAL NOT NULL, tries INTEGER NOT NULL
);
"""
_ROW: Final = "INTO message (id, queue, head, body, expires, tries) VALUES (?, ?, ?, ?, ?, ?)"

MESSAGES: Final = FileKind(
    name="file of a broker's messages",
    versions={1: _TABLES},
    former="broker.sqlite",
    take_over={"message": f"INSERT OR IGNORE {_ROW}"},
    # A second broker on it is refused at once.
    pragmas=("locking_mode=EXCLUSIVE",),
    timeout=0.0,
)


@dataclass(slots=True, kw_only=True)
class StoredMessage:
    """A message of a queue. `head` is its MESSAGE head in STOMP 1.2, `expires` 0 for never."""

    id: int
    queue: str
    head: bytes
    body: bytes
    expires: float
    tries: int = 0
    persistent: bool = True

    @property
    def size(self) -> int:
        """What it costs in memory, in bytes, roughly."""
        return 512 + len(self.head) + len(self.body)


class MessageStore:
    """The persistent messages; `held` counts the bytes of all, persistent or not."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(private_folder(directory) / "messages.sqlite", MESSAGES)
        self.held = 0
        self._new: dict[int, StoredMessage] = {}
        self._tried: dict[int, StoredMessage] = {}
        self._gone: list[tuple[int]] = []

    def load(self) -> list[StoredMessage]:
        """Read what an earlier run left, oldest first."""
        query = "SELECT id, queue, head, body, expires, tries FROM message ORDER BY id"
        messages = [StoredMessage(**row) for row in self._database.read(query)]
        self.held = sum(message.size for message in messages)
        return messages

    def put(self, message: StoredMessage) -> None:
        """Keep a message: in memory, and if it is persistent on disk from the next commit on."""
        self.held += message.size
        if message.persistent:
            self._new[message.id] = message

    def tried(self, message: StoredMessage) -> None:
        """Note a delivery, so that one after a crash of the broker is marked redelivered."""
        if message.persistent and message.id not in self._new:
            self._tried[message.id] = message

    def delete(self, message: StoredMessage) -> None:
        """Forget a message that was acknowledged or is too old."""
        self.held -= message.size
        if message.persistent and self._new.pop(message.id, None) is None:
            self._tried.pop(message.id, None)
            self._gone.append((message.id,))

    def commit(self) -> None:
        """Write this turn's changes in one transaction; what is new is synced to the disk."""
        if not (self._new or self._tried or self._gone):
            return
        new = [(m.id, m.queue, m.head, m.body, m.expires, m.tries) for m in self._new.values()]
        tried = [(m.tries, m.id) for m in self._tried.values()]
        with self._database.transaction(durable=bool(new)) as db:
            db.executemany(f"INSERT {_ROW}", new)
            db.executemany("UPDATE message SET tries = ? WHERE id = ?", tried)
            db.executemany("DELETE FROM message WHERE id = ?", self._gone)
        for done in (self._new, self._tried, self._gone):
            done.clear()

    def close(self) -> None:
        """Write what is left and close the file."""
        self.commit()
        self._database.close()
