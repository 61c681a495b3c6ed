"""`sql`: SQLite's language over one session, read-only.

Three tables: `replies` (requestid, sender, state, statuscode, statusmsg, data, lag, late, trust),
`ledger` and `requests` (requestid, agent, action, via, collective, created, expires, filter,
inputs, pool). `data` is JSON: `data ->> '$.version'`. They are views on the session file, so nothing
is copied, and what only the file may know (the signed bytes) is out of reach.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from mcshell.client.store.records import data_of
from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["query"]

_VIEWS = """
CREATE TEMP VIEW requests AS SELECT id AS requestid, agent, action, via, collective, created,
    expires, filter, data AS inputs, pool FROM file.requests ORDER BY number;
CREATE TEMP VIEW ledger AS SELECT request AS requestid, coalesce(nullif(worker, ''), sender) AS
    sender, state, late, duplicate, unexpected, sent, received, running, done, attempt, reason
    FROM file.targets ORDER BY request, place;
CREATE TEMP VIEW replies AS SELECT t.request AS requestid, coalesce(nullif(t.worker, ''), t.sender)
    AS sender, t.state, t.statuscode, coalesce(t.statusmsg, t.reason) AS statusmsg,
    outputs(r.body) AS data, t.done - t.sent AS lag, t.late, t.trust
    FROM file.targets t LEFT JOIN file.replies r ON r.request = t.request
    AND r.sender = coalesce(nullif(t.worker, ''), t.sender) AND r.sequence = t.sequence
    ORDER BY t.request, t.place;
"""
_NAMES = ("requests", "ledger", "replies")
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_STEPS = 100_000  # of SQLite's machine, between two looks at Ctrl-C


def query(path: Path, text: str) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Run one query on a session file: the names of its columns, and its rows.

    Raises:
        UsageError: what SQLite says of it, in a line; or it is more than a question.
    """
    problems: list[BaseException] = []
    db = sqlite3.connect(":memory:", uri=True, isolation_level=None)
    try:
        db.create_function("outputs", 1, _guarded(_outputs, problems), deterministic=True)
        db.execute("ATTACH ? AS file", (f"{path.absolute().as_uri()}?mode=ro",))
        db.executescript(_VIEWS)
        db.set_authorizer(_allow)
        db.set_progress_handler(lambda: 0, _STEPS)  # Python looks at its signals there
        cursor = db.execute(text)
        if cursor.description is None:
            raise UsageError("sql: a question is meant: SELECT …")
        return _unique([one[0] for one in cursor.description]), cursor.fetchall()
    except (sqlite3.Error, sqlite3.Warning, UnicodeError) as error:
        if problems:
            raise problems[0] from error
        said = " ".join(str(error).split())
        if said == "interrupted":
            raise KeyboardInterrupt from None
        if "prohibited" in said or "not authorized" in said or "readonly" in said:
            raise UsageError(
                f"sql: {said}: only the tables {', '.join(_NAMES)} can be asked, and only read"
            ) from error
        raise UsageError(f"sql: {said}") from error
    finally:
        db.close()


def _guarded(function: Callable[..., Any], problems: list[BaseException]) -> Callable[..., Any]:
    """Keep what SQLite would swallow: what is wrong with a stored reply."""

    def guarded(*values: Any) -> Any:
        try:
            return function(*values)
        except BaseException as error:
            problems.append(error)
            raise

    return guarded


def _outputs(body: bytes | None) -> str | None:
    return None if body is None else json.dumps(data_of(body), ensure_ascii=False, default=_bytes)


def _bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$base64": base64.b64encode(value).decode("ascii")}
    return dict(value)


def _allow(
    code: int, name: str | None, _column: str | None, database: str | None, view: str | None
) -> int:
    """Let a query read the three views, and the file only through them."""
    if code in _READING:
        return sqlite3.SQLITE_OK
    if code == sqlite3.SQLITE_READ and (database != "file" or view in _NAMES):
        return sqlite3.SQLITE_OK
    del name
    return sqlite3.SQLITE_DENY


def _unique(names: list[str]) -> tuple[str, ...]:
    """Names that can be those of a table's columns: a second `sender` becomes `sender_2`."""
    found: list[str] = []
    for name in names:
        word, count = name, 1
        while word in found:
            count += 1
            word = f"{name}_{count}"
        found.append(word)
    return tuple(found)
