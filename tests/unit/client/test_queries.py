"""When the wait for answers to a question is over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mcshell.client.messaging.queries import AnySender, QueryAnswers
from mcshell.client.store.records import ReplyRecord
from mcshell.message import Reply, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest

PATIENCE = 60.0


def answer(sender: str, data: Mapping[str, str] | None = None) -> ReplyRecord:
    """A node's final answer."""
    reply = Reply(
        requestid="0" * 32,
        sender=sender,
        sequence=2,
        statuscode=0,
        statusmsg="OK",
        data=data or {},
        created=0.0,
        state=State.OK,
    )
    return ReplyRecord(reply=reply, kept=0.0, body=b"", signature="", certificate="", target=sender)


def gathered(answers: QueryAnswers, silence: float) -> threading.Thread:
    """Gather in a thread."""
    wanted = {"window": 0.2, "silence": silence, "linger": 0.01}
    thread = threading.Thread(target=answers.gather, kwargs=wanted, daemon=True)
    thread.start()
    return thread


def test_silence_is_judged_only_when_nothing_waits() -> None:
    """While something is still to be entered the window stays open, with and without answers."""
    busy = threading.Event()
    busy.set()
    answers = QueryAnswers(
        AnySender(), (), quiet_since=lambda: time.monotonic() if busy.is_set() else 0.0
    )
    waits = gathered(answers, 0.05)
    waits.join(0.6)
    assert waits.is_alive()
    answers.add([answer("web1")])
    waits.join(0.6)
    assert waits.is_alive()
    busy.clear()
    waits.join(PATIENCE)
    assert not waits.is_alive()
    assert set(answers.snapshot()) == {"web1"}


def test_a_flood_of_others_does_not_keep_the_window_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is always busy with what answers nothing is waited for a while only."""
    monkeypatch.setattr("mcshell.client.messaging.queries._BUSY", 0.3)
    answers = QueryAnswers(AnySender(), (), quiet_since=time.monotonic)
    waits = gathered(answers, 0.05)
    waits.join(PATIENCE)
    assert not waits.is_alive()


def test_who_is_slow_is_given_as_long_again() -> None:
    """Silence is measured against the pauses so far: a busy machine's are longer."""
    answers = QueryAnswers(AnySender(), ["web1"])
    began = time.monotonic()
    time.sleep(0.4)
    answers.add([answer("web1")])
    answers.gather(window=0.0, silence=0.0, linger=0.0)
    assert time.monotonic() - began >= 0.8


def test_a_tenth_of_a_fleet_is_waited_for() -> None:
    """Where many are missing the machine is busy, not they: silence is not the end before the window."""
    names = [f"web{number}" for number in range(1000)]
    for missing, waited in ((100, False), (101, True)):
        answers = QueryAnswers(AnySender(), names)
        answers.add([answer(name) for name in names[missing:]])
        began = time.monotonic()
        answers.gather(window=3.0, silence=0.0, linger=0.0)
        assert (time.monotonic() - began > 2.9) is waited  # a wait may end a hair too early
    few = QueryAnswers(AnySender(), names[:50])
    few.add([answer("web0")])
    began = time.monotonic()
    few.gather(window=3.0, silence=0.0, linger=0.0)
    assert time.monotonic() - began < 3.0


def test_what_is_passed_on_is_not_kept() -> None:
    """Each answer is taken as it comes, once, by who waits or else at the end, and leaves who and when."""
    answers = QueryAnswers(AnySender(), ["web1", "web2"], passing=True)
    taken: list[tuple[str, dict[str, str]]] = []

    def take(replies: Iterable[tuple[Reply, float]]) -> None:
        taken.extend((reply.sender, dict(reply.data)) for reply, _at in replies)
        if len(taken) == 1:
            answers.add([answer("web2", {"os": "b"})])

    answers.add([answer("web1", {"os": "a"})])
    answers.gather(window=PATIENCE, silence=PATIENCE, linger=0.0, take=take)
    answers.add([answer("web3", {"os": "c"})])
    found = answers.conclude(take)
    answers.add([answer("web4", {"os": "d"})])
    assert taken == [(f"web{n}", {"os": letter}) for n, letter in enumerate("abcd", 1)]
    assert {name: dict(reply.data) for name, (reply, _at) in found.items()} == {
        "web1": {},
        "web2": {},
        "web3": {},
    }
