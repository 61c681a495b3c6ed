"""What a day's sessions show afterwards: verified again, written up as a notebook, no byte changed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.incident.conftest import EACH

if TYPE_CHECKING:
    from tests.incident.conftest import Day


def test_a_day_is_as_it_was_written(day: Day) -> None:
    """Each request of both sessions is a row that is ok: a session by its name, a file by its path."""
    for what in ("day-alice", "bob.mcs"):
        code, rows, notes = day.verify(what)
        assert [row for row in rows if not row["ok"]] == [], notes
        assert code == 0, notes
        assert len(rows) >= EACH
        assert Counter(row["proof"] for row in rows)["signed"] >= EACH
        assert "nobody signs" in notes
        assert "no audit log was given" in notes
