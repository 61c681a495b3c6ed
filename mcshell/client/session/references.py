"""How an operator names an earlier request: by its id, by what it asked, by when.

5f1c9a          an id, or its first letters
package.status  the newest that asked this
@7d             the newest as of seven days ago
@yesterday      the newest of yesterday (also @today)
package.status@2026-11-20T09:00
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import TYPE_CHECKING

from mcshell import config
from mcshell.errors import UsageError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.client.store.records import RequestRecord

__all__ = ["Moment", "Reference", "newest", "parse_moment", "parse_reference"]

_REFERENCE = re.compile(r"(?:([a-z0-9_-]+)\.([A-Za-z0-9_-]+))?(?:@(.*))?", re.DOTALL)
_DAYS = {"today": 0, "yesterday": 1}


@dataclass(frozen=True, slots=True)
class Moment:
    """A time to look back to, or a day: from `since` to `until`, epoch seconds."""

    text: str
    until: float
    since: float = 0.0

    def holds(self, record: RequestRecord) -> bool:
        """Whether a request was made in it."""
        return self.since <= record.created <= self.until


@dataclass(frozen=True, slots=True)
class Reference:
    """What is asked for, where it is no id: an action ("" for any), and a moment if one is named."""

    agent: str
    action: str
    moment: Moment | None

    def fits(self, record: RequestRecord) -> bool:
        """Whether a request is one that is meant."""
        if self.agent and (record.agent, record.action) != (self.agent, self.action):
            return False
        return self.moment is None or self.moment.holds(record)


def parse_reference(text: str) -> Reference | None:
    """Read `AGENT.ACTION`, `@MOMENT` or both; None for what can only be an id.

    Raises:
        UsageError: there is no such moment.
    """
    found = _REFERENCE.fullmatch(text)
    if not text or found is None:
        return None
    agent, action, moment = found.groups()
    return Reference(agent or "", action or "", None if moment is None else parse_moment(moment))


def parse_moment(text: str) -> Moment:
    """Read `now`, a time ago like `7d`, `today`, `yesterday`, or a local date and time.

    Raises:
        UsageError: it is none of these.
    """
    now = time.time()
    if text == "now":
        return Moment(text, now)
    if text in _DAYS:
        day = datetime.fromtimestamp(now, UTC).astimezone().date() - timedelta(days=_DAYS[text])
        ends = (datetime.combine(one, clock()) for one in (day, day + timedelta(days=1)))
        begin, end = (one.astimezone().timestamp() for one in ends)
        return Moment(text, end, begin)
    with suppress(ValueError):  # it may be a date
        if (ago := config.seconds(text)) <= now:
            return Moment(text, now - ago)
    try:
        return Moment(text, datetime.fromisoformat(text).astimezone().timestamp())
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"@{text}: @now, @yesterday, a time ago like @7d, or a date like @2026-11-20T09:00 is meant"
        ) from error


def newest(
    history: Iterable[tuple[RequestRecord, object]], fits: Callable[[RequestRecord], bool]
) -> RequestRecord | None:
    """The newest request that fits; `history` (`Store.requests`) has the oldest first."""
    records = [record for record, _counts in history]
    return next((one for one in reversed(records) if fits(one)), None)
