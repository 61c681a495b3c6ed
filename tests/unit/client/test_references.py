"""Requests by what they asked and when, not only by their ids."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.session.references import newest, parse_moment, parse_reference
from mcshell.errors import MCShellError, UsageError

NOW = datetime(2026, 11, 24, 9, 30).astimezone()


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is Tuesday morning."""
    monkeypatch.setattr(time, "time", NOW.timestamp)


def made(agent: str, action: str, **ago: float) -> Any:
    """A request of some time ago."""
    created = (NOW - timedelta(**ago)).timestamp()
    return SimpleNamespace(agent=agent, action=action, created=created)


HISTORY = [
    made("package", "status", days=7, minutes=5),
    made("rpcutil", "ping", days=2),
    made("package", "status", hours=20),
    made("rpcutil", "ping", hours=10),
    made("package", "status", hours=9),
    made("rpcutil", "ping", hours=1),
]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("package.status", 4),
        ("@yesterday", 3),
        ("package.status@yesterday", 2),
        ("package.status@today", 4),
        ("package.status@7d", 0),
        ("@now", 5),
        ("@2d", 1),
        ("@2026-11-23T23:00", 2),
        ("package.update", None),
        ("package.status@8d", None),
    ],
)
def test_the_newest_that_fits(text: str, place: int | None) -> None:
    """A moment looks back to the newest as of then, a day to the newest of that day."""
    reference = parse_reference(text)
    assert reference is not None
    assert newest(((one, {}) for one in HISTORY), reference.fits) is (
        None if place is None else HISTORY[place]
    )


def test_a_day_without_a_request_is_not_another_day() -> None:
    """`@yesterday` is never the day before."""
    reference = parse_reference("package.status@yesterday")
    assert reference is not None
    assert newest([(one, {}) for one in HISTORY[:2]], reference.fits) is None


@pytest.mark.parametrize("text", ["", "5f1c9a", "package", "a b@now", "Ä.b"])
def test_the_rest_are_ids(text: str) -> None:
    """What is neither an action nor a moment is looked up as an id."""
    assert parse_reference(text) is None


def test_a_moment_that_is_none_says_what_is_meant() -> None:
    """One line with examples."""
    with pytest.raises(UsageError, match="@lunch: @now, @yesterday"):
        parse_moment("lunch")


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing that is typed breaks it."""
    with contextlib.suppress(MCShellError):
        parse_reference(text)


@pytest.mark.parametrize("text", ["0001-01-01", "99999999999d", "9999-12-31T23:59-23:59"])
def test_a_moment_off_the_calendar_is_refused(text: str) -> None:
    """In one line, as any other that is none."""
    with pytest.raises(UsageError, match="@yesterday"):
        parse_moment(text)
