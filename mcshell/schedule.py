"""When a job starts: wall time and zone made into instants, right on both sides of a clock change.

Pure: no I/O beside the zone files, no clock; the time is passed in. A start that falls into the
hour that spring leaves out happens when that hour is over; one that autumn has twice happens the
first time, so what is due once a day is done once a day. `cron` fields with a star in the hour or
the minute follow the clock as it runs (both as Debian's cron). `every` counts seconds, whatever the
clock on the wall does.
"""

from __future__ import annotations

import hashlib
import os
import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcshell.errors import UsageError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from mcshell.message import When

__all__ = [
    "NODE",
    "Start",
    "check",
    "delay",
    "instant",
    "local_zone",
    "next_start",
    "parse_at",
    "starts",
    "zone_of",
]

NODE: Final = "node"
"""The zone of each node, by its own settings."""

_WEEKDAYS: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)
_SHORT: Final = 3
_IN: Final = re.compile(r"\+\s*(.+)")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_LOCAL: Final = Path("/etc/localtime")
_FIELDS: Final = 5
_LONGEST_CRON: Final = 1000
"""Letters: one that names every minute, hour, day, month and weekday has 400."""
_YEARS: Final = range(1970, 2200)
"""Of a wall time: near the ends of the calendar there is no instant in some zones, and no next start."""
_SHORTEST: Final = 1.0
_LARGEST: Final = 4e9
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Start:
    """One start: its name (wall time), the instant that is, and with the splay of a node added."""

    name: str
    planned: float
    due: float


def zone_of(name: str, node: tzinfo = UTC) -> tzinfo:
    """Return the zone of a name; `node` is what "node" means here.

    Raises:
        UsageError: there is no such zone.
    """
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - an idle daemon needs no zones

    if name == NODE:
        return node
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise UsageError(
            f"no time zone {name[:60]!r}: an IANA name such as Europe/Vienna is meant"
        ) from None


def local_zone() -> tzinfo:
    """The zone of this machine, by TZ or its settings; UTC where there is none."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - as above

    if name := os.environ.get("TZ", "").lstrip(":"):
        try:
            return ZoneInfo(name)
        except (ValueError, OSError, LookupError):
            pass  # a zone of the C library's own form
    try:
        with _LOCAL.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


def instant(wall: str, zone: tzinfo) -> float:
    """The instant (epoch) of a wall time in a zone; raises UsageError."""
    return _instant(_wall(wall), zone).timestamp()


def check(when: When) -> None:
    """Refuse what cannot be a time; raises UsageError."""
    zone_of(when.tz)
    if when.at is not None:
        _wall(when.at)
    if when.cron is not None:
        if when.every is not None or when.at is not None:
            raise UsageError("cron does not go with at or every")
        _cron(when.cron, datetime(2000, 1, 1, tzinfo=UTC))
    if when.every is not None and not _SHORTEST <= when.every <= _LARGEST:
        raise UsageError(f"every {when.every:g} s: at least {_SHORTEST:g} s is meant")
    for name in ("splay", "late"):
        if not 0 <= getattr(when, name) <= _LARGEST:
            raise UsageError(f"{name}: no length of time: {getattr(when, name):g} s")


def delay(when: When, seed: str) -> float:
    """Seconds that a node adds to its starts: always the same for one `seed` (job, identity)."""
    if not when.splay:
        return 0.0
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    return number / 2**64 * when.splay


def next_start(
    when: When, after: float, *, seed: str = "", node: tzinfo = UTC, created: float = 0.0
) -> Start | None:
    """The first start whose planned time is later than `after` (epoch); None when there is none.

    Args:
        when: the job's.
        after: an instant; for the very first start, anything before it.
        seed: what the splay is drawn from, job id and identity.
        node: the zone that "node" stands for.
        created: when the job was made; `every` counts from it, unless it says `at`.
    """
    return next(starts(when, after, seed=seed, node=node, created=created), None)


def starts(
    when: When, after: float, *, seed: str = "", node: tzinfo = UTC, created: float = 0.0
) -> Iterator[Start]:
    """All starts whose planned time is later than `after`, in order; perhaps without an end."""
    wait = delay(when, seed)
    zone = zone_of(when.tz, node)
    if when.cron is not None:
        moments = _by_cron(when.cron, after, zone)
    elif when.every is not None:
        begin = created if when.at is None else instant(when.at, zone)
        moments = _by_length(begin, when.every, after)
    else:
        moment = created if when.at is None else instant(when.at, zone)
        moments = iter([moment] if moment > after else [])
    for moment in moments:
        yield Start(_name(moment, zone), moment, moment + wait)


def _by_length(begin: float, every: float, after: float) -> Iterator[float]:
    number = 0 if after < begin else int((after - begin) // every) + 1
    while True:
        moment = begin + number * every
        number += 1
        if moment > after:
            yield moment


def _by_cron(text: str, after: float, zone: tzinfo) -> Iterator[float]:
    before = after
    for found in _cron(text, datetime.fromtimestamp(after, zone)):
        moment = found.timestamp()
        # Within the hour that autumn has twice, the first one would be said again.
        if moment > before:
            before = moment
            yield moment


def _cron(text: str, after: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only such jobs need it

    if len(text) > _LONGEST_CRON:
        raise UsageError(f"cron {text[:60]!r}…: at most {_LONGEST_CRON} characters are meant")
    if len(text.split()) != _FIELDS:
        raise UsageError(f"cron {text[:60]!r}: five fields are meant, such as '0 4 * * 1'")
    try:
        found: Iterator[datetime] = CronSim(text, after)
    except CronSimError as error:
        raise UsageError(f"cron {text[:60]!r}: {error}") from None
    return found


def _wall(text: str, name: str = "at") -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{name} {text[:60]!r}: a wall time such as 2026-11-25T04:00 is meant"
        ) from None
    if moment.tzinfo is not None:
        raise UsageError(f"{name} {text[:60]!r}: a wall time has no offset; the zone is tz")
    if moment.year not in _YEARS:
        raise UsageError(
            f"{name} {text[:60]!r}: a year from {_YEARS.start} to {_YEARS.stop - 1} is meant"
        )
    return moment


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    """The instant of a wall time: the first of two; after the gap, where there is none."""
    moment = wall.replace(tzinfo=zone, fold=0)
    back = moment.astimezone(UTC).astimezone(zone)
    if back.replace(tzinfo=None) == wall:
        return moment
    # In a gap. The two readings of the wall time bracket the change: find the first minute after.
    low = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    high = moment.astimezone(UTC)
    offset = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    whole = high.replace(second=0, microsecond=0)
    return whole if whole.astimezone(zone).utcoffset() == offset else whole + _MINUTE


def _name(moment: float, zone: tzinfo) -> str:
    """The name of a start: its wall time; the second of two equal ones is marked."""
    wall = datetime.fromtimestamp(moment, zone)
    text = wall.replace(tzinfo=None).isoformat(timespec="auto" if wall.microsecond else "minutes")
    if wall.second and not wall.microsecond:
        text = wall.replace(tzinfo=None).isoformat(timespec="seconds")
    return f"{text}/2" if wall.fold else text


def parse_at(text: str, now: float, zone: tzinfo, *, name: str = "at") -> tuple[str, str | None]:
    """Read `--at`: "tomorrow 04:00", "fri 22:30", "2026-11-25 04:00", "04:00", "+2h", "now".

    `name` is what it was given as, for whoever has to look for it.

    Returns:
        The wall time, and the zone it is in where the text itself says so ("+2h" is so long from
        now, wherever the node is); None leaves it to `--tz`.

    Raises:
        UsageError: it is none of these.
    """
    words = text.strip().lower()
    if (found := _IN.fullmatch(words)) is not None or words == "now":
        length = _length(found[1]) if found is not None else 0.0
        moment = datetime.fromtimestamp(now + length, UTC)
        return moment.replace(tzinfo=None).isoformat(), "UTC"
    here = datetime.fromtimestamp(now, zone).replace(tzinfo=None)
    day, _, clock = words.rpartition(" ")
    if _CLOCK.fullmatch(clock) is not None:
        at = _time(clock, text, name)
        today = datetime.combine(here.date(), at)
        # by the instant: within the hour that autumn has twice a later wall time may be over
        ahead = _instant(today, zone).timestamp() > now
        if not day:
            return (today if ahead else today + timedelta(days=1)).isoformat(), None
        if (named := _day(day.strip(), here.date(), ahead)) is not None:
            return datetime.combine(named, at).isoformat(), None
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"{name} {text[:60]!r}: tomorrow 04:00, fri 22:30, 2026-11-25 04:00, 04:00 or +2h is meant"
        ) from None
    return _wall(text.strip(), name).isoformat(), None


def _day(word: str, today: date, ahead: bool) -> date | None:  # noqa: FBT001 - private
    if word in ("today", "tomorrow"):
        return today + timedelta(days=word == "tomorrow")
    named = [n for n, day in enumerate(_WEEKDAYS) if len(word) >= _SHORT and day.startswith(word)]
    if named:
        days = (named[0] - today.weekday()) % 7
        return today + timedelta(days=days if days or ahead else 7)
    return None


def _time(clock: str, text: str, name: str) -> time:
    found = _CLOCK.fullmatch(clock)
    assert found is not None, "asked before"
    try:
        return time(int(found[1]), int(found[2]), int(found[3] or 0))
    except ValueError:
        raise UsageError(f"{name} {text[:60]!r}: there is no such time of day") from None


def _length(text: str) -> float:
    from mcshell.config import read_duration  # noqa: PLC0415 - the settings, for their units

    try:
        return read_duration(text)
    except ValueError as error:
        raise UsageError(f"at '+{text[:60]}': {error}") from None
