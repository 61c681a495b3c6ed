"""What must arrive is sent until the broker has it; what breaks the connection keeps nothing back."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import ConnectionLost, MCShellError
from mcshell.wire.stomp import confirmed
from mcshell.wire.stomp.confirmed import ConfirmedSender
from mcshell.wire.stomp.transport import PendingReceipt
from tests.peers.processes import wait_until
from tests.unit.wire.links import HeldTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class File(ConfirmedSender[str]):
    """Messages in a list. `breaks`: over which the connection ends, until somebody else comes."""

    def __init__(self, *messages: str) -> None:
        self.link = HeldTransport()
        super().__init__("test-outbox", self.link)
        self.doubted: list[float] = []
        self.messages = list(messages)
        self.breaks: set[str] = set()
        self.refused: set[str] = set()
        self.smaller: set[str] = set()
        self.asked: list[int] = []
        self.windows: list[list[str]] = []
        self.given: list[str] = []
        self.fault: Exception | None = None
        self.last_words = "the broker hung up"

    def unconfirmed(self, limit: int) -> Sequence[str]:
        """Hand out the first, or fail once."""
        self.asked.append(limit)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return self.messages[:limit]

    def send(self, message: str) -> PendingReceipt:
        """Give it to a broker that confirms at once, or hangs up."""
        if message in self.refused:
            raise ConnectionLost("it is down")
        receipt = PendingReceipt(message, message)
        self.given.append(message)
        receipt.resolve(self.last_words if message in self.breaks else "")
        return receipt

    def sent(self, messages: Sequence[str], at: float) -> None:
        """Note a window."""
        assert at > 1_700_000_000
        self.windows.append(list(messages))

    def confirmed(self, messages: Sequence[str]) -> None:
        """Drop what the broker has."""
        self.messages = [one for one in self.messages if one not in messages]

    def doubt(self, since: float) -> None:
        """Note from when on."""
        self.doubted.append(since)

    def replaced(self, message: str) -> bool:
        """Put another in its place, where there is one."""
        if message not in self.smaller:
            return super().replaced(message)
        self.messages[self.messages.index(message)] = f"{message} is too large"
        return True


def test_each_break_is_doubted_once() -> None:
    """From five seconds before it, and not those that were before this sender's time."""
    file = File()
    assert not file._send_window()
    assert file.doubted == []
    for broken_at in (1000.0, 1000.0, 1300.0):
        file.link.broken_at = broken_at
        assert not file._send_window()
    assert file.doubted == [995.0, 1295.0]


@pytest.fixture
def started() -> Iterator[Callable[[File], File]]:
    """Starts a sender's thread, and ends it."""
    running: list[File] = []

    def start(file: File) -> File:
        running.append(file)
        file.start()
        return file

    yield start
    for file in running:
        file.stop()
        assert not file._thread.is_alive()


def test_a_window_goes_out_whole_and_is_marked() -> None:
    """All of it is under way at once, in order, and what the broker has is not given again."""
    file = File("a", "b", "c")
    assert file._send_window()
    assert file.windows == [["a", "b", "c"]]
    assert file.messages == []
    assert not file._send_window()
    assert file.given == ["a", "b", "c"]


def test_what_is_confirmed_is_marked_also_when_the_rest_is_lost() -> None:
    """A connection that breaks in the middle, or cannot be had, costs only what it did not take."""
    file = File("a", "b", "c")
    file.breaks = {"b"}
    with pytest.raises(ConnectionLost, match="1 not confirmed: the broker hung up"):
        file._send_window()
    assert file.messages == ["b"]
    file = File("a", "b", "c")
    file.refused = {"b"}
    with pytest.raises(ConnectionLost, match="it is down"):
        file._send_window()
    assert (file.messages, file.windows) == (["b", "c"], [["a"]])


def test_after_a_break_messages_go_one_by_one_and_then_ever_more() -> None:
    """So that the one that breaks it is found; windows grow again to what they were, and no further."""
    file = File(*(f"m{number}" for number in range(1000)))
    file.breaks = {"m0", "m1"}
    with pytest.raises(ConnectionLost, match="2 not confirmed"):
        file._send_window()
    file.breaks = set()
    while file._send_window():
        pass
    assert [len(window) for window in file.windows] == [250, 1, 2, 4, 8, 16, 32, 64, 128, 250, 247]


def test_a_message_that_breaks_the_connection_keeps_back_no_other() -> None:
    """Alone three times it is set aside, the rest goes out; later it is tried again."""
    file = File("bad", "good")
    file.breaks = {"bad"}
    for _ in range(4):
        with pytest.raises(ConnectionLost):
            file._send_window()
    assert file.given == ["bad", "good", "bad", "bad", "bad"]
    file.messages.append("next")
    assert file._send_window()
    assert file.given[5:] == ["next"]
    assert file.messages == ["bad"]
    assert not file._send_window()
    assert file.asked[-1] == file._window + 1
    waits = []
    for _ in range(9):
        file._aside = dict.fromkeys(file._aside, 0.0)
        with pytest.raises(ConnectionLost):
            file._send_window()
        waits.append(round(file._aside["bad"] - time.monotonic()))
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    file._aside = dict.fromkeys(file._aside, 0.0)
    file.breaks = set()
    assert file._send_window()
    assert (file.messages, file._strikes) == ([], {})


def test_nothing_is_remembered_of_what_came_to_its_end_aside() -> None:
    """A message that nobody wants any more is let go, with what is in it."""
    file = File("bad")
    file.breaks = {"bad"}
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            file._send_window()
    assert set(file._strikes) == {"bad"}
    file.messages = []
    assert not file._send_window()
    assert file._strikes == {}


def test_the_thread_wakes_up_for_what_waits_aside() -> None:
    """When the first of them is to be tried again; at once where that is past, else for none."""
    file = File()
    assert file._until_next() is None
    now = time.monotonic()
    file._aside = {"later": now + 300.0, "soon": now + 100.0}
    assert 99.0 < file._until_next() <= 100.0
    file._aside["past"] = now - 1.0
    assert file._until_next() == 0.0


def test_breaks_of_the_brokers_own_keep_a_message_back_for_seconds() -> None:
    """A broker that dies three times over the same message has it five seconds later."""
    file = File("innocent")
    file._window = 1
    file.breaks = {"innocent"}
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            file._send_window()
    assert file._aside["innocent"] - time.monotonic() <= 5.0


def test_what_is_too_large_is_said_in_its_place() -> None:
    """The subclass may put another message there, which goes out at once; nothing is set aside."""
    file = File("bad")
    file.breaks = file.smaller = {"bad"}
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            file._send_window()
    assert (file.messages, file._strikes) == (["bad is too large"], {})
    assert file._send_window()
    assert file.messages == []


def test_a_broker_that_only_keeps_silent_replaces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt that does not come in time says nothing of the message's size: it is set aside."""
    monkeypatch.setattr(confirmed, "_PATIENCE", 0.0)
    file = File("slow", "next")
    file.smaller = {"slow"}
    file.messages = ["slow"]
    monkeypatch.setattr(File, "send", lambda _self, message: PendingReceipt(message, message))
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            file._send_window()
    assert file.messages == ["slow"]
    assert set(file._aside) == {"slow"}


@pytest.fixture
def receipts(monkeypatch: pytest.MonkeyPatch) -> list[PendingReceipt]:
    """Those of each message that goes out, which a test resolves; nobody waits long for one."""
    made: list[PendingReceipt] = []

    def send(_self: File, message: str) -> PendingReceipt:
        made.append(PendingReceipt(message, message))
        return made[-1]

    monkeypatch.setattr(confirmed, "_PATIENCE", 0.0)
    monkeypatch.setattr(File, "send", send)
    return made


def test_what_a_slow_line_takes_its_time_over_is_not_sent_again(
    started: Callable[[File], File], receipts: list[PendingReceipt]
) -> None:
    """While the connection stands a late receipt is waited for; when it comes the message is marked at once."""
    file = File("large")
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            file._send_window()
    assert [one.id for one in receipts] == ["large"]
    assert set(file._aside) == {"large"}
    started(file)
    receipts[0].resolve()
    assert wait_until(lambda: not file.messages, 60)
    assert [one for window in file.windows for one in window] == ["large"]
    assert len(receipts) == 1


def test_what_was_waited_for_is_sent_again_after_a_break(receipts: list[PendingReceipt]) -> None:
    """A late receipt that ends with its connection is none, and one that does not come in ten minutes neither."""
    file = File("large")
    with pytest.raises(ConnectionLost):
        file._send_window()
    receipts[0].resolve("the broker hung up")
    with pytest.raises(ConnectionLost):
        file._send_window()
    assert len(receipts) == 2
    file._late = {"large": (receipts[1], time.monotonic() - 601.0)}
    with pytest.raises(ConnectionLost):
        file._send_window()
    assert len(receipts) == 3


def test_a_broker_whose_store_is_full_replaces_nothing() -> None:
    """What it refuses for want of room is the same message when there is some."""
    file = File("large")
    file.breaks = file.smaller = {"large"}
    file.last_words = "Persistent store is Full, 100% of 1024. Stopping producer"
    for _ in range(5):
        file._aside.clear()
        with pytest.raises(ConnectionLost):
            file._send_window()
    assert file.messages == ["large"]
    file._aside, file.breaks = {}, set()
    assert file._send_window()
    assert file.given[-1] == "large"


def test_a_broker_that_is_long_away_is_seldom_told_of(
    started: Callable[[File], File],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of a hundred tries in vain a few are told; the first after a success is told again."""
    monkeypatch.setattr(confirmed, "_PAUSE", 0.0)
    file = File("word")
    file.refused = {"word"}
    tries: list[str] = []
    monkeypatch.setattr(file, "begin", lambda messages, _at: tries.extend(messages) or {})
    started(file)
    for round_ in (1, 2):
        assert wait_until(lambda: len(tries) > 100, 60), round_
        file.refused = set()
        assert wait_until(lambda: not file.messages, 60)
        told = [one.message for one in caplog.records if one.levelname == "WARNING"]
        assert 1 <= told.count("the outbox waits: it is down") < 30, round_
        assert "the outbox waits: it is down" in told
        caplog.clear()
        tries.clear()
        file.refused = {"word"}
        file.messages = ["word"]
        file.wake()


def test_a_strike_is_for_whoever_was_alone() -> None:
    """Who was one of several when the connection broke is not suspected for it."""
    file = File("a", "b")
    file.breaks = {"a", "b"}
    for _ in range(6):
        file._window = 250
        with pytest.raises(ConnectionLost, match="2 not confirmed"):
            file._send_window()
    assert file._aside == {}


def test_the_thread_sends_what_is_there_and_what_comes(started: Callable[[File], File]) -> None:
    """It begins with what an earlier process left, and goes on when it is woken."""
    file = started(File("left"))
    assert wait_until(lambda: not file.messages, 60)
    file.messages.append("new")
    file.wake()
    assert wait_until(lambda: not file.messages, 60)
    assert file.given == ["left", "new"]


@pytest.mark.parametrize(
    "fault", [MCShellError("the disk is full"), RuntimeError("a flaw of ours")]
)
def test_the_thread_outlives_whatever_goes_wrong(
    started: Callable[[File], File], caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    """What it holds was promised: it says why it waits, and tries again by itself."""
    file = File("a")
    file.fault = fault
    started(file)
    assert wait_until(lambda: not file.messages, 60)
    (line,) = [record.getMessage() for record in caplog.records]
    ours = isinstance(fault, MCShellError)
    assert line == (f"the outbox waits: {fault}" if ours else "the outbox stumbled")


def test_stopping_sends_what_takes_no_time_and_ends() -> None:
    """The thread ends with what is there sent; one that never began is no fault."""
    file = File("a", "b")
    file.start()
    file.stop()
    assert not file._thread.is_alive()
    idle = File("a")
    idle.stop()
    assert idle.messages == ["a"]


def test_a_process_that_forgets_it_ends_all_the_same() -> None:
    """The thread holds nobody up: what it had is in the file, for the next process."""
    code = (
        "from mcshell.wire.stomp.confirmed import ConfirmedSender\n"
        "from mcshell.wire.stomp.nowhere import NoConnection\n"
        "class Idle(ConfirmedSender):\n"
        "    def unconfirmed(self, limit):\n"
        "        return []\n"
        "Idle('idle', NoConnection()).start()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == 0


def test_a_fault_while_stopping_ends_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is tried again for a process that ends, and nothing is said about it."""
    file = File("a")
    entered, leave = threading.Event(), threading.Event()

    def unconfirmed(_limit: int) -> Sequence[str]:
        entered.set()
        assert leave.wait(30)
        raise MCShellError("the file is closed")

    file.unconfirmed = unconfirmed  # type: ignore[method-assign]
    file.start()
    assert entered.wait(30)
    file._stopped.set()
    leave.set()
    file.stop()
    assert not file._thread.is_alive()
    assert caplog.records == []
