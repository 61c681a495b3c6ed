"""`sql`: SQLite's language over all sessions, read-only.

=========  =====================================================================================
requests   requestid, agent, action, via, collective, created, expires, filter, inputs, pool, session
ledger     requestid, sender, state, late, duplicate, unexpected, sent, received, running, done,
           attempt, reason, session
replies    requestid, sender, state, statuscode, statusmsg, data, lag, late, trust, session
nodes      sender, seen, version, facts, classes, agents, collective, trust: what is known of each
=========  =====================================================================================

And for each action that was asked, `"package.status"`, also called `package_status`: its replies with
a column for each output of the DDL, of its type, and `facts`. What is nested (`data`, `facts`, `inputs`)
is JSON: `facts ->> '$.os.name'`, `json_each(facts, '$.mountpoints')`. An output that is not of its type is only in `data`.

These are views. What only the files may know (the signed bytes) is out of reach, outputs are read from
the replies when a query looks at them, and no text of a node's becomes SQL.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import sqlite3
import time
from contextlib import ExitStack, closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mcshell import interrupts, table
from mcshell.client.pki import pki_of
from mcshell.client.rpc.outputs import FIXED, MOST, outputs_of
from mcshell.client.session.session import stores
from mcshell.client.store.bodies import whole
from mcshell.client.store.records import data_of
from mcshell.ddl.types import coerce
from mcshell.errors import (
    ConfigError,
    DDLError,
    MachineError,
    SessionError,
    Stopped,
    UsageError,
    did_you_mean,
)
from mcshell.storage import is_storage_fault
from mcshell.table import distinct
from mcshell.values import dataclass
from mcshell.wire.credentials import load_realm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.ddl import Action
    from mcshell.ddl.ddl_library import Library

__all__ = ["QueryBounds", "Sources", "answer", "as_json", "query", "some_rows", "sources"]

_TABLES = """
CREATE TABLE asked (requestid UNIQUE, agent, action, via, collective, created, expires, filter, inputs,
    pool, session);
CREATE TABLE targets (requestid, place, author, state, late, duplicate, unexpected, sent, received,
    running, done, attempt, reason, sequence, statuscode, statusmsg, trust);
"""
_ASKED = """
INSERT OR IGNORE INTO asked SELECT id, agent, action, via, collective, created, expires, filter, data,
    pool, ? FROM file.requests ORDER BY number
"""
_TARGETS = """
INSERT INTO targets SELECT t.request, place, coalesce(nullif(worker, ''), sender), state, late, duplicate,
    unexpected, sent, received, running, done, attempt, reason, sequence, statuscode, statusmsg, trust
    FROM asked a JOIN file.targets t ON t.request = a.requestid WHERE a.session = ?
"""
_VIEWS = """
CREATE INDEX place ON targets (requestid, place);
CREATE TEMP VIEW requests AS SELECT * FROM asked;
CREATE TEMP VIEW ledger AS SELECT requestid, author AS sender, state, late, duplicate, unexpected, sent,
    received, running, done, attempt, reason, session FROM asked CROSS JOIN targets USING (requestid);
CREATE TEMP VIEW replies AS SELECT requestid, author AS sender, state, statuscode,
    coalesce(statusmsg, reason) AS statusmsg, output(session, requestid, author, sequence) AS data,
    done - sent AS lag, late, trust, session FROM asked CROSS JOIN targets USING (requestid);
"""
_NODES = """
CREATE TEMP VIEW nodes AS SELECT identity AS sender, seen, json_extract(about, '$.version') AS version,
    json_extract(about, '$.facts') AS facts, json_extract(about, '$.classes') AS classes,
    json_extract(about, '$.agents') AS agents, collective,
    coalesce(json_extract(about, '$.trust'), 'mcs') AS trust FROM {known}.nodes WHERE realm = {realm};
"""
_FACTS = """(SELECT json_extract(about, '$.facts') FROM {known}.nodes k WHERE realm = {realm}
    AND k.collective = asked.collective AND identity = author)"""
_VIEW = """
CREATE TEMP VIEW {name} AS SELECT requestid, created, author AS sender, state, statuscode,
    coalesce(statusmsg, reason) AS statusmsg, {outputs} done - sent AS lag, late, trust, session,
    inputs, output(session, requestid, author, sequence) AS data, {facts} AS facts
    FROM asked CROSS JOIN targets USING (requestid) WHERE agent = {agent} AND action = {action};
"""
_LISTS = "SELECT 1 FROM json_each('[]'), json_tree('[]')"
_TAKEN = (*FIXED, "created", "session", "inputs", "data", "facts")
_NAMES = ("requests", "ledger", "replies", "nodes")
_KINDS = {
    **dict.fromkeys(("requestid", "sender", "state", "statusmsg", "reason", "trust"), "string"),
    **dict.fromkeys(("agent", "action", "via", "collective", "pool", "session"), "string"),
    **dict.fromkeys(("filter", "inputs", "data", "facts", "classes", "agents"), "string"),
    **dict.fromkeys(("created", "expires", "sent", "received", "running", "done"), "Float64"),
    **dict.fromkeys(("lag", "seen"), "Float64"),
    **dict.fromkeys(("statuscode", "late", "duplicate", "unexpected", "attempt"), "Int64"),
}
"""The dtypes of the tables' own columns."""
_FROM = re.compile(r"\b(?:from|join)\s+\"?([a-z0-9_-]+[._][a-z0-9._-]+)")
_WORD = re.compile(r"[a-z0-9_-]{1,64}")
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_NO_QUESTIONS = (
    "load_extension",
    "fts3_tokenizer",
)  # functions that take or show addresses and code
_STEPS = 100_000  # of SQLite's machine, between two looks at Ctrl-C
_MOST_ROWS = 1_000_000
_MOST_KEPT = 5_000_000  # of requests and targets: half a gigabyte
_LONGEST = 64 << 20  # bytes of a value, and of a query's text


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What can be asked: session files by name, the first of them first, and what is known of nodes.

    `schema` gives what the DDL says of an agent's action, None where there is none. `known` is the
    file of known nodes, with the realm whose they are.
    """

    sessions: Sequence[tuple[str, Path]]
    schema: Callable[[str, str], Action | None] = lambda _agent, _action: None
    known: tuple[Path, str] | None = None


def sources(
    settings: Settings, ddls: Library, *, session: str | None = None, first: str | None = None
) -> Sources:
    """All session files of this machine, or only `session`; `first` counts where several have a request.

    Raises:
        SessionError: there is no such session.
    """
    files = {store.path.stem: store.path for store in stores(settings.state_dir)}
    if session is not None and session not in files:
        raise SessionError(f"no session {session!r}{did_you_mean(session, files)}", session)
    names = sorted(files, key=lambda name: (name != first, name))

    def schema(agent: str, action: str) -> Action | None:
        try:
            return ddls.joint(agent, action)
        except (UsageError, DDLError):
            return None  # asked with a DDL that this machine does not have

    try:
        realm = load_realm(pki_of(settings))
    except ConfigError:
        realm = ""
    known = settings.state_dir / "nodes.sqlite"
    return Sources(
        sessions=[(name, files[name]) for name in names if session in (None, name)],
        schema=schema,
        known=(known, realm) if realm and known.exists() else None,
    )


def _whole(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryBounds:
    """What one query may cost: seconds, rows, and bytes of them all, each value as `kept` makes it.

    `files`: what it sorts or puts aside may go into temporary files, and is not all in memory.
    """

    seconds: float = 1e9
    rows: int = _MOST_ROWS
    total: int = 1 << 62
    files: bool = True
    kept: Callable[[Any], Any] = _whole


def query(
    asked: Sources, text: str, values: Mapping[str, Any] | None = None
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Run one query: the names of its columns, and its rows. `values` are those of `:name` in it.

    Raises:
        UsageError: what SQLite says of it, in a line; it is more than a question, or its answer more
            than a million rows.
    """
    columns, rows, more = some_rows(asked, text, values)
    if more:
        raise UsageError(f"sql: more than {_MOST_ROWS:,} rows: say LIMIT, or sum them up")
    return columns, rows


def answer(
    asked: Sources, text: str, values: Mapping[str, Any] | None = None
) -> tuple[tuple[str, ...], list[tuple[Any, ...]], dict[str, str]]:
    """As `query`, and the dtypes of columns in which nothing stands.

    Such a column has that of its name in the tables, so that it is the same with rows and without.
    """
    columns, rows = query(asked, text, values)
    filled = {place for row in rows for place, value in enumerate(row) if value is not None}
    empty = [name for place, name in enumerate(columns) if place not in filled]
    if not empty:
        return columns, rows, {}
    known = _kinds_in(asked, text)
    return columns, rows, {name: known[name] for name in empty if name in known}


def _kinds_in(asked: Sources, text: str) -> dict[str, str]:
    """The dtypes by name of the tables that a query speaks of, where they agree."""
    found: dict[str, str] = {}
    for word in dict.fromkeys(_FROM.findall(text.lower())):
        for at in (place for place, letter in enumerate(word) if letter in "._"):
            schema = asked.schema(word[:at], word[at + 1 :])
            for column, _output, said in _outputs(schema) if schema is not None else ():
                kind = "Int64" if said == "boolean" else said  # SQLite has no other word for it
                found[column] = kind if found.get(column, kind) == kind else "object"
    return _KINDS | {name: kind for name, kind in found.items() if kind != "object"}


def some_rows(
    asked: Sources,
    text: str,
    values: Mapping[str, Any] | None = None,
    bounds: QueryBounds = QueryBounds(),  # noqa: B008 - it never changes
) -> tuple[tuple[str, ...], list[tuple[Any, ...]], bool]:
    """As `query`, within `bounds`; and whether there are more rows than fit in.

    Raises:
        UsageError: as `query`; it takes longer.
    """
    problems: list[BaseException] = []
    end = time.monotonic() + bounds.seconds
    with ExitStack() as stack:
        db = stack.enter_context(
            closing(sqlite3.connect(":memory:", uri=True, isolation_level=None))
        )
        bodies = _Bodies(dict(asked.sessions), stack)
        views = [*_NAMES]
        try:
            if not bounds.files:
                db.execute("PRAGMA temp_store = MEMORY")
            output = _guarded(bodies.output, problems)
            db.create_function("output", -1, output, deterministic=True)
            # A query may call anything else by a view's name, and must not know this one.
            known = f"known_{secrets.token_hex(8)}"
            _fill(db, asked, views, known)
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
            db.execute(_LISTS)  # they declare a table when first used, which a query may not
            db.set_authorizer(_allowing(views, known))
            db.set_progress_handler(lambda: _is_over(end), _STEPS)
            given = {name: _parameter(name, value) for name, value in (values or {}).items()}
            cursor = db.execute(text, given)
            if cursor.description is None:
                raise UsageError("sql: a question is meant: SELECT …")
            rows, more = _fetched(cursor, bounds)
            return distinct(one[0] for one in cursor.description), rows, more
        except (sqlite3.Error, sqlite3.Warning, UnicodeError, OverflowError) as error:
            if problems:
                raise problems[0] from error
            if str(error) == "interrupted" and time.monotonic() > end:
                raise UsageError(f"sql: it took longer than {bounds.seconds:g} s") from error
            raise _refusal(error, views, db) from error


def _is_over(end: float) -> bool:
    """Whether a query's time is; what is raised here ends it, too. A client's call has Ctrl-C only noted."""
    interrupts.check()
    return time.monotonic() > end


def _parameter(name: str, value: Any) -> Any:
    """What SQLite takes for a value: lists and hashes are JSON, moments seconds, as in the tables."""
    if isinstance(value, datetime) and value == value:  # noqa: PLR0124 - NaT is not
        if value.tzinfo is None:
            raise UsageError(f"sql: :{name}: {value} has no time zone: a moment is meant")
        return value.timestamp()
    try:
        plain = coerce("any", value)
        return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain
    except (TypeError, ValueError) as error:
        raise UsageError(f"sql: :{name}: {error}") from error


def _fetched(cursor: sqlite3.Cursor, bounds: QueryBounds) -> tuple[list[tuple[Any, ...]], bool]:
    """The rows that fit in, and whether there are more."""
    rows: list[tuple[Any, ...]] = []
    left = bounds.total
    for values in cursor:
        row = tuple(map(bounds.kept, values))
        left -= sum(len(one) if isinstance(one, str | bytes) else 8 for one in row)
        if left < 0 or len(rows) == bounds.rows:
            return rows, True
        rows.append(row)
    return rows, False


def _refusal(error: Exception, views: Sequence[str], db: sqlite3.Connection) -> BaseException:
    """What SQLite says, in a line."""
    said = " ".join(str(error).split())
    if said == "interrupted":
        return Stopped()
    if is_storage_fault(error):
        return MachineError(f"sql: {said}")
    name = said.partition("no such table: ")[2]
    if "prohibited" in said or "not authorized" in said or "readonly" in said or "." in name:
        return UsageError(f"sql: {said}: only these can be asked, and only read: {_some(views)}")
    if name:
        return UsageError(
            f"sql: {said}{did_you_mean(name, views) or f' (there are {_some(views)})'}"
        )
    column = said.partition("no such column: ")[2].rpartition(".")[2]
    return UsageError(f"sql: {said}{did_you_mean(column, _columns(db, views)) if column else ''}")


def _columns(db: sqlite3.Connection, views: Sequence[str]) -> list[str]:
    """All that the views have, theirs first that are always there."""
    each = (db.execute(f'SELECT * FROM "{name}" LIMIT 0').description for name in views)  # noqa: S608 - our own names
    return [one[0] for description in each for one in description]


def _some(views: Sequence[str], most: int = 12) -> str:
    named = [name for name in views if name in _NAMES or "." in name]
    return ", ".join(named[:most]) + (", …" if len(named) > most else "")


def _fill(db: sqlite3.Connection, asked: Sources, views: list[str], known: str) -> None:
    """Bring in who was asked what, and make the views; `views` takes their names.

    The file of known nodes is called `known`.
    """
    db.executescript(_TABLES)
    for name, path in asked.sessions:
        db.execute("ATTACH ? AS file", (_read_only(path),))
        db.execute(_ASKED, (name,))
        db.execute(_TARGETS, (name,))
        db.execute("DETACH file")
        if db.total_changes > _MOST_KEPT:
            raise UsageError(
                f"sql: over {_MOST_KEPT:,} rows in all sessions: --session NAME asks one"
            )
    db.executescript(_VIEWS)
    facts = "NULL"
    if asked.known is not None:
        path, realm = asked.known
        db.execute(f"ATTACH ? AS {known}", (_read_only(path),))
        db.executescript(_NODES.format(known=known, realm=_text(realm)))
        facts = _FACTS.format(known=known, realm=_text(realm))
    pairs = db.execute("SELECT DISTINCT agent, action FROM asked ORDER BY 1, 2").fetchall()
    for agent, action in pairs:
        words = _WORD.fullmatch(str(agent)), _WORD.fullmatch(str(action))
        schema = asked.schema(agent, action) if all(words) else None
        if schema is None:
            continue
        for name in (f"{agent}.{action}", f"{agent}_{action}"):
            if name not in views:
                db.execute(_view(name, schema, facts))
                views.append(name)


def _view(name: str, schema: Action, facts: str) -> str:
    """The view of one action's replies; its names are the DDL's, and quoted."""
    outputs = []
    for column, output, kind in _outputs(schema):
        read = f"output(session, requestid, author, sequence, {_text(output)}, {_text(kind)})"
        outputs.append(f"{read} AS {_quoted(column)}, ")
    return _VIEW.format(
        name=_quoted(name),
        outputs="".join(outputs),
        facts=facts,
        agent=_text(schema.agent),
        action=_text(schema.name),
    )


def _outputs(schema: Action) -> Iterator[tuple[str, str, str]]:
    """Each output that has a column: what that is called, the output, and its dtype."""
    taken = list(_TAKEN)
    kinds = {one: kind for one, kind in outputs_of(schema, ()).kinds.items() if one.isprintable()}
    for output, kind in list(kinds.items())[:MOST]:
        column = output
        while column.lower() in taken:
            column = f"data_{column}"
        taken.append(column.lower())
        yield column, output, kind


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


class _Bodies:
    """Reads what is asked for of the replies, each once for all columns of its row."""

    def __init__(self, paths: Mapping[str, Path], stack: ExitStack) -> None:
        self._paths = paths
        self._stack = stack
        self._open: dict[str, sqlite3.Connection] = {}
        self._last: tuple[Any, Mapping[str, Any]] | None = None

    def output(
        self,
        session: str,
        request: str,
        sender: str,
        sequence: int | None,
        name: str | None = None,
        kind: str = "object",
    ) -> Any:
        """One output of a reply, or as JSON all of them; None where there is none of that type."""
        if sequence is None:
            return None
        data = self._data(session, request, sender, sequence)
        if name is None:
            return None if data is None else as_json(data)
        value = None if data is None else data.get(name)
        if value is None or table.misfits(kind, [value]):
            return None
        if isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if not table.misfits("Int64", [value]) else str(value)
        return _encodable(value) if isinstance(value, str) else as_json(value)

    def _data(
        self, session: str, request: str, sender: str, sequence: int
    ) -> Mapping[str, Any] | None:
        key = (session, request, sender, sequence)
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        if session not in self._open:
            if session not in self._paths:
                return None
            opened = sqlite3.connect(_read_only(self._paths[session]), uri=True)
            self._open[session] = self._stack.enter_context(closing(opened))
        body = (
            self._open[session]
            .execute(
                "SELECT body FROM replies WHERE request=? AND sender=? AND sequence=?", key[1:]
            )
            .fetchone()
        )
        if body is None:
            return None
        self._last = key, data_of(whole(lambda: self._paths[session], body[0]))
        return self._last[1]


def as_json(value: Any) -> str:
    """What is nested, as text."""
    return _encodable(json.dumps(value, ensure_ascii=False, default=_bytes))


def _encodable(text: str) -> str:
    """Text as SQLite takes it: half a surrogate pair is written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$base64": base64.b64encode(value).decode("ascii")}
    return dict(value)


def _guarded(function: Callable[..., Any], problems: list[BaseException]) -> Callable[..., Any]:
    """Keep what SQLite would swallow: what is wrong with a stored reply."""

    def guarded(*values: Any) -> Any:
        try:
            return function(*values)
        except BaseException as error:
            problems.append(error)
            raise

    return guarded


def _allowing(views: Sequence[str], known: str) -> Callable[..., int]:
    """Let a query read the views, and of the file of known nodes one table, only through them."""
    inside = frozenset(views)

    def allow(
        code: int, name: str | None, called: str | None, database: str | None, view: str | None
    ) -> int:
        if code == sqlite3.SQLITE_READ:
            through = (view or "").lower() in inside and name == "nodes"
            return sqlite3.SQLITE_OK if database != known or through else sqlite3.SQLITE_DENY
        harmless = code in _READING and called not in _NO_QUESTIONS
        return sqlite3.SQLITE_OK if harmless else sqlite3.SQLITE_DENY

    return allow
