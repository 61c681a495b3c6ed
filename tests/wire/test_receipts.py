"""Receipts, heart-beats and back-off: the parts of the connector that need no broker."""

from __future__ import annotations

import itertools
import threading

import pytest

from mcshell.errors import ConnectionLost, ReceiptTimeout
from mcshell.wire.stomp.tcp import agree_heartbeat
from mcshell.wire.stomp.transport import ReceiptTable, RepeatedFailures, backoff


def test_a_receipt_is_confirmed_once_and_forgotten() -> None:
    """Settling lets the waiting go on; the table keeps nothing; an unknown number is no harm."""
    table = ReceiptTable()
    receipt = table.new("a message")
    assert not receipt.done
    with pytest.raises(ReceiptTimeout, match=r"did not confirm a message within 0\.01 s"):
        receipt.wait(0.01)
    table.confirm(receipt.id)
    table.confirm("nobody's")
    receipt.wait(0)
    assert (receipt.done, len(table)) == (True, 0)


def test_the_end_of_a_connection_fails_all_receipts() -> None:
    """Those who wait are told the reason, and so is who asks afterwards."""
    table = ReceiptTable()
    pending = [table.new("x") for _ in range(3)]
    outcomes: list[str] = []

    def waiting() -> None:
        try:
            pending[0].wait(20)
        except ConnectionLost as lost:
            outcomes.append(lost.reason)

    thread = threading.Thread(target=waiting)
    thread.start()
    table.end("the broker went away")
    thread.join(20)
    assert outcomes == ["the broker went away"]
    for receipt in [*pending[1:], table.new("late")]:
        with pytest.raises(ConnectionLost, match="went away"):
            receipt.wait(0)


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [
        (10.0, "10000,10000", (10.0, 10.0)),
        (10.0, "0,0", (0.0, 0.0)),
        (1.0, "5000, 200", (1.0, 5.0)),
        (0.0, "1000,1000", (0.0, 0.0)),
        (1.0, "0,3000", (3.0, 0.0)),
        (1.0, "nonsense", (0.0, 0.0)),
        (1.0, f"1{'0' * 400},1{'0' * 400}", (0.0, 0.0)),
        (1.0, f"1{'0' * 5000},1000", (0.0, 0.0)),
        (1.0, "\u0661\u0660\u0660\u0660,1000", (0.0, 0.0)),
    ],
)
def test_heart_beats_are_the_slower_of_both(
    ours: float, theirs: str, agreed: tuple[float, float]
) -> None:
    """Each direction has the longer of the two intervals, or none; what is no such pair is none of it."""
    assert agree_heartbeat(ours, theirs) == agreed


def test_of_failures_that_repeat_few_are_news() -> None:
    """A thousand alike, but for numbers, are ten lines; another is one at once, and all are after a success."""
    failures = RepeatedFailures()
    said = [failures.is_news(f"nothing for {second}.5 s") for second in range(1000)]
    assert sum(said) == 10
    assert failures.is_news("connection refused")
    failures.forget()
    assert failures.is_news("nothing for 3.5 s")


def test_back_off_grows_to_a_bound() -> None:
    """The pauses double up to the most, scattered, so that a fleet does not come back at once."""
    for step, delay in enumerate(itertools.islice(backoff(first=0.1, most=5.0), 50)):
        whole = min(5.0, 0.1 * 2**step)
        assert 0.3 * whole <= delay <= whole
