"""The checker of histories: each broken promise is found, and an honest history passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.history.checker import check, report
from tests.history.events import Asked, Confirmed, Ended, Event, Ran, Row, Said

ASKED = Asked(request="r", targets=("a", "b"), via="queue", rerun_safe=False, at=1.0)
POOL = replace(ASKED, targets=("pool:p",), via="pool")
CONFIRMED = Confirmed(request="r", at=2.0)
RAN_A, RAN_B = (Ran(request="r", node=name, attempt=1, at=3.0) for name in "ab")
OK_A, OK_B = (Row(request="r", node=name, state="ok", at=8.0) for name in "ab")
ENDED = Ended(at=9.0)
HONEST = [ASKED, CONFIRMED, RAN_A, RAN_B, OK_A, OK_B, ENDED]


def row(state: str, node: str = "b", at: float = 8.5) -> Row:
    """A row of the one request."""
    return Row(request="r", node=node, state=state, at=at)


def kinds(history: list[Event]) -> list[str]:
    """What is wrong with a history, in the checker's order."""
    return [one.kind for one in check(history)]


@pytest.mark.parametrize("state", ["failed", "denied", "interrupted"])
def test_honest_ends(state):
    """What did not run, and says so in a state of its own, breaks nothing."""
    history = [ASKED, CONFIRMED, RAN_A, OK_A, row(state), ENDED]
    assert check(history) == []


def test_honest_histories():
    """Everything ran once and is ok; or its asker died before anything was kept."""
    assert check(HONEST) == []
    assert check([ASKED, ENDED]) == []
    assert check([]) == []


def test_a_job_is_ok_where_one_of_its_starts_ran():
    """It ends as its last start did, which is a request of its own; one of another is none of its."""
    job = replace(ASKED, targets=("a",), via="job", may_expire=True)
    for name, found in (("r/1", []), ("rr/1", ["false"])):
        start = replace(job, request=name)
        ran = [replace(RAN_A, request=name), replace(OK_A, request=name)]
        assert kinds([job, CONFIRMED, start, *ran, OK_A, ENDED]) == found
    assert kinds([replace(job, via="queue"), start, *ran, OK_A, ENDED]) == ["false"]


@pytest.mark.parametrize(
    ("history", "found"),
    [
        pytest.param([ASKED, CONFIRMED, ENDED], ["lost", "lost"], id="no row, no effect"),
        pytest.param([*HONEST[:3], OK_A, row("expired"), ENDED], ["lost"], id="only waited for"),
        pytest.param([POOL, CONFIRMED, row("expired", "pool:p"), ENDED], ["lost"], id="pool"),
        pytest.param([*HONEST, RAN_B], ["twice"], id="twice"),
        pytest.param(
            [POOL, CONFIRMED, RAN_A, RAN_B, OK_A, ENDED], ["twice"], id="by two of a pool"
        ),
        pytest.param([RAN_A], ["unasked"], id="an effect of nothing"),
        pytest.param([OK_A, RAN_A], ["unasked", "unasked"], id="a row of nothing"),
        pytest.param([*HONEST, Ran(request="r", node="c", attempt=1, at=4.0)], ["unasked"], id="c"),
        pytest.param([*HONEST[:5], ENDED], ["unnamed"], id="ran without a row"),
        pytest.param([ASKED, RAN_A, OK_A, ENDED], ["unnamed"], id="another target's row"),
        pytest.param([*HONEST[:5], row("running"), ENDED], ["unfinished"], id="running"),
        pytest.param([*HONEST[:5], row("pending"), ENDED], ["unfinished"], id="pending"),
        pytest.param([*HONEST[:3], OK_A, OK_B, ENDED], ["false"], id="ok, never ran"),
        pytest.param([*HONEST[:5], row("denied"), ENDED], ["false"], id="denied, and ran"),
        pytest.param([*HONEST[:5], row("expired"), ENDED], ["false"], id="its reply is lost"),
        pytest.param([*HONEST[:5], row("silent"), ENDED], ["false"], id="no state of a queue"),
        pytest.param([*HONEST[:6], row("failed"), ENDED], ["changed"], id="ok, then failed"),
    ],
)
def test_each_violation_is_found(history, found):
    """A history that breaks a promise is told by its name, and by no other."""
    assert kinds(history) == found, report(check(history))


def test_what_is_judged_at_any_time():
    """A history that was cut short may lack rows; an effect twice, and a lie, are found even so."""
    assert check([ASKED, CONFIRMED, RAN_A, row("running")]) == []
    assert kinds([ASKED, RAN_A, RAN_A]) == ["twice"]
    assert kinds([ASKED, OK_B]) == ["false"]


def test_rerun_safe_and_attempts():
    """What may run again does; a retry is an attempt of its own."""
    assert check([replace(ASKED, rerun_safe=True), *HONEST[1:], RAN_A]) == []
    assert check([*HONEST, replace(RAN_A, attempt=2)]) == []


def test_what_was_heard_last_of_an_interactive_request():
    """`running` is where a direct request may end; `pending` is not, and of a queue neither is."""
    for via, state, found in (
        ("direct", "running", []),
        ("broadcast", "received", []),
        ("direct", "pending", ["unfinished"]),
        ("queue", "running", ["unfinished"]),
    ):
        asked = replace(ASKED, via=via)
        assert kinds([asked, CONFIRMED, RAN_A, RAN_B, OK_A, row(state), ENDED]) == found


def test_a_worker_with_a_copy():
    """In a pool `interrupted` gives way to what another worker has done, and to nothing elsewhere."""
    rows = [Row(request="r", node="b", state="interrupted", at=7.0), OK_A]
    assert check([POOL, CONFIRMED, RAN_A, *rows, ENDED]) == []
    assert kinds([ASKED, RAN_A, RAN_B, row("interrupted"), OK_A, row("ok"), ENDED]) == ["changed"]


def test_what_may_expire():
    """A request whose time could run out is not lost when its row says so; nor is it when it ran."""
    hasty = replace(ASKED, may_expire=True)
    assert check([hasty, CONFIRMED, RAN_A, OK_A, row("expired"), ENDED]) == []
    assert kinds([hasty, *HONEST[1:5], row("expired"), ENDED]) == ["false"]


def test_an_interactive_request_may_be_silent():
    """Of direct and broadcast, silence is an end; a broadcast may be answered by who was no target."""
    for via in ("direct", "broadcast"):
        silent = [replace(ASKED, via=via), RAN_A, RAN_B, OK_A, row("silent"), ENDED]
        assert check(silent) == []
    assert check([replace(ASKED, via="direct"), RAN_A, ENDED]) == []
    late = [replace(ASKED, via="broadcast", targets=("a",)), *HONEST[2:]]
    assert check(late) == []


def test_a_judgement_may_be_replaced():
    """A reply that comes after all takes the place of a judgement, in that order only."""
    assert check([*HONEST[:5], row("expired"), row("ok"), ENDED]) == []
    assert kinds([*HONEST[:6], row("expired"), ENDED]) == ["changed", "false"]


def test_a_reply_that_its_node_has_not_made():
    """Where a history tells what nodes said, a row that says something else is found."""
    said = [Said(request="r", node=name, state="ok", at=4.0) for name in "ab"]
    assert check([*HONEST, *said]) == []
    assert kinds([*HONEST, said[0]]) == ["unsaid"]
    assert kinds([*HONEST[:5], row("failed"), ENDED, *said]) == ["unsaid"]


def test_a_report_says_when_it_was_promised():
    """A loss is told with the time of the promise."""
    assert "confirmed at 2.000" in report(check([ASKED, CONFIRMED, ENDED]))
