"""What became of targets whose last word did not come: the nodes are asked, and say it signed.

A broker that loses its disk loses requests and replies. A node that reads its queue and knows nothing
of what the broker had confirmed never gets it; one that says that it has ended it is believed, though
what it said then is gone. One that died while an interactive request ran says that it had accepted it,
and has started again: nothing more comes. See mcshell/README.md §8.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mcshell.message import State, Via

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.messaging.queries import QueryAnswers
    from mcshell.client.messaging.tracker import RequestTracker
    from mcshell.message import Reply

__all__ = ["find_lost"]

_SURE: Final = 2.0
"""Seconds in which what the broker has comes to whoever reads its queue."""
_LOST: Final = "lost by the broker: the node knows nothing of it"
_ENDED: Final = "its reply is lost: the node says, asked, that it has ended it"
_DIED: Final = "the node died in the middle: it says, asked, that it has started again since"


def find_lost(hub: SessionHub, trackers: Iterable[RequestTracker], window: float) -> None:
    """Ask the nodes about targets without a last word, and enter what is proved of them.

    All are asked at once; `window` is how many seconds to wait for an answer.
    """
    asked: list[tuple[RequestTracker, str, QueryAnswers]] = []
    try:
        for tracker in trackers:
            if names := _doubtful(hub, tracker):
                record = tracker.record
                question, answers = hub.queries.probe(
                    record.collective, names, record.id, tracker.wake
                )
                asked.append((tracker, question, answers))
        for tracker, _question, answers in asked:
            answers.gather(window=window, silence=window, linger=0.0)
            replies = {name: reply for name, (reply, _at) in answers.snapshot().items()}
            _enter(hub, tracker, replies)
    finally:
        for _tracker, forgotten, _answers in asked:
            hub.queries.forget(forgotten)


def _doubtful(hub: SessionHub, tracker: RequestTracker) -> list[str]:
    """The targets whose last word may be lost: the broker had it, or the node, long enough."""
    if tracker.record.via is Via.POOL:
        return []
    sure = time.time() - _SURE
    confirmed = {
        message.sender
        for message, at in hub.session.store.outgoing(tracker.record.id)
        if at is not None and at < sure
    }
    return [
        entry.sender
        for entry in tracker.entries()
        if not (entry.unexpected or entry.state.closed)
        and (entry.state is not State.PENDING or entry.sender in confirmed)
    ]


def _enter(hub: SessionHub, tracker: RequestTracker, replies: Mapping[str, Reply]) -> None:
    unheard = [name for name, reply in replies.items() if _knows_nothing(reply)]
    hub.judge(tracker, unheard, _LOST, State.EXPIRED)
    died = [name for name, reply in replies.items() if _died(reply)]
    hub.judge(tracker, died, _DIED, State.INTERRUPTED)
    ended: dict[State, list[str]] = {}
    for name, reply in replies.items():
        if (state := _ended(reply)) is not None:
            ended.setdefault(state, []).append(name)
    for state, names in ended.items():
        hub.judge(tracker, names, _ENDED, state)


def _knows_nothing(reply: Reply) -> bool:
    """Whether a node's answer proves that a queued request never comes to it."""
    return reply.data.get("state") == "unknown" and _since(reply, "reads")


def _died(reply: Reply) -> bool:
    """Whether only the node's audit file knows of it: who would have ended it is no more."""
    return reply.data.get("state") == "accepted" and _since(reply, "up")


def _ended(reply: Reply) -> State | None:
    """How it has ended by a node's answer, so long ago that its reply would be here."""
    said = reply.data.get("state")
    if said not in tuple(state for state in State if state.final) or not _since(reply, "ended"):
        return None
    return State(said)


def _since(reply: Reply, what: str) -> bool:
    """Whether that was, by the node's own clock, long enough before it said so."""
    at = reply.data.get(what)
    return isinstance(at, int | float) and reply.created - at > _SURE
