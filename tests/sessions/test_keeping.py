"""What cannot be kept is not acknowledged: a disk that is full for a while loses nothing."""

from __future__ import annotations

import sqlite3

from mcshell.client.store import Store
from tests.peers.processes import wait_until

from .conftest import NAMES


def test_replies_that_cannot_be_kept_come_again(fleet, state, monkeypatch):
    """The file refuses two commits; the broker delivers those replies again, each ends up once."""
    enter = Store.enter
    failures = []

    def refusing(self, words, **more):
        if len(failures) < 2:
            failures.append(len(words))
            raise sqlite3.OperationalError("database or disk is full")
        return enter(self, words, **more)

    monkeypatch.setattr(Store, "enter", refusing)
    with fleet.client(state=state) as client:
        replies = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, wait=False)
        assert wait_until(lambda: replies.stats["ok"] == len(NAMES), 30)
        assert len(failures) == 2
        assert replies.stats["duplicate"] == 0
