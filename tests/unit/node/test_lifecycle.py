"""How a row of the spool ends that may not start."""

from __future__ import annotations

from mcshell.message import State
from mcshell.node.execution.lifecycle import LATE, not_started
from mcshell.node.store.records import WorkItem
from mcshell.node.verdicts import Outcome

DENIED = Outcome(State.DENIED, 1, "denied: the job is past its end")


def row(attempt: int, code: int | None = None, message: str = "") -> WorkItem:
    """A row that was begun so many times, with how the last came out."""
    return WorkItem(
        identity="n1",
        id="0" * 32,
        via="queue",
        collective="mcs",
        agent="mark",
        action="again",
        caller="cert=alice",
        session="s",
        created=0.0,
        expires=1.0,
        due=0.0,
        received=0.0,
        body=b"{}",
        signature="s",
        certificate="c",
        attempt=attempt,
        statuscode=code,
        statusmsg=message,
    )


def test_what_had_begun_is_not_said_to_be_denied():
    """A row that began before, and may not once more, is `interrupted`; one that never did is not."""
    assert not_started(row(0), DENIED) is DENIED
    assert not_started(row(0), LATE) is LATE
    died = not_started(row(1, None, "the node died in the middle"), DENIED)
    assert (died.state, died.statuscode) == (State.INTERRUPTED, 5)
    assert died.statusmsg == (
        "the node died in the middle; not started again: denied: the job is past its end"
    )
    failed = not_started(row(2, 3, "no such package"), LATE)
    assert (failed.state, failed.statuscode) == (State.FAILED, 3)
    assert failed.statusmsg == f"no such package; not started again: {LATE.statusmsg}"
