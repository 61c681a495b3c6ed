"""Subscribing for as long as it takes."""

from __future__ import annotations

import pytest

from mcshell.errors import ConnectionLost, ReceiptTimeout
from mcshell.wire.stomp.transport import until_confirmed


def test_it_is_asked_again_until_the_broker_confirms() -> None:
    """A broker that breaks off, or says nothing, is asked once more; a no of its own ends it."""
    answers = iter([ConnectionLost("gone"), ReceiptTimeout("a subscription", 1.0), None])

    def subscribe() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    until_confirmed(subscribe, lambda: False)
    assert list(answers) == []
    answers = iter([ConnectionLost("gone"), ConnectionLost("no right", refused=True), None])
    with pytest.raises(ConnectionLost, match="no right"):
        until_confirmed(subscribe, lambda: False)
    assert list(answers) == [None]


def test_who_is_stopped_asks_no_more() -> None:
    """Also between two tries."""
    asked: list[int] = []

    def subscribe() -> None:
        asked.append(1)
        raise ConnectionLost("gone")

    until_confirmed(subscribe, lambda: len(asked) == 2)
    assert len(asked) == 2
