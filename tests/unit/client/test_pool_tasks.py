"""Tasks of pools in the session's file: listed in their order, and withdrawn before anything goes out."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.client.store.pool_tasks import CANCELLED
from mcshell.client.store.records import NewRequest, OutgoingMessage, RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.message import Filter, State, Via


def task(number: int, pool: str = "p") -> NewRequest:
    """A request to a pool, and the bytes that are to go out."""
    now = time.time()
    record = RequestRecord(
        id=f"{number:032x}",
        agent="mark",
        action="once",
        via=Via.POOL,
        collective="mcs",
        created=now,
        expires=now + 60,
        filter=Filter(),
        data={"number": number},
        pool=pool,
    )
    message = OutgoingMessage(
        request=record.id,
        sender=f"pool:{pool}",
        destination="/queue/q",
        body=b"{}",
        signature="s",
        certificate="c",
        expires=record.expires,
    )
    return NewRequest(record, [message.sender], [message])


@pytest.fixture
def store(tmp_path):
    """An empty session file."""
    opened = SessionStore(tmp_path / "s.sqlite")
    yield opened
    opened.close()


def test_tasks_are_listed_in_their_order_by_pool(store):
    """Each pool has its own, more than one reading takes, in the order in which they were asked."""
    store.add_all([task(number, "pq"[number % 2]) for number in range(1300)])
    found = [(record.data["number"], entry.state) for record, entry in store.pool_tasks.kept("q")]
    assert found == [(number, State.PENDING) for number in range(1, 1300, 2)]


@settings(max_examples=30)
@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_a_task_is_begun_or_withdrawn_never_both(tmp_path_factory, begun, withdrawn):
    """What was begun first is not withdrawn, what was withdrawn first is never sent, and counts agree."""
    store = SessionStore(tmp_path_factory.mktemp("s") / "s.sqlite")
    try:
        tasks = [task(number) for number in range(10)]
        store.add_all(tasks)
        now = time.time()
        sent = store.begin([tasks[one].outgoing[0] for one in begun], now, since=now)
        gone = store.pool_tasks.withdraw([tasks[one].record.id for one in withdrawn])
        assert gone.keys() == {tasks[one].record.id for one in withdrawn - begun}
        assert {(one.state, one.reason) for one in gone.values()} <= {(State.SILENT, CANCELLED)}
        open_now = {one.request for one in store.unconfirmed(100, now)}
        assert open_now == {one.record.id for one in tasks} - gone.keys()
        again = store.begin([one.outgoing[0] for one in tasks], now + 1, since=now + 1)
        assert {one.request for one in again} == open_now
        assert len(sent) == len(begun)
        states = [entry.state for _record, entry in store.pool_tasks.kept("p")]
        ((_record, counts), *_rest) = store.requests()
        assert sum(counts.values()) == 1
        assert states.count(State.SILENT) == len(gone)
    finally:
        store.close()
