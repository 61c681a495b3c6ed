"""A session file looked back into, without a broker, a configuration or a certificate.

For notebooks of what was: nothing is sent, and the file stays as it is.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell import table
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.origin import origin_of
from mcshell.client.rpc.replies import Replies
from mcshell.client.session.raw_rows import refuse_misfits, snapshot
from mcshell.client.session.seal import file_digest
from mcshell.client.store.store import SessionStore
from mcshell.errors import SessionError

if TYPE_CHECKING:
    import os

    import pandas as pd

__all__ = ["StoredSession", "stored"]


class StoredSession:
    """The requests and replies of a session file, as they stood when it was opened."""

    def __init__(self, name: str, store: SessionStore) -> None:
        self.name = name
        self._store = store

    def __repr__(self) -> str:
        return f"<StoredSession {self.name}>"

    def requests(self) -> pd.DataFrame:
        """What was asked, oldest first: one row a request, with the number of targets in each state."""
        found = self._store.requests()
        states = sorted({state for _, counts in found for state in counts})
        records = [record for record, _ in found]
        columns: dict[str, tuple[Any, list[Any]]] = {
            "requestid": ("string", [one.id for one in records]),
            "agent": ("string", [one.agent for one in records]),
            "action": ("string", [one.action for one in records]),
            "created": (table.TIME, [one.created for one in records]),
            "origin": ("string", [origin_of(one.options) or None for one in records]),
        }
        for state in states:
            columns[state] = ("Int64", [counts.get(state, 0) for _, counts in found])
        return table.frame(columns)

    def replies(self, request: str) -> Replies:
        """What came of a request (its id, or how that begins), as `Client.replies` gives it.

        Raises:
            SessionError: there is no such request, or several.
        """
        record = self._store.find_request(request)
        if record is None:
            raise SessionError(f"no request {request!r} in {self.name}", self.name)
        tracker = RequestTracker(record, entries=self._store.entries(record.id, whole=True))
        tracker.finish()
        return Replies(tracker, None, client=self)


def stored(path: str | os.PathLike[str], *, sha256: str | None = None) -> StoredSession:
    """Open a session file for looking back; `sha256` (hex) is what its bytes must come to.

    Raises:
        SessionError: there is no such session file, or its bytes are others.
    """
    source = Path(path)
    if not source.is_file():
        raise SessionError(f"{source}: no such file", source.stem)
    folder = Path(tempfile.mkdtemp(prefix="mcshell-stored-"))  # gone with the session's value
    with ExitStack() as unless_open:
        unless_open.callback(shutil.rmtree, folder)
        copy = folder / source.name
        snapshot(source, copy)
        if sha256 is not None and (found := file_digest(copy)) != sha256:
            raise SessionError(
                f"{source} is not the file that was meant: its SHA-256 is {found}, not {sha256}",
                source.stem,
            )
        refuse_misfits(copy)
        store = SessionStore(copy)
        unless_open.callback(store.close)
        store.lapse(time.time())
        session = StoredSession(source.name, store)
        weakref.finalize(session, unless_open.pop_all().close)
        return session
