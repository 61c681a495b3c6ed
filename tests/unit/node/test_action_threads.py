"""The threads that read what comes in and run what it asks for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mcshell.node.execution.threads import ActionThreads, Task
from mcshell.node.journal import Journal
from mcshell.node.verdicts import Admitted
from tests.peers.processes import no_threads, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.message import Request, State
    from mcshell.node.verdicts import Outcome

PATIENCE = 60.0
SLOTS = 3


@dataclass
class Said:
    """What was said about requests (a `ReplySink`)."""

    finals: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def working(self, request: Request, state: State) -> None:
        """It takes long."""

    def final(self, request: Request, outcome: Outcome) -> None:
        """It is done."""
        self.finals.put(request.id)


def task(name: str, work: Callable[[], None], said: Said) -> Task:
    """An action that does `work`."""

    def act(_call: Any) -> dict[str, Any]:
        work()
        return {}

    request: Any = SimpleNamespace(id=name, caller="cert=alice", agent="a", action="act", data={})
    agent: Any = SimpleNamespace(agent=SimpleNamespace(act=act))
    action: Any = SimpleNamespace(name="act")
    host: Any = SimpleNamespace(journal=Journal())
    admitted = Admitted(request, agent, action)
    return Task(admitted=admitted, host=host, reply_sink=said, timeout=PATIENCE)


def test_a_request_that_comes_alone_is_read_and_run_by_one_thread() -> None:
    """Whoever has read a message runs what it brings: nobody waits for another to wake up."""
    said, names = Said(), []

    def note() -> None:
        names.append(threading.get_ident())

    def handle(message: str) -> None:
        note()
        threads.put(task(message, note, said))

    threads = ActionThreads(SLOTS, handle=handle)
    threads.read()
    for number in range(5):
        threads.hand(str(number))
        assert said.finals.get(timeout=PATIENCE) == str(number)
    threads.stop()
    assert names[::2] == names[1::2]


def test_a_message_never_waits_for_an_action() -> None:
    """With every slot at an action that does not end, messages are read all the same, in order."""
    said, read, go = Said(), SimpleQueue[str](), threading.Event()

    def handle(message: str) -> None:
        read.put(message)
        threads.put(task(message, go.wait, said))

    threads = ActionThreads(SLOTS, handle=handle)
    for number in range(SLOTS + 2):
        threads.hand(str(number))
    assert read.empty(), "nothing is read before it is to begin"
    threads.read()
    for number in range(SLOTS + 2):
        assert read.get(timeout=PATIENCE) == str(number)
    threads.hand("last")
    assert read.get(timeout=PATIENCE) == "last"
    assert len(threads._running) == SLOTS
    go.set()
    assert {said.finals.get(timeout=PATIENCE) for _ in range(SLOTS + 3)} >= {"0", "last"}
    threads.stop()


def test_what_is_handed_over_after_the_end_is_not_read() -> None:
    """Once stopped, the threads handle no message more, and the one at hand is ended first."""
    read, begun, go = [], threading.Event(), threading.Event()

    def handle(message: str) -> None:
        begun.set()
        go.wait(PATIENCE)
        read.append(message)

    threads = ActionThreads(SLOTS, handle=handle)
    threads.read()
    threads.hand("one")
    threads.hand("two")
    assert begun.wait(PATIENCE)
    threading.Timer(0.1, go.set).start()
    threads.stop(PATIENCE)
    threads.hand("three")
    assert read == ["one"]


def test_what_is_left_to_the_thread_that_reads_is_not_left_alone() -> None:
    """Who handles a message and waits for room sets others to work on all that it has put."""
    said, go = Said(), threading.Event()

    def handle(message: str) -> None:
        threads.put(task(message, go.set, said))
        while not go.is_set():
            threads.wait_room()

    threads = ActionThreads(1, spare=2, handle=handle)
    threads.read()
    threads.hand("one")
    assert said.finals.get(timeout=PATIENCE) == "one"
    threads.stop()


def test_what_comes_while_no_thread_can_begin_is_done_once_one_can() -> None:
    """However many messages and actions found none, they and the next are done, and time out in time."""
    said = Said()
    threads = ActionThreads(SLOTS, handle=lambda name: threads.put(task(name, int, said)))
    threads.read()
    with no_threads():
        for number in range(3 * SLOTS):
            threads.hand(f"message {number}")
            threads.put(task(f"action {number}", int, said))
        assert said.finals.empty()
        assert threads.load.threads == 0
    threads.hand("next")
    wanted = {f"{kind} {number}" for kind in ("message", "action") for number in range(3 * SLOTS)}
    assert {said.finals.get(timeout=PATIENCE) for _ in range(6 * SLOTS + 1)} == {*wanted, "next"}
    assert threads._watcher is not None, "nothing would end in time"
    threads.stop()


def test_threads_that_are_there_try_again_for_those_that_could_not_begin() -> None:
    """Nothing more has to come: what waited for a thread has one as soon as there is one."""
    said, go = Said(), threading.Event()
    threads = ActionThreads(SLOTS)
    threads.put(task("first", go.wait, said))
    assert wait_until(lambda: threads.load.running == 1, PATIENCE)
    with no_threads():
        threads.put(task("second", int, said))
        assert threads.load.threads == 1
    assert said.finals.get(timeout=PATIENCE) == "second"
    go.set()
    threads.stop()
