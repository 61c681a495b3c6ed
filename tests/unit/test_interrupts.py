"""Ctrl-C, as SIGINT to this very process: where it is raised, and where it is kept for later."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import pytest

from mcshell import interrupts
from mcshell.errors import MCShellError, Stopped


@pytest.fixture(autouse=True)
def own_handler():
    """Python's own handler before and after."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    interrupts.release()
    signal.signal(signal.SIGINT, before)


def ctrl_c():
    """What the terminal's Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def goes_on(done, times=1):
    """Ctrl-C, then something, then a wait."""
    for _ in range(times):
        ctrl_c()
    done.append("to its end")
    interrupts.sleep(60)


def test_it_comes_where_a_call_waits():
    """What is done between two waits is done; the next wait is not entered."""
    done = []
    with pytest.raises(Stopped), interrupts.call():
        goes_on(done)
    assert done == ["to its end"]


def test_it_comes_in_the_middle_of_a_wait():
    """A wait that is under way ends with it, be it for a condition or an event."""
    never = interrupts.InterruptibleCondition()
    for wait in (
        lambda: interrupts.sleep(60),
        lambda: interrupts.wait(threading.Event(), 60),
        lambda: wait_for(never),
    ):
        threading.Timer(0.2, lambda: signal.pthread_kill(MAIN, signal.SIGINT)).start()
        with pytest.raises(Stopped), interrupts.call():
            wait()


def test_one_that_the_system_gives_to_another_thread_ends_a_wait_too():
    """As it does while the main thread has a signal to handle, and after SIGSTOP."""
    never = interrupts.InterruptibleCondition()
    resting = threading.Event()
    other = threading.Thread(target=resting.wait, daemon=True)
    other.start()
    try:
        for wait in (
            lambda: interrupts.wait(threading.Event(), 200),
            lambda: interrupts.take(SimpleQueue(), 200),
            lambda: interrupts.take(SimpleQueue()),
            lambda: wait_for(never),
        ):
            threading.Timer(0.2, lambda: signal.pthread_kill(other.ident, signal.SIGINT)).start()
            with pytest.raises(Stopped), interrupts.call():
                wait()
    finally:
        resting.set()


def test_what_comes_in_a_queue_is_taken_and_what_does_not_come_is_waited_for():
    """Before its time nobody says that there is nothing."""
    queue = SimpleQueue()
    threading.Timer(1.2, lambda: queue.put("late")).start()
    assert interrupts.take(queue, 60) == "late"
    began = time.monotonic()
    with pytest.raises(Empty):
        interrupts.take(queue, 1.1)
    assert time.monotonic() - began >= 1.1
    with pytest.raises(Empty):
        interrupts.take(queue, 0)


MAIN = threading.main_thread().ident


def wait_for(condition):
    """Wait for what never is."""
    with condition:
        condition.wait_for(lambda: False, 60)


def test_it_comes_at_the_end_of_a_call_that_does_not_wait():
    """It is not lost: what was asked is complete, and the program stops all the same."""
    with pytest.raises(Stopped), interrupts.call():
        ctrl_c()
    with interrupts.call():
        interrupts.check()


def test_a_second_one_comes_at_once():
    """Whoever is in earnest need not wait for what is done meanwhile."""
    done = []
    with pytest.raises(Stopped), interrupts.call():
        goes_on(done, times=2)
    assert done == []


def test_outside_of_a_call_it_is_as_ever():
    """Between two calls, Python raises what it always does."""
    interrupts.heed()
    with pytest.raises(KeyboardInterrupt) as caught:
        ctrl_c()
    assert type(caught.value) is KeyboardInterrupt


def test_a_callback_may_call():
    """A call within a callback of another is one of its own: nothing in it is cut short."""
    done = []
    with pytest.raises(Stopped), interrupts.call(), interrupts.pause(), interrupts.call():
        goes_on(done)
    assert done == ["to its end"]


def test_a_handler_of_the_program_is_left_alone():
    """Who hears SIGINT himself goes on hearing it, and no call is stopped."""
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    with interrupts.call():
        ctrl_c()
        interrupts.sleep(0)
    assert heard == [1]


def test_threads_stop_until_the_main_one_asks():
    """Their waits end, and they begin nothing; an end they come to all the same."""
    interrupts.heed()

    def work():
        with interrupts.call():
            interrupts.wait(threading.Event(), 60)

    def end():
        with interrupts.call(asks=False):
            return "closed"

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(work)
        while not waiting.running():
            time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()
        assert isinstance(waiting.exception(20), Stopped)
        assert isinstance(pool.submit(work).exception(20), Stopped)
        assert pool.submit(end).result(20) == "closed"
        with interrupts.call():
            pass
        assert pool.submit(interrupts.sleep, 0).exception(20) is None


def test_stopped_is_no_error_of_the_tree():
    """What handles errors does not handle it; it says what had come."""
    assert issubclass(Stopped, KeyboardInterrupt)
    assert not issubclass(Stopped, MCShellError)
    assert (str(Stopped()), Stopped().replies) == ("stopped", None)
    assert str(Stopped("<Replies>")) == "stopped: '<Replies>'"


@pytest.fixture
def ends():
    """SIGTERM is taken as a command line takes it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupts.heed_ends()
    yield
    interrupts._main.ended_by, interrupts._main.ended_at = 0, 0.0
    signal.signal(signal.SIGTERM, before)


def test_one_end_that_is_told_twice_is_one(ends):
    """`timeout` signals its child and then its group: the second breaks nothing off that the first does not."""
    done = []

    def goes_on():
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        done.append("to its end")
        interrupts.sleep(60)

    with pytest.raises(Stopped), interrupts.call():
        goes_on()
    assert done == ["to its end"]
    assert interrupts.ended_by() == signal.SIGTERM


def test_what_nobody_hears_ends_nothing():
    """Under `nohup` a terminal that closes is not heard: the command goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupts.heed_ends()
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
