"""From the words of an operator to the values of a job: its terms, times, and the changes of an edit."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mcshell import schedule
from mcshell.client.arguments import Duration, seconds_of
from mcshell.errors import UsageError
from mcshell.message import LATE, When
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from mcshell.client.jobs.replies import JobReplies
    from mcshell.ddl import Action
    from mcshell.message import Job

__all__ = [
    "WORDS",
    "JobTerms",
    "first_start",
    "moment_of",
    "read_when",
    "refuse_past",
    "revised",
    "terms_in",
]

WORDS: Final = ("at", "cron", "every", "tz", "splay", "late", "until")
"""The words about time."""
_RECURS_FOR: Final = 90 * 86_400.0
_MOMENT: Final = "'fri 22:30', or a datetime that has a zone"
_JUST_NOW: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTerms:
    """What a job says of itself beside its action and inputs. Lengths are seconds, or text as "30m".

    `at`: wall time ("tomorrow 04:00", "2026-11-25 04:00"), "+2h" or a datetime that has a zone; by
    default at once. `cron`: five fields, such as "0 4 * * 1". `every`: a length, counted from `at` or
    from now on. `tz`: "node" for the zone of each node, or an IANA name. `splay`: the starts of the nodes
    are spread over so long.
    `late`: how long after its time a start is still worth it (1 h; without a time: the ttl). `until`:
    no start after that; what recurs ends after 90 days by default.

    `after`: jobs that have to end before: a job, "JOB:ok" (the same), ":failed", ":done". `name`: for
    people. `retries`: how often a failed run is tried again. `backoff`: the wait before the first
    retry; it doubles. `max_runtime`: in place of the DDL's timeout.
    """

    at: str | datetime | None = None
    cron: str | None = None
    every: Duration | None = None
    tz: str = schedule.NODE
    splay: Duration = 0.0
    late: Duration | None = None
    until: str | float | datetime | None = None
    after: str | JobReplies | Iterable[str | JobReplies] = ()
    name: str = ""
    retries: int = 0
    backoff: Duration = 60.0
    max_runtime: Duration | None = None

    @property
    def times(self) -> dict[str, Any]:
        """The words about time."""
        return {word: getattr(self, word) for word in WORDS}


def terms_in(others: dict[str, Any]) -> JobTerms:
    """Take the terms of a job out of `others`; what is None there is as if it were not said."""
    names = [one.name for one in fields(JobTerms) if one.name in others]
    said = {name: others.pop(name) for name in names}
    return JobTerms(**{name: value for name, value in said.items() if value is not None})


def read_when(said: Mapping[str, Any], now: float, ttl: float) -> When:
    """Read the words about time; one that is missing or None has its default.

    `ttl` is how late a job without a time of its own may start; what recurs ends after 90 days.

    Raises:
        UsageError: there is no such time or zone.
    """
    named = said.get("tz") or schedule.NODE
    said = _readable(said)
    zone = said.get("tz") or schedule.NODE
    local = schedule.local_zone()
    here = schedule.zone_of(zone, local)
    at, cron, every = said.get("at"), said.get("cron"), seconds_of(said.get("every"))
    if at is not None:
        at, own = schedule.parse_at(at, now, here)
        zone = own or zone
    late = seconds_of(said.get("late"))
    if late is None:
        late = LATE if at or cron or every else ttl
    until = moment_of("until", said.get("until"), now, named)  # that `at` is in UTC nobody has said
    if until is None and (cron or every):
        until = now + _RECURS_FOR
    when = When(
        at=at,
        cron=cron,
        every=every,
        tz=zone,
        splay=seconds_of(said.get("splay")) or 0.0,
        late=late,
        until=until,
    )
    schedule.check(when)
    return when


def _readable(said: Mapping[str, Any]) -> dict[str, Any]:
    """The words as a line has them: of a datetime (pandas' too) the moment that it is.

    Raises:
        UsageError: one is neither text nor that; a datetime without a zone, whose zone would be a guess.
    """
    found = dict(said)
    at = said.get("at")
    if isinstance(at, datetime) and at.tzinfo is not None:
        found |= {"at": at.astimezone(UTC).replace(tzinfo=None).isoformat(), "tz": "UTC"}
    for word, meant in (("at", _MOMENT), ("cron", "'0 4 * * 1'"), ("tz", "'Europe/Vienna'")):
        value = found.get(word)
        if not (value is None or isinstance(value, str)):
            raise UsageError(f"{word} {value!r}: text is meant, such as {meant}")
    return found


def moment_of(word: str, value: Any, now: float, zone: str = schedule.NODE) -> float | None:
    """The seconds since the epoch of a moment: of text, of such seconds, or of a datetime (pandas' too).

    Raises:
        UsageError: it is none of these; a datetime without a zone, whose zone would be a guess.
    """
    if isinstance(value, str):
        local = schedule.local_zone()
        here = schedule.zone_of(zone, local)
        wall, own = schedule.parse_at(value, now, here, name=word)
        return schedule.instant(wall, schedule.zone_of(own or zone, local))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    if value is None or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    raise UsageError(f"{word} {value!r}: text is meant, such as {_MOMENT}")


def first_start(
    job: Job, sender: str, zone: tzinfo, after: float | None = None
) -> schedule.Start | None:
    """The first start of a job on a node in this zone, or the first that is later than `after`."""
    if after is None:
        after = job.created if job.when.recurs else float("-inf")
    seed = f"{job.id}/{sender}"
    return schedule.next_start(job.when, after, seed=seed, node=zone, created=job.created)


def refuse_past(when: When, now: float, zones: Iterable[tzinfo]) -> None:
    """Refuse what is over already in each of `zones`, those of its nodes.

    Raises:
        UsageError: its time, or its end, is past; or it would end before its first start.
    """
    if when.until is not None and when.until < now - _JUST_NOW:
        raise UsageError(f"until {_told(when.until, UTC)} is past: no start would be")
    found = []
    for zone in {schedule.zone_of(when.tz, one) for one in zones}:
        start = schedule.next_start(
            when, now if when.recurs else float("-inf"), node=zone, created=now
        )
        if start is None:
            raise UsageError("it would never start")
        found.append((start.planned, zone))
    first, zone = max(found, key=lambda one: one[0])
    where = "" if when.tz != schedule.NODE else " (by the zone of its nodes; --tz names another)"
    if first < now - _JUST_NOW:
        raise UsageError(f"at {_told(first, zone)} is past{where}: it would never start")
    first, zone = min(found, key=lambda one: one[0])
    if when.until is not None and when.until < first:
        raise UsageError(
            f"until {_told(when.until, zone)} is before the first start, {_told(first, zone)}{where}"
        )


def _told(moment: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(moment, zone).isoformat(" ", "seconds")


def revised(old: Job, changes: Mapping[str, Any], action: Action, now: float) -> Job:
    """The next revision of a job; what is no word about it is an input of its action.

    Raises:
        UsageError: there is no such time; InputError: an input that the DDL refuses.
    """
    left = dict(changes)
    said: dict[str, Any] = {name: left.pop(name) for name in WORDS if name in left}
    plain: dict[str, Any] = {
        name: left.pop(name) for name in ("name", "retries", "after") if name in left
    }
    for name in ("backoff", "max_runtime"):
        if name in left:
            plain[name] = seconds_of(left.pop(name))
    data = action.check({**old.data, **(left.pop("inputs", None) or {}), **left})
    return replace(
        old, revision=old.revision + 1, when=_when(old.when, said, now), data=data, **plain
    )


def _when(old: When, said: Mapping[str, Any], now: float) -> When:
    if not said:
        return old
    # One that was said as so long from now: that it is in UTC was nobody's choice.
    moment = old.tz == "UTC" and old.at is not None and "." in old.at
    kept = {name: getattr(old, name) for name in ("splay", "late", "until")}
    when = read_when({"tz": schedule.NODE if moment else old.tz, **kept, **said}, now, old.late)
    if said.keys() & {"at", "cron", "every"}:
        return when
    if moment and said.get("tz") not in (None, old.tz):
        raise UsageError(
            f"tz {said['tz']!r}: {old.at} UTC is the same moment in each zone; say at, too"
        )
    zone = old.tz if moment else when.tz
    when = replace(when, at=old.at, cron=old.cron, every=old.every, tz=zone)
    schedule.check(when)
    return when
