"""From the words of an operator to the values of a job: times, and the changes of an edit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcshell import schedule
from mcshell.client.discovery.targeting import seconds_of
from mcshell.message import LATE, When

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.ddl import Action
    from mcshell.message import Job

__all__ = ["WORDS", "read_when", "revised"]

WORDS: Final = ("at", "cron", "every", "tz", "splay", "late", "until")
"""The words about time."""
_RECURS_FOR: Final = 90 * 86_400.0


def read_when(said: Mapping[str, Any], now: float, ttl: float) -> When:
    """Read the words about time; one that is missing or None has its default.

    `ttl` is how late a job without a time of its own may start; what recurs ends after 90 days.

    Raises:
        UsageError: there is no such time or zone.
    """
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
    until = said.get("until")
    if isinstance(until, str):
        wall, own = schedule.parse_at(until, now, here)
        until = schedule.instant(wall, schedule.zone_of(own or zone, local))
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
    kept = {name: getattr(old, name) for name in ("tz", "splay", "late", "until")}
    when = read_when({**kept, **said}, now, old.late)
    if said.keys() & {"at", "cron", "every"}:
        return when
    when = replace(when, at=old.at, cron=old.cron, every=old.every)
    schedule.check(when)
    return when
