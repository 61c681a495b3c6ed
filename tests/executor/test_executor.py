"""`mcshell.Executor`: what concurrent.futures promises, over nodes that serve a pool."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from concurrent.futures import CancelledError, as_completed, wait
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

import mcshell
from mcshell import Executor, ForkedClient, TaskError
from mcshell.errors import ExecutorClosed, InputError, UsageError
from mcshell.message import State
from tests.executor.conftest import workers
from tests.executor.trials import kernel_killed, marks, workers_killed
from tests.peers.processes import no_threads, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def client(fleet: Fleet, session: str) -> Iterator[Client]:
    """One whose session nobody else has."""
    with fleet.client(session=session) as opened:
        yield opened


@pytest.fixture
def pool(client: Client) -> Iterator[Executor]:
    """An executor over two workers."""
    with Executor("marks", client) as opened:
        yield opened


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file in which each run leaves a line."""
    return tmp_path / "marks"


def test_each_future_has_the_result_of_its_own_task(pool, mark):
    """Results are the outputs, each that of its future, in whatever order they come."""
    futures = [pool.submit("mark.again", file=str(mark), text=str(n)) for n in range(50)]
    texts = {one.result()["text"] for one in as_completed(futures, 60)}
    assert texts == set(map(str, range(50)))
    assert [one.result(60)["text"] for one in futures] == list(map(str, range(50)))
    assert not wait(futures, 1).not_done
    assert marks(mark) == Counter(one.requestid for one in futures)


def test_map_gives_results_in_the_order_of_its_rows(pool, mark):
    """Rows of inputs go in, results come out in their order; one wrong row and nothing is sent."""
    rows = [{"file": str(mark), "text": str(number)} for number in range(20)]
    assert [one["text"] for one in pool.map("mark.again", rows, timeout=timedelta(minutes=1))] == [
        str(number) for number in range(20)
    ]
    with pytest.raises(InputError):
        pool.map("mark.again", [*rows, {"fil": "x"}])
    assert len(pool.futures()) == 20


def test_map_ends_at_the_first_failure(pool):
    """What did not come out well is raised where its result would have come."""
    with pytest.raises(TaskError, match="as asked"):
        list(pool.map("mark.fail", [{}]))
    with pytest.raises(TimeoutError):
        list(pool.map("mark.nap", [{"sleep": 1.0}], timeout=0.01))


def test_a_reply_that_is_not_ok_is_an_exception_that_has_it(pool):
    """A failed task raises TaskError: state, request, and what the worker said, data and all."""
    future = pool.submit("mark.fail", text="no room")
    with pytest.raises(TaskError, match=r"mark\.fail on w[01]: failed: no room") as caught:
        future.result(30)
    error = caught.value
    assert (error.state, error.requestid, error.exit_code) == ("failed", future.requestid, 2)
    assert error.reply.data["pid"] > 0
    assert future.exception() is error


def test_a_task_that_is_denied_says_so_once(pool, fleet):
    """The node's words begin with it."""
    policy = fleet.folder / "policies" / "mark.policy"
    policy.write_text("policy default deny\n")

    def both(state: str) -> bool:
        asked = pool.client.rpc("mark", "fail", nodes=["w0", "w1"], timeout=60)
        return bool(asked.stats[state] == 2)

    try:
        assert wait_until(lambda: both("denied"), 60)  # each looks at its files once a second
        with pytest.raises(TaskError, match=r"mark\.fail on w[01]: denied by policy: ") as caught:
            pool.submit("mark.fail").result(30)
    finally:
        policy.unlink()
    assert caught.value.state == "denied"
    assert wait_until(lambda: both("failed"), 60)


def test_a_task_that_cannot_be_sent_is_no_fault_of_those_beside_it(pool, mark):
    """Of tasks that are committed together only that one fails, with what is wrong with it."""
    texts = ["one", "x" * 2**20, "two"]
    rows = [{"file": str(mark), "text": text} for text in texts]
    one, large, two = pool._tasks.submit("mark.again", rows)
    assert (one.result(60)["text"], two.result(60)["text"]) == ("one", "two")
    with pytest.raises(UsageError, match="nodes take 1048576"):
        large.result(60)


def test_a_pool_that_found_no_thread_takes_the_next_task(pool, mark):
    """Where this machine has no thread for it the task is refused, and what comes later is done."""
    with no_threads(), pytest.raises(RuntimeError, match="new thread"):
        pool.submit("mark.again", file=str(mark), text="none")
    assert pool.submit("mark.again", file=str(mark), text="one").result(60)["text"] == "one"
    assert sum(marks(mark).values()) == 1


def test_what_the_ddl_refuses_is_not_sent(pool):
    """An unknown agent, action or input is one clear line at once, and the session has nothing of it."""
    for task, inputs, said in [
        ("mark", {}, "an agent and its action are meant"),
        ("marc.again", {}, "did you mean mark"),
        ("mark.agian", {}, "did you mean again"),
        ("mark.again", {}, "file"),
        ("mark.again", {"file": 1}, "file"),
        (print, None, "a task is"),
        ("mark.again", "file", "a task is"),
    ]:
        with pytest.raises(UsageError, match=said):
            pool.submit(task, inputs)
    assert pool.futures() == []
    with pytest.raises(UsageError, match="no pool 'mark'"):
        Executor("mark", pool.client)
    with pytest.raises(UsageError, match="one of the two"):
        Executor("marks", pool.client, session="other")


def test_cancel_says_whether_it_will_run(idle, session, mark):
    """Cancelled is what never went out; what the broker has runs, and is not called cancelled."""
    with idle.client(session=session) as client:
        pool = Executor("marks", client)
        gone = pool.submit("mark.once", file=str(mark))
        assert pool.flush("30s")
        assert not gone.cancel()
        client._hub.outbox.stop()  # nothing goes out any more
        kept = pool.submit("mark.once", file=str(mark))
        assert pool._tasks._committed(30)
        assert kept.cancel()
        assert kept.cancel()
        with pytest.raises(CancelledError):
            kept.result()
        (entry,) = client.replies(kept.requestid).entries()
        assert (entry.state, entry.reason) == (State.SILENT, "not sent: cancelled")
        pool.shutdown(wait=False)
    with idle.client(session=session) as client:
        pool = Executor("marks", client)
        assert [one.cancelled() for one in pool.futures()] == [False, True]
        idle.start()
        assert pool.futures()[0].result(60)["pid"]
    assert marks(mark) == {gone.requestid: 1}


def test_shutdown_cancels_what_has_not_gone_out(idle, session):
    """cancel_futures resolves at once what never went out, with one commit for all of it."""
    with idle.client(session=session) as client:
        pool = Executor("marks", client)
        client._hub.outbox.stop()
        futures = [pool.submit("mark.nap", sleep=0.0) for _ in range(300)]
        pool.shutdown(cancel_futures=True)
        assert all(one.cancelled() for one in futures)
        with pytest.raises(ExecutorClosed):
            pool.submit("mark.nap", sleep=0.0)
        with pytest.raises(RuntimeError):
            pool.futures()


def test_a_task_that_nobody_takes_expires(idle, session):
    """After its ttl a future says `expired`, here and where it is looked at later."""
    with idle.client(session=session) as client, Executor("marks", client, ttl=0.5) as pool:
        error = pool.submit("mark.nap", sleep=0.0).exception(30)
        assert isinstance(error, TaskError)
        assert error.state == "expired"
        assert [one.exception(0).state for one in pool.futures()] == ["expired"]


def test_a_client_that_is_closed_leaves_no_future_open(idle, session):
    """What is still under way says so, and where its result will be."""
    with idle.client(session=session) as client:
        pool = Executor("marks", client)
        futures = [pool.submit("mark.nap", sleep=0.0) for _ in range(100)]
    for one in futures:
        with pytest.raises(TaskError, match=f"kept in session {session}") as caught:
            one.result(0)
        assert caught.value.state == "pending"
    with idle.client(session=session) as client:
        assert len(Executor("marks", client).futures()) == 100


def test_callbacks_that_raise_or_submit_hold_nobody_up(pool, mark):
    """An exception in a callback, even SystemExit, is logged, and others are resolved; one may submit."""
    more = []

    def bad(_future: object) -> None:
        raise SystemExit

    def good(_future: object) -> None:
        more.append(pool.submit("mark.again", file=str(mark), text="more"))

    futures = [pool.submit("mark.again", file=str(mark), text=str(n)) for n in range(10)]
    futures[0].add_done_callback(bad)
    futures[1].add_done_callback(good)
    assert not wait(futures, 60).not_done
    assert wait_until(lambda: len(more) == 1, 30)
    assert more[0].result(60)["text"] == "more"


def test_several_threads_submit_at_once(pool, mark):
    """Eight threads submit; nothing is lost, and nothing runs twice."""
    futures = []

    def submit(name: int) -> None:
        texts = [f"{name}-{number}" for number in range(25)]
        futures.extend(pool.submit("mark.again", file=str(mark), text=one) for one in texts)

    threads = [threading.Thread(target=submit, args=(name,)) for name in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = Counter(one.result(60)["text"] for one in futures)
    assert len(found) == len(futures) == 200
    assert sum(marks(mark).values()) == 200


def test_a_follower_of_the_session_has_the_results_too(fleet, session, client, mark):
    """A second process of the session, which does not hold its queue, submits and is resolved."""
    with fleet.client(session=session) as follower, Executor("marks", follower) as pool:
        assert not follower.session.holds
        rows = [{"file": str(mark), "text": str(number)} for number in range(20)]
        assert len(list(pool.map("mark.again", rows, timeout=60))) == 20
    assert len(Executor("marks", client).futures()) == 20


def test_a_child_of_fork_is_told_so(pool):
    """In a child neither submit nor an open future hangs: ForkedClient; the parent goes on."""
    slow = pool.submit("mark.nap", sleep=0.5)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for call in (lambda: pool.submit("mark.nap", sleep=0.0), slow.result, pool.futures):
                with pytest.raises(ForkedClient):
                    call()
            pool.shutdown()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert slow.result(60)["pid"]


def test_an_event_loop_may_use_it(pool, mark):
    """`run_in_executor` and `wrap_future` give awaitables."""

    async def ask() -> list[str]:
        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(pool, "mark.again", {"file": str(mark), "text": "1"})
        second = asyncio.wrap_future(pool.submit("mark.again", file=str(mark), text="2"))
        return [one["text"] for one in await asyncio.gather(first, second)]

    assert asyncio.run(ask()) == ["1", "2"]


def test_an_executor_that_nobody_has_ends_with_its_last_result(fleet, session, mark):
    """Dropped without a shutdown its futures are resolved, and its threads end."""
    with fleet.client(session=session) as client:
        future = Executor("marks", client).submit("mark.again", file=str(mark))
        assert future.result(60)["pid"]
        threads = future._tasks._threads
        assert wait_until(lambda: not any(one.is_alive() for one in threads), 30)


def test_it_opens_and_closes_a_client_of_its_own(fleet, session, mark, monkeypatch):
    """With a session's name it connects by itself, and the session is free after it."""
    monkeypatch.setenv("MCSHELL_CONFIG", str(fleet.config))
    with Executor("marks", session=session) as pool:
        assert pool.client.session.name == session
        future = pool.submit("mark.again", file=str(mark))
    assert future.done()
    assert pool.client.closed
    with Executor("marks", session=session, ttl="1h") as pool:
        assert [one.result(0) for one in pool.futures()] == [future.result()]
    with pytest.raises(UsageError, match="no pool"):
        Executor("nobodys", session=session)
    assert mcshell.Executor is Executor


def test_a_killed_kernels_results_are_had_from_another(fleet, session, mark):
    """A kernel dies -9 in the middle; the next one of its session has all results, none twice."""
    print(kernel_killed(fleet, session, 90, mark))


@pytest.mark.parametrize(
    "kind",
    [
        "embedded",
        pytest.param("activemq", marks=[pytest.mark.activemq, pytest.mark.soak]),
        pytest.param("rabbitmq", marks=[pytest.mark.rabbitmq, pytest.mark.soak]),
    ],
)
def test_killed_workers_leave_no_future_open(kind, request, tmp_path, session, mark):
    """Two of three workers die -9: what is safe to run twice is done, the rest at most once."""
    with workers(request.getfixturevalue(kind), tmp_path, 3) as fleet:
        fleet.start()
        print(kind, workers_killed(fleet, session, 120, mark))
