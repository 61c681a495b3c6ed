"""What other processes decide of a request, as a process that has only read its ledger hears of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mcshell.client.messaging.others import OthersRequests
from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.store.store import SessionStore
from mcshell.message import State, Via
from tests.unit.client.session_files import asked, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def spent(work: Callable[[], object]) -> float:
    """The processor time that some work takes at best, in seconds."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def test_of_fifty_thousand_targets_only_what_has_changed_is_read(tmp_path: Path) -> None:
    """To look costs next to nothing while nothing changes, and little where few of them have."""
    names = [f"node{n:05}" for n in range(50_000)]
    store, theirs = (SessionStore(tmp_path / "s.sqlite") for _ in range(2))
    record = asked(via=Via.DIRECT, expires=time.time() + 1e6)
    store.add(record, names)
    whole = spent(lambda: store.entries(record.id))
    tracker = RequestTracker(record, entries=store.entries(record.id))
    others = OthersRequests(store, threading.RLock())
    others.take_up(tracker)
    others.stop()
    assert spent(lambda: others.look(tracker)) < whole / 50

    theirs.enter([said(record, names[0])], durable=False)
    some = [names[1:10], names[10:20], names[20:30]]

    def look() -> None:
        theirs.judge(record.id, [(name, "gone") for name in some.pop(0)], State.SILENT)
        others.look(tracker)

    assert spent(look) < whole / 2
    entries = tracker.entries()
    assert entries[0].state is State.OK
    assert entries[0].reply.data == said(record, names[0]).reply.data
    assert [one.reason for one in entries[1:30]] == ["gone"] * 29
    assert {one.state for one in entries[30:]} == {State.PENDING}
    theirs.judge(record.id, [(name, "gone") for name in names[30:]], State.SILENT)
    others.look(tracker)
    assert tracker.finished
    store.close()
    theirs.close()
