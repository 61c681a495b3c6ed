"""The inbox between the thread that reads from the broker and the one that keeps replies."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mcshell.client.messaging.receive_buffer import ReceiveBuffer
from mcshell.wire.stomp.transport import Delivery
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    import pytest


def delivery(size: int) -> Delivery:
    """A delivery with a body of so many bytes."""
    return Delivery(
        destination="/queue/x", body=b"x" * size, headers={}, subscription="1", ack_id="1", epoch=1
    )


def test_a_group_ends_with_its_count_its_bytes_or_what_is_there() -> None:
    """What is taken out together is bounded by number and by bytes, and comes in order."""
    inbox = ReceiveBuffer()
    sizes = [1, 2, 3, 50, 60, 70]
    for size in sizes:
        inbox.put(delivery(size))
    inbox.end()
    groups = []
    while (group := inbox.take(most=3, size=100)) is not None:
        groups.append([len(one.body) for one in group])
    assert groups == [[1, 2, 3], [50, 60], [70]]


def test_a_few_wait_once_for_those_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit waits for the disk: of what trickles in some are gathered; many wait for nobody."""
    inbox = ReceiveBuffer()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        inbox.put(delivery(2))

    monkeypatch.setattr("mcshell.client.messaging.receiver.time.sleep", sleep)
    for pause, before in ((0.02, 1), (0.02, 3), (0.0, 1)):
        for _ in range(before):
            inbox.put(delivery(1))
        group = inbox.take(most=10, few=2, pause=pause)
        assert group is not None
        slept.append(float(sum(len(one.body) for one in group)))
    assert slept == [0.02, 3.0, 3.0, 1.0]


def test_the_filling_thread_waits_for_room() -> None:
    """A full box holds back whoever fills it until something is taken out."""
    inbox = ReceiveBuffer(room=1000)
    for _ in range(2):
        inbox.put(delivery(600))
    filled = threading.Event()

    def fill() -> None:
        for _ in range(3):
            inbox.put(delivery(600))
        inbox.end()
        filled.set()

    thread = threading.Thread(target=fill)
    thread.start()
    taken = 0
    while (group := inbox.take(most=1, size=1)) is not None:
        taken += len(group)
    thread.join()
    assert taken == 5
    assert filled.is_set()


def test_nobody_waits_twice_for_one_who_empties_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing is taken out the box grows: whoever fills it keeps the heart-beats too."""
    monkeypatch.setattr("mcshell.client.messaging.receive_buffer._PATIENCE", 0.01)
    inbox = ReceiveBuffer(room=1000)
    thread = threading.Thread(target=lambda: [inbox.put(delivery(600)) for _ in range(500)])
    thread.start()
    assert wait_until(lambda: not thread.is_alive(), 30)
    total = 0
    while total < 500:
        group = inbox.take(most=1000, size=1 << 20)
        assert group is not None
        total += len(group)
    assert inbox.empty()
