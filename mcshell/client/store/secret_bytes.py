"""What a session file holds of secret inputs, and for how long: their bytes go, their digests stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

__all__ = ["forget"]

_GOES_ON: Final = (
    "EXISTS (SELECT 1 FROM targets t WHERE t.request=jobs.request AND t.unexpected=0"
    " AND t.state IN ('pending', 'received', 'running'))"
)
#: Whether what went out has handed in, or edited, a job that goes on somewhere.
_OF_OPEN_JOB: Final = (
    "EXISTS (SELECT 1 FROM requests r JOIN jobs ON jobs.id=CASE WHEN r.agent='job' AND"  # noqa: S608 - our own text
    " r.action='edit' THEN json_extract(r.data, '$.job') ELSE r.id END"
    f" WHERE r.id=outgoing.request AND {_GOES_ON})"
)
_SENT: Final = (
    "UPDATE outgoing SET body=x'', signature='' WHERE length(body)>0"  # noqa: S608 - our own text
    " AND request IN (SELECT request FROM secrets)"
    f" AND (:all OR NOT {_OF_OPEN_JOB} AND ("
    " (SELECT r.expires FROM requests r WHERE r.id=outgoing.request)<:now"
    " OR (SELECT t.state FROM targets t WHERE t.request=outgoing.request"
    " AND t.sender=outgoing.sender)<>'pending'))"
)
_JOBS: Final = (
    "UPDATE jobs SET body=x'' WHERE length(body)>0"  # noqa: S608 - our own text
    f" AND id IN (SELECT request FROM secrets) AND (:all OR NOT {_GOES_ON})"
)


def forget(db: sqlite3.Connection, now: float, *, all_of_them: bool) -> None:
    """Drop the bytes with secrets that are needed no more.

    Those of a request when its node has it or its time is over; those of a job, and of what edited
    it, when it has come to its end everywhere. `all_of_them`: whatever is still to be done with them.
    """
    said = {"now": now, "all": all_of_them}
    db.execute(_SENT, said)
    db.execute(_JOBS, said)
    if all_of_them:
        db.execute("DELETE FROM plans WHERE id IN (SELECT request FROM secrets)")
