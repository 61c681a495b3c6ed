"""What an edit makes of the time of a job, and words about time that are none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from mcshell.client.jobs.times import read_when, revised
from mcshell.errors import UsageError
from mcshell.message import Job, When
from tests.unit.ddl.documents import run_action

NAIVE = datetime.fromisoformat("2026-11-27T05:00")
NOW = datetime(2026, 11, 25, 12, 0, 0, 250_000, tzinfo=UTC).timestamp()


def edited(when: When, **said: Any) -> When:
    """The time of such a job after an edit."""
    job = Job(
        id="1" * 32,
        revision=1,
        author="cert=alice",
        collective="mcs",
        session="s",
        agent="sample",
        action="act",
        created=NOW,
        when=when,
    )
    return revised(job, said, run_action({}), NOW).when


def test_a_wall_time_after_one_that_was_so_long_from_now_is_the_nodes():
    """That "+2h" is kept in UTC was nobody's choice; a zone that was named stays."""
    later = read_when({"at": "+2h"}, NOW, 60.0)
    assert (later.at, later.tz) == ("2026-11-25T14:00:00.250000", "UTC")
    assert edited(later, at="2026-11-27 05:00") == When(at="2026-11-27T05:00:00", late=later.late)
    assert edited(later, cron="0 4 * * *").tz == "node"
    assert edited(later, at="2026-11-27 05:00", tz="UTC").tz == "UTC"
    assert edited(later, at="+3h").tz == "UTC"
    assert edited(later, splay="5m") == When(at=later.at, tz="UTC", splay=300.0, late=later.late)
    named = read_when({"at": "2026-11-27 05:00", "tz": "UTC"}, NOW, 60.0)
    assert edited(named, at="2026-11-27 06:00").tz == "UTC"


@pytest.mark.parametrize("at", ["+2h", datetime(2026, 11, 25, 14, 0, tzinfo=UTC)])
def test_an_end_is_in_the_zone_that_was_said_whatever_at_is_kept_in(
    at: str | datetime, monkeypatch: pytest.MonkeyPatch
):
    """Of a job that begins so long from now, too; by an edit as by the first words."""
    end = datetime(2026, 11, 27, 23, 30, tzinfo=ZoneInfo("America/New_York")).timestamp()
    said = {"at": at, "tz": "America/New_York", "every": "1h", "until": "2026-11-27 23:30"}
    assert read_when(said, NOW, 60.0).until == end
    first = read_when({"at": "+2h", "every": "1h"}, NOW, 60.0)
    monkeypatch.setenv("TZ", "America/New_York")
    assert read_when({**said, "tz": None}, NOW, 60.0).until == end
    assert edited(first, until=said["until"]) == replace(first, until=end)
    assert edited(first, splay="5m", tz="UTC", until="2026-11-28 04:30").until == end


def test_a_moment_is_put_into_no_other_zone():
    """The same digits in another zone would be hours away from what was said."""
    later = read_when({"at": "+2h"}, NOW, 60.0)
    with pytest.raises(UsageError, match="the same moment in each zone; say at, too"):
        edited(later, tz="Europe/Vienna")
    assert edited(later, tz="UTC") == later
    wall = read_when({"at": "2026-11-27 05:00"}, NOW, 60.0)
    assert edited(wall, tz="Europe/Vienna").tz == "Europe/Vienna"


@pytest.mark.parametrize(
    "said",
    [
        {"at": NAIVE},
        {"at": pd.NaT},
        {"at": 5},
        {"cron": 5},
        {"tz": UTC},
        {"every": 60.0, "until": NAIVE},
        {"cron": datetime(2026, 11, 27, 5, 0, tzinfo=UTC)},
        {"every": 60.0, "until": float("nan")},
        {"at": "+1h", "until": timedelta(hours=1)},
    ],
)
def test_what_is_no_text_is_refused_in_a_line(said: dict[str, Any]):
    """A datetime without a zone too: whether that of the node or of here is meant would be a guess."""
    with pytest.raises(UsageError, match="text is meant, such as"):
        read_when(said, NOW, 60.0)


def test_a_datetime_with_a_zone_is_that_moment():
    """Python's or pandas', in whatever zone: it is kept in UTC, as "+2h" is."""
    moment = datetime(2026, 11, 27, 5, 0, tzinfo=ZoneInfo("Europe/Vienna"))
    for at in (moment, pd.Timestamp(moment), moment.astimezone(UTC)):
        when = read_when({"at": at, "tz": "node"}, NOW, 60.0)
        assert (when.at, when.tz) == ("2026-11-27T04:00:00", "UTC")
        assert read_when({"every": 60.0, "until": at}, NOW, 60.0).until == moment.timestamp()
