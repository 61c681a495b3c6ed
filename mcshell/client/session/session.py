"""Which session this process has: its file, its lock and its reply queue (mcshell/README.md §8).

A process without a named session takes the first `scratch-N` of the state directory that no live
process holds, and reuses its queue, so that queues do not pile up on the broker. One process holds
a session's queue; others that open the same file follow it.

The `address` is what nodes answer to. It is the name of a session that was made by name; a
scratch session has one of its own, so that two machines never share a queue unawares, and keeps it
when it is saved under a name. An address serves one session: on one machine no second one is made
for it, over machines `takeover` knows them apart by their `origins`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import socket
import sqlite3
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from mcshell.client.session.folder import folder_of
from mcshell.client.store.bodies import BESIDE
from mcshell.client.store.store import SessionStore
from mcshell.errors import MachineError, SessionError
from mcshell.private import is_locked, lock_file, private_folder
from mcshell.values import dataclass
from mcshell.wire import destinations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from mcshell.client.store.records import RequestRecord
    from mcshell.private import FileLock

__all__ = [
    "Session",
    "SessionInfo",
    "check_name",
    "delete",
    "listing",
    "nothing_asked",
    "origins_of",
    "refuse_taken",
    "remove",
    "stores",
]

log = logging.getLogger(__name__)

_SCRATCH = "scratch-"
_PATIENCE = 5.0
"""Seconds for which a file that is to go is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session file as `session list` shows it; times are seconds since the epoch."""

    name: str
    address: str
    caller: str
    collective: str
    requests: int
    replies: int
    open: int
    holder: str
    newest: float | None
    strays: int


class Session:
    """An open session: `name`, `address`, `store`, and whether this process `holds` its queue."""

    def __init__(
        self,
        path: Path,
        lock: FileLock | None,
        caller: str,
        collective: str,
        saved: Callable[[], None] = lambda: None,
        *,
        patient: bool = False,
    ) -> None:
        self.path = path
        self.collective = collective
        #: Who we are to the other processes of this caller: host, pid, and a word of chance.
        self.me = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self._saved = saved
        self._lock = lock
        with ExitStack() as unless_open:
            if lock is not None:
                unless_open.callback(lock.close)
                if not path.exists():  # what found no room is not there, and its name is free
                    unless_open.callback(delete, path)
            self.store = SessionStore(path, patient=patient)
            unless_open.callback(self.store.close)
            self._be_of(caller, collective)
            self.address = self.store.meta("address") or path.stem
            #: Who held the queue last without letting go of it: they may still do.
            self.left_by = self.store.meta("holder") or ""
            if lock is not None:
                self.store.set_meta("holder", self.me)
            unless_open.pop_all()

    def _be_of(self, caller: str, collective: str) -> None:
        name = self.path.stem
        if self.store.meta("caller") is None:
            self._found(caller, collective)
        owner = self.store.meta("caller")
        if owner != caller:
            raise SessionError(f"session {name!r} belongs to {owner}, not to {caller}", name)
        if (theirs := self.store.meta("collective")) != collective:
            raise SessionError(
                f"session {name!r} is of collective {theirs}, not {collective}", name
            )

    def queues(self, collectives: Iterable[str]) -> list[str]:
        """Where the replies to what is asked in these come in: a queue in each."""
        caller = self.store.meta("caller") or ""
        return [destinations.reply(one, caller, self.address) for one in collectives]

    @property
    def holder(self) -> str:
        """Who holds the queue, in words."""
        return holder_in_words(self.store.meta("holder") or "")

    def __repr__(self) -> str:
        return f"<Session {self.name}, {'held' if self.holds else 'followed'}>"

    def _found(self, caller: str, collective: str) -> None:
        """Write into a new file whose it is: caller, collective and address."""
        name = self.path.stem
        address = f"{name}-{secrets.token_hex(3)}" if name.startswith(_SCRATCH) else name
        about = {"caller": caller, "collective": collective, "address": address}
        self.store.found({**about, "origins": secrets.token_hex(8)})

    @classmethod
    def open(
        cls,
        state_dir: Path,
        caller: str,
        collective: str,
        name: str | None,
        saved: Callable[[], None] = lambda: None,
    ) -> Session:
        """Open the named session, or the first free scratch one.

        A named session that another process of this machine holds is opened without its queue.
        `saved` is called when it has been given a name: other machines may have it from then on.

        Raises:
            SessionError: it belongs to another caller or collective, or is no session file; or it
                is new, and another session has its address.
        """
        folder = private_folder(folder_of(state_dir))
        if name is not None:
            destinations.check_word("session", name)
            if not name.startswith(_SCRATCH) and not (folder / f"{name}.sqlite").exists():
                refuse_taken(state_dir, name, caller, collective, name)
            lock = lock_file(folder / f"{name}.lock")
            return cls(folder / f"{name}.sqlite", lock, caller, collective, saved)
        return cls._scratch(folder, caller, collective, saved)

    @classmethod
    def _scratch(
        cls, folder: Path, caller: str, collective: str, saved: Callable[[], None]
    ) -> Session:
        number = 0
        while True:
            number += 1
            lock = lock_file(folder / f"{_SCRATCH}{number}.lock")
            if lock is None:
                continue
            path = folder / f"{_SCRATCH}{number}.sqlite"
            there = path.exists()
            try:
                return cls(path, lock, caller, collective, saved)
            except SessionError:
                # Another caller's, collective's or version's scratch session is no use to this one.
                if not there:
                    raise

    @property
    def name(self) -> str:
        """The session's name."""
        return self.path.stem

    @property
    def named(self) -> bool:
        """Whether it was given a name, under which other machines may have it too."""
        return not self.name.startswith(_SCRATCH)

    @property
    def origins(self) -> tuple[str, ...]:
        """Which sessions this one is made of: its own mark first, then of those merged into it."""
        return origins_of(self.store)

    @property
    def asked(self) -> bool:
        """Whether anything was asked in it."""
        return self.store.find_request() is not None

    @property
    def is_new(self) -> bool:
        """Whether it was never taken up, and nothing says that its address is no other session's."""
        return self.address == self.name and self.store.meta("epoch") is None and not self.asked

    @property
    def holds(self) -> bool:
        """Whether this process holds the session's queue."""
        return self._lock is not None

    def acquire(self) -> bool:
        """Take hold of the queue if its holder is gone; whether this process holds it now.

        Raises:
            MachineError: the disk takes nothing; nor could replies be kept there.
        """
        if self._lock is None:
            lock = lock_file(self.path.with_suffix(".lock"))
            if lock is not None:
                try:
                    self.store.set_meta("holder", self.me)
                except MachineError:
                    lock.close()
                    raise
            self._lock = lock
        return self._lock is not None

    def yield_to(self, other: str) -> None:
        """Give up the queue to another machine, but keep the file open."""
        if self._lock is not None:
            self._note_holder(other)
            self._lock.close()
            self._lock = None

    def _note_holder(self, holder: str) -> None:
        """Write down who has the queue, for others to read: what is so is so on a full disk too."""
        try:
            self.store.set_meta("holder", holder)
        except MachineError as error:
            log.warning("session %s: %s", self.name, error)

    def save(self, name: str) -> None:
        """Give the session a name, under which it is found again and kept.

        Raises:
            SessionError: the name is taken, this process does not hold the session, or another one
                has its file open.
        """
        check_name(name)
        if self._lock is None:
            raise SessionError(f"session {self.name!r} is held by {self.holder}", self.name)
        target = self.path.with_name(f"{name}.sqlite")
        lock = lock_file(target.with_suffix(".lock"))
        if lock is None or target.exists():
            raise SessionError(f"there is a session {name!r} already", name)
        try:
            self.store.move(target)
        except MachineError as error:
            lock.close()
            raise SessionError(str(error), self.name) from error
        self._lock.close()
        self.path, self._lock = target, lock
        self._saved()

    def close(self) -> None:
        """Close the file and let the next process have the session."""
        if self._lock is not None:
            self._note_holder("")
        self.store.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def check_name(name: str) -> None:
    """Refuse what is no name for a session to be kept under; raises SessionError, UsageError."""
    destinations.check_word("session", name)
    if name.startswith(_SCRATCH):
        raise SessionError(
            f"session {name!r}: names that begin so are mcshell's own: give it another (session save, or "
            "session import --session)",
            name,
        )


def listing(state_dir: Path) -> Iterator[SessionInfo]:
    """Describe every session file of the state directory, by name; changes and locks none."""
    for store in stores(state_dir):
        held = is_locked(store.path.with_suffix(".lock"))
        yield _info(store.path, store, time.time(), held=held)


def nothing_asked(session: Session, state_dir: Path) -> str:
    """What there is to say of a session without requests: where this caller has left some open.

    Whose kernel or shell has died finds himself in another session than the one that it worked in.
    """
    left = [
        info.name
        for info in listing(state_dir)
        if info.open and not info.holder and info.caller == session.store.meta("caller")
    ]
    said = f"nothing was asked yet in session {session.name}"
    return f"{said}; left open: {', '.join(left)} (session attach NAME)" if left else said


def holder_in_words(holder: str) -> str:
    """Whoever holds a session (`Session.me`), as an operator finds it: its process and machine."""
    host, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    return f"process {pid} on {host}" if pid else "another process"


def stores(state_dir: Path) -> Iterator[SessionStore]:
    """Each session file of the state directory, by name, open while it is looked at.

    What is no session file is named in the log: one that is broken takes no other with it. On a disk
    that takes nothing they are there to be read.
    """
    for path in sorted(folder_of(state_dir).glob("*.sqlite")):
        try:
            store = SessionStore(path, patient=True)
        except (SessionError, MachineError) as error:
            log.warning("%s", error)
            continue
        try:
            yield store
        finally:
            store.close()


def origins_of(store: SessionStore) -> tuple[str, ...]:
    """The marks by which a session is known apart from another of its address.

    What an earlier version made has none: all of one caller and address count as one session.
    """
    marks = (store.meta("origins") or "").split()
    about = "\n".join(store.meta(key) or "" for key in ("caller", "collective", "address"))
    return tuple(marks) or (hashlib.sha256(about.encode()).hexdigest()[:16],)


def refuse_taken(
    state_dir: Path, name: str, caller: str, collective: str, address: str, what: str = "attach it"
) -> None:
    """Refuse to make a session `name` where another here has the address that it would have.

    Raises:
        SessionError: `what` is to be done with the other one.
    """
    meant = (caller, collective, address)
    others = [
        store.path.stem
        for store in stores(state_dir)
        if tuple(store.meta(key) for key in ("caller", "collective", "address")) == meant
        and store.path.stem != name
    ]
    for other in others[:1]:
        raise SessionError(
            f"session {name!r}: nodes answer to session {other!r} under the address {address!r}: "
            f"{what.format(other)}, or take another name",
            name,
        )


def remove(state_dir: Path, name: str) -> None:
    """Delete a session's file.

    Raises:
        SessionError: a process holds it, or has it open: what it asks from now on would be lost.
    """
    path = folder_of(state_dir) / f"{name}.sqlite"
    lock = lock_file(path.with_suffix(".lock"))
    if lock is None:
        raise SessionError(f"session {name!r} is held by a process", name)
    if _is_open(path):
        lock.close()
        raise SessionError(f"session {name!r} is open in another process", name)
    delete(path)
    lock.close()


def delete(path: Path) -> None:
    """Delete a file whose lock is held, with all that is beside it."""
    for gone in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", BESIDE))):
        gone.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)


def _is_open(path: Path) -> bool:
    """Whether a process keeps a file open, for longer than to look at it; nothing is written."""
    deadline = time.monotonic() + _PATIENCE
    uri = f"{path.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=0.0)) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        while True:
            try:
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                if time.monotonic() > deadline:
                    return True
                time.sleep(0.01)
            else:
                return False


def _info(path: Path, store: SessionStore, now: float, *, held: bool) -> SessionInfo:
    history = store.requests()
    return SessionInfo(
        name=path.stem,
        address=store.meta("address") or path.stem,
        caller=store.meta("caller") or "",
        collective=store.meta("collective") or "",
        requests=len(history),
        replies=store.reply_count(),
        open=sum(_unfinished(record, counts, now) for record, counts in history),
        holder=(store.meta("holder") or "another process") if held else "",
        newest=history[-1][0].created if history else None,
        strays=store.strays.count(),
    )


def _unfinished(record: RequestRecord, counts: Mapping[str, int], now: float) -> int:
    """How many targets may still answer; what has expired unheard is over (`SessionStore.lapse`)."""
    over = record.via.durable and record.expires < now
    waiting = ("received", "running") if over else ("pending", "received", "running")
    return sum(counts.get(state, 0) for state in waiting)
