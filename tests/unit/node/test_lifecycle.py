"""How a row of the spool ends that may not start."""

from __future__ import annotations

from mcshell.message import State
from mcshell.node.execution.lifecycle import LATE, not_started
from mcshell.node.verdicts import Outcome
from tests.unit.node.spool_rows import row

DENIED = Outcome(State.DENIED, 1, "denied: the author is revoked")


def test_what_had_begun_is_not_said_to_be_denied():
    """A row that began before, and may not once more, is `interrupted`; one that never did is not."""
    assert not_started(row(), DENIED) is DENIED
    assert not_started(row(), LATE) is LATE
    died = not_started(row(attempt=1, statusmsg="the node died in the middle"), DENIED)
    assert (died.state, died.statuscode) == (State.INTERRUPTED, 5)
    assert died.statusmsg == (
        "the node died in the middle; not started again: denied: the author is revoked"
    )
    failed = not_started(row(attempt=2, statuscode=3, statusmsg="no such package"), LATE)
    assert (failed.state, failed.statuscode) == (State.FAILED, 3)
    assert failed.statusmsg == f"no such package; not started again: {LATE.statusmsg}"
