"""When a job starts: zones, both changes of the clock, splay, what operators write."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell import schedule
from mcshell.client.jobs.times import read_when
from mcshell.errors import UsageError
from mcshell.message import When

# Changes by an hour in spring and autumn, on the southern half, by half an hour, and none at all.
ZONES = (
    "Europe/Vienna",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "UTC",
)
MOMENTS = st.integers(1_735_700_000, 1_796_100_000).map(float)  # 2025 to 2026
VIENNA = ZoneInfo("Europe/Vienna")


def moment(text: str, zone: str = "Europe/Vienna", fold: int = 0) -> float:
    """The instant of a wall time that exists."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def walls(when: When, after: float, count: int) -> list[str]:
    """The next starts as wall time with offset."""
    found = islice(schedule.starts(when, after), count)
    zone = schedule.zone_of(when.tz)
    return [
        datetime.fromtimestamp(one.planned, zone).isoformat(timespec="minutes") for one in found
    ]


def test_hour_that_spring_leaves_out() -> None:
    """A daily start within the missing hour happens when that hour is over, that day too."""
    when = When(cron="30 2 * * *", tz="Europe/Vienna")
    assert walls(when, moment("2026-03-28T00:00"), 3) == [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_hour_that_autumn_has_twice() -> None:
    """A daily start within the repeated hour happens once, the first time."""
    when = When(cron="30 2 * * *", tz="Europe/Vienna")
    assert walls(when, moment("2026-10-24T00:00"), 3) == [
        "2026-10-24T02:30+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_asked_within_the_repeated_hour() -> None:
    """Whoever asks in the second run of the hour is not told a start that has been."""
    when = When(cron="30 2 * * *", tz="Europe/Vienna")
    second = moment("2026-10-25T02:10", fold=1)
    assert walls(when, second, 1) == ["2026-10-26T02:30+01:00"]


def test_what_is_due_every_half_hour_follows_the_clock() -> None:
    """A star in the minute runs through both hours of autumn, each start with its own name."""
    when = When(cron="*/30 * * * *", tz="Europe/Vienna")
    found = list(islice(schedule.starts(when, moment("2026-10-25T01:45")), 5))
    assert [one.name for one in found] == [
        "2026-10-25T02:00",
        "2026-10-25T02:30",
        "2026-10-25T02:00/2",
        "2026-10-25T02:30/2",
        "2026-10-25T03:00",
    ]
    assert [later.planned - one.planned for one, later in pairwise(found)] == [1800.0] * 4


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-29T02:30", "2026-03-29T03:00+02:00"),
        ("2026-03-29T02:00", "2026-03-29T03:00+02:00"),
        ("2026-10-25T02:30", "2026-10-25T02:30+02:00"),
        ("2026-07-01T04:00:05", "2026-07-01T04:00+02:00"),
    ],
)
def test_one_start_at_a_wall_time(text: str, instant: str) -> None:
    """A wall time that does not exist is the end of the gap; of two, it is the first."""
    assert walls(When(at=text, tz="Europe/Vienna"), float("-inf"), 2) == [instant]


def test_every_counts_seconds() -> None:
    """`every` is a length: a change of the clock moves its wall time, not its distance."""
    when = When(every=86_400.0, at="2026-03-28T12:00", tz="Europe/Vienna")
    assert walls(when, float("-inf"), 3) == [
        "2026-03-28T12:00+01:00",
        "2026-03-29T13:00+02:00",
        "2026-03-30T13:00+02:00",
    ]
    first = schedule.next_start(When(every=60.0), 1000.0, created=1000.0)
    assert first is not None
    assert first.planned == 1060.0


def test_node_is_the_zone_of_each_node() -> None:
    """The same job starts at four in the morning of each node's own zone."""
    when = When(at="2026-11-25T04:00")
    starts = {
        name: schedule.next_start(when, 0.0, node=ZoneInfo(name)) for name in ("Asia/Tokyo", "UTC")
    }
    east, west = starts["Asia/Tokyo"], starts["UTC"]
    assert east is not None
    assert west is not None
    assert west.planned - east.planned == 9 * 3600
    assert east.name == west.name == "2026-11-25T04:00"


@given(
    zone=st.sampled_from(ZONES),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    after=MOMENTS,
)
@settings(max_examples=200, deadline=None)
def test_daily_is_once_a_day(zone: str, hour: int, minute: int, after: float) -> None:
    """In any zone, over both changes, a daily start comes once on each day, in order."""
    when = When(cron=f"{minute} {hour} * * *", tz=zone)
    here = ZoneInfo(zone)
    found = list(islice(schedule.starts(when, after), 40))
    days = [datetime.fromtimestamp(one.planned, here).date() for one in found]
    assert all(later - day == timedelta(days=1) for day, later in pairwise(days))
    assert len({one.name for one in found}) == 40
    assert found[0].planned > after
    assert found[0].planned <= after + 26 * 3600


CRONS = st.sampled_from(
    ["30 2 * * *", "*/15 * * * *", "0 */3 * * *", "5 2,3 * * 0", "0 0 1 * *", "59 1 * * 1-5"]
)
WHENS = st.one_of(
    st.builds(When, cron=CRONS, tz=st.sampled_from(ZONES)),
    st.builds(When, every=st.floats(60, 1e6), tz=st.sampled_from(ZONES)),
)


@given(when=WHENS, after=MOMENTS)
@settings(max_examples=200, deadline=None)
def test_asking_one_by_one_is_asking_for_all(when: When, after: float) -> None:
    """The next start after each start is the next of the list: nothing is lost or said twice."""
    whole = list(islice(schedule.starts(when, after, created=after), 20))
    steps, last = [], after
    for _ in range(20):
        one = schedule.next_start(when, last, created=after)
        assert one is not None
        steps.append(one)
        last = one.planned
    assert steps == whole
    assert all(later.planned > one.planned for one, later in pairwise(whole))


@given(when=WHENS, back=st.floats(1, 1e6))
@settings(max_examples=100, deadline=None)
def test_clock_that_is_put_back_names_the_same_starts(when: When, back: float) -> None:
    """Starts found again after the clock was put back have the names that they had."""
    after = 1_790_000_000.0
    later = list(islice(schedule.starts(when, after, created=0.0), 10))
    known = {one.planned: one.name for one in later}
    again = (
        one
        for one in schedule.starts(when, after - back, created=0.0)
        if one.planned >= later[0].planned
    )
    assert {one.planned: one.name for one in islice(again, 10)} == known


@given(seed=st.text(max_size=40), splay=st.floats(0, 1e6))
def test_splay_is_the_nodes_own_and_always_the_same(seed: str, splay: float) -> None:
    """The delay lies within the splay and depends on the seed alone."""
    when = When(splay=splay)
    assert 0 <= schedule.delay(when, seed) <= splay
    assert schedule.delay(when, seed) == schedule.delay(when, seed)


def test_splay_spreads() -> None:
    """A thousand nodes spread evenly: each tenth of the splay has its share."""
    delays = [schedule.delay(When(splay=100.0), f"j/n{number}") for number in range(1000)]
    tenths = [sum(10 * n <= one < 10 * n + 10 for one in delays) for n in range(10)]
    assert min(tenths) > 60
    assert max(tenths) < 150


NOW = moment("2026-11-24T05:10")  # a Tuesday


@pytest.mark.parametrize(
    ("text", "wall", "zone"),
    [
        ("tomorrow 04:00", "2026-11-25T04:00:00", None),
        ("today 23:30", "2026-11-24T23:30:00", None),
        ("04:00", "2026-11-25T04:00:00", None),
        ("5:11", "2026-11-24T05:11:00", None),
        ("fri 22:30:15", "2026-11-27T22:30:15", None),
        ("tuesday 04:00", "2026-12-01T04:00:00", None),
        ("Tue 06:00", "2026-11-24T06:00:00", None),
        ("2026-11-25 04:00", "2026-11-25T04:00:00", None),
        ("2026-11-25T04:00", "2026-11-25T04:00:00", None),
        ("2026-11-25", "2026-11-25T00:00:00", None),
        ("+2s", "2026-11-24T04:10:02", "UTC"),
        ("+ 1h30m", "2026-11-24T05:40:00", "UTC"),
        ("now", "2026-11-24T04:10:00", "UTC"),
    ],
)
def test_what_operators_write(text: str, wall: str, zone: str | None) -> None:
    """Days, times of day, dates and lengths are read against the operator's own clock."""
    assert schedule.parse_at(text, NOW, VIENNA) == (wall, zone)


@pytest.mark.parametrize(
    ("clock", "day"), [("02:30", "2026-10-26"), ("02:10", "2026-10-26"), ("03:00", "2026-10-25")]
)
@pytest.mark.parametrize("word", ["", "sun "])
def test_what_is_over_is_not_what_comes(clock, day, word):
    """Asked at 02:15 for the second time, 02:30 is not today's, which was first: it would begin at once."""
    now = moment("2026-10-25T02:15", fold=1)
    wall, _zone = schedule.parse_at(word + clock, now, VIENNA)
    later = {"2026-10-26": "2026-11-01"}.get(day, day) if word else day
    assert wall == f"{later}T{clock}:00"
    assert schedule.instant(wall, VIENNA) > now


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "25:00",
        "24:61",
        "tomorrow",
        "blursday 04:00",
        "monkey 04:00",
        "su 04:00",
        "+2 fortnights",
    ],
)
def test_what_is_no_time(text: str) -> None:
    """What is no time is refused with what was meant."""
    with pytest.raises(UsageError, match="at"):
        schedule.parse_at(text, NOW, VIENNA)


@pytest.mark.parametrize("text", ["91d", "25:00", "2026-11-25T04:00+01:00", "1821-01-01 00:00"])
def test_an_end_that_is_no_time_is_called_the_end(text: str) -> None:
    """What `--until` was given is refused as `until`, not as the `at` that nobody wrote."""
    with pytest.raises(UsageError, match=f"^until {re.escape(repr(text))}: "):
        read_when({"every": 3600.0, "until": text}, NOW, 3600.0)


@given(text=st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail in another way, and what it reads is a wall time."""
    try:
        wall, zone = schedule.parse_at(text, NOW, VIENNA)
    except UsageError:
        return
    schedule.check(When(at=wall, tz=zone or "node"))


@pytest.mark.parametrize(
    "when",
    [
        When(cron="* * * *"),
        When(cron="61 * * * *"),
        When(cron="0 0 31 2 *"),
        When(cron="0 4 * * *", at="2026-01-01T00:00"),
        When(cron="0 4 * * *", every=5.0),
        When(every=0.0),
        When(at="soon"),
        When(at="2026-01-01T00:00+01:00"),
        When(at="0001-01-01T00:00", tz="Asia/Tokyo"),  # no instant of the calendar
        When(at="9999-12-31T23:59", tz="America/New_York"),
        When(cron=f"{','.join(['*/1'] * 50_000)} * * * *"),  # read again at each look
        When(tz="Mars/Base"),
        When(tz="../../etc/passwd"),
        When(splay=-1.0),
        When(late=float("nan")),
    ],
)
def test_what_cannot_be_is_refused(when: When) -> None:
    """Contradictions and nonsense are found before anything is signed."""
    with pytest.raises(UsageError):
        schedule.check(when)


@pytest.mark.parametrize("year", ["0001-01-01", "1969-12-31", "2200-01-01", "9999-12-31"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York"])
def test_a_year_off_the_calendar_is_refused(year: str, zone: str) -> None:
    """By who submits it as by the node that is sent it, in whatever zone."""
    with pytest.raises(UsageError, match="a year from 1970 to 2199"):
        schedule.parse_at(f"{year} 00:00", 0.0, ZoneInfo(zone))
    with pytest.raises(UsageError, match="a year from 1970 to 2199"):
        schedule.check(When(at=f"{year}T00:00", tz=zone))
