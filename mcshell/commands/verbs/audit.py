"""`audit verify`: is an audit log what its node wrote, as far as heads of it have left the node.

Of a session it is asked likewise (`audit_session`).
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.client.session.folder import folder_of
from mcshell.commands.output.result import Table
from mcshell.commands.verbs.session_logs import read_logs
from mcshell.errors import UsageError
from mcshell.filters.nodes import fold
from mcshell.node.audit.files import log_files, passed_over
from mcshell.node.audit.verify import verify as go_through
from mcshell.storage import SQLITE
from mcshell.texts import expanded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import AuditVerifyOptions
    from mcshell.commands.verbs.session_logs import NodeLogs
    from mcshell.config import Settings
    from mcshell.node.audit.verify import Found

__all__ = ["is_session", "logs_of", "session_path", "verify"]

_BROKEN = 1
_SHOWN = 10


def verify(context: Context, options: AuditVerifyOptions) -> Table:
    """One row about the log, or one a request; the exit code is 0 only when all is as it was written.

    Raises:
        UsageError: a file that cannot be read; heads that are of nobody in the log.
    """
    session = session_path(context.settings, options.file)
    if session is not None and is_session(session):
        if options.node:
            raise UsageError("audit verify: --node is for a log, and this is a session")
        from mcshell.commands.verbs.audit_session import (  # noqa: PLC0415 - a log needs no CA
            verify_session,
        )

        return verify_session(context, session, logs_of(context, options.log, options.heads))
    path = Path(options.file)
    if not path.is_file():
        raise UsageError(f"audit verify: there is no {path}, and no session of that name")
    if options.log:
        raise UsageError(f"audit verify: --log is for a session; {path} is none")
    try:
        heads: dict[int, set[str]] = {}
        if options.heads is not None:
            whose = {options.node} if options.node else go_through(log_files(path), {}).whose
            heads = _heads(context, options.heads, whose)
        found = go_through(log_files(path), heads)
        left_out = tuple(passed_over(path))
    except (OSError, EOFError, sqlite3.Error) as error:
        raise UsageError(f"audit verify: {error}") from error
    broken = found.broken
    problem = "" if broken is None else f"{broken.file}:{broken.line}: {broken.what}"
    columns = (
        *("file", "files", "lines", "first", "last", "gaps", "lost", "torn"),
        *("unanchored", "ok", "problem"),
    )
    row = (
        str(path),
        found.files,
        found.lines,
        found.first,
        found.head.count,
        len(found.gaps),
        sum(gap.lost for gap in found.gaps),
        found.torn,
        found.unanchored,
        found.broken is None,
        problem or None,
    )
    notes = (*((problem,) if problem else ()), *left_out, *_notes(found, heads))
    return Table(columns, [row], _BROKEN if problem else 0, notes, quiet=("problem",))


def is_session(path: Path) -> bool:
    """Whether a file is SQLite's, as sessions are and no log is; UsageError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def session_path(settings: Settings, word: str) -> Path | None:
    """The session file that a word means: that file, or the session of this name; None for neither."""
    path = expanded(word)
    if path.is_file():
        return path
    named = folder_of(settings.state_dir) / f"{word}.sqlite"
    return named if Path(word).name == word and named.is_file() else None


def logs_of(context: Context, paths: Sequence[str], heads: str | None) -> NodeLogs | None:
    """The audit logs that are given for a session's replies, each held against its heads.

    Raises:
        UsageError: a log or the heads cannot be read; heads without a log.
    """
    if not paths:
        if heads is not None:
            raise UsageError("--heads is about logs: --log FILE says which")
        return None

    def known(whose: set[str]) -> dict[int, set[str]]:
        return {} if heads is None else _found_heads(context, heads, whose)

    return read_logs(map(Path, paths), known)


def _notes(found: Found, heads: dict[int, set[str]]) -> Iterator[str]:
    for gap in found.gaps:
        yield f"{gap.file}:{gap.line}: a gap: {gap.lost} lines could not be written"
    if found.before:
        yield f"{found.before} lines before the chain, as they were when it began"
    if not found.lines:
        yield "no line of the chain is here: of nothing it is shown that it was as it was written"
    if len(found.whose) > 1:
        names = fold(sorted(found.whose)[:_SHOWN])
        yield (
            f"it has lines of {len(found.whose)} nodes ({names}): it was renamed, or they are another's"
            " (--node NAME says whose heads count)"
        )
    if found.first > 1:
        yield f"lines 1 to {found.first - 1} of the chain are in no file here"
    if found.beyond:
        yield f"{found.beyond} heads are of lines that are in no file here"
    if heads:
        yield f"{found.checked} heads fit"
    else:
        yield "no heads were given: whoever can write the file can have written all of it"


def _heads(context: Context, source: str, whose: set[str]) -> dict[int, set[str]]:
    """The heads of some nodes by line."""
    heads = _found_heads(context, source, whose)
    if not heads:
        names = (
            ", ".join(sorted(whose)) or "anybody that the log names (--node NAME says whose it is)"
        )
        raise UsageError(f"audit verify: {source} has no heads of {names}")
    return heads


def _found_heads(context: Context, source: str, whose: set[str]) -> dict[int, set[str]]:
    heads: dict[int, set[str]] = defaultdict(set)
    for identity, count, digest in _said(context, source, whose):
        if identity in whose:
            heads[count].add(digest)
    return dict(heads)


def _said(context: Context, source: str, whose: set[str]) -> Iterable[tuple[str, int, str]]:
    """All heads in a file of JSON lines or a supervisor's; of `inventory`: here, or from the pool."""
    path = Path(source)
    if source == "inventory":
        path = context.settings.state_dir / "supervisor" / "registrations.sqlite"
        if not path.is_file():
            return _asked(context, whose)
    if not path.is_file():
        raise UsageError(f"audit verify: there is no {path}")
    with path.open("rb") as file:
        kept = file.read(len(SQLITE)) == SQLITE
    return _kept(path) if kept else _listed(path)


def _asked(context: Context, whose: set[str]) -> Iterator[tuple[str, int, str]]:
    for node in sorted(whose):
        found = context.client().audit_heads(node)
        if found is None:
            raise UsageError("audit verify: no supervisor answers for the pool inventory")
        yield from ((node, count, digest) for count, digest in found)


def _kept(path: Path) -> Iterable[tuple[str, int, str]]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
        return file.execute("SELECT identity, count, hash FROM heads").fetchall()


def _listed(path: Path) -> Iterator[tuple[str, int, str]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                one: Any = json.loads(line)
                yield str(one["identity"]), int(one["count"]), str(one["hash"])
            except (ValueError, KeyError, TypeError, RecursionError):
                text = '{"identity": …, "count": …, "hash": …} is meant'
                raise UsageError(f"audit verify: {path}:{number}: {text}") from None
