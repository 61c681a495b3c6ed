"""`notebook SESSION…`: sessions as a notebook that runs on their stored replies, verified and sealed."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from mcshell.client.pki import pki_of
from mcshell.client.session.evidence import examine
from mcshell.client.session.folder import folder_of
from mcshell.client.session.seal import file_digest, read_seal, seal_file
from mcshell.client.session.transfer import export_session
from mcshell.client.store.bodies import BESIDE
from mcshell.client.store.store import SessionStore
from mcshell.commands.output.incident import IncidentSession, incident
from mcshell.commands.output.result import Table
from mcshell.commands.verbs.audit import is_session, logs_of, session_path
from mcshell.commands.verbs.audit_session import (
    problems,
    session_notes,
    todays_verifier,
)
from mcshell.errors import Rejected, SessionError, UsageError, did_you_mean
from mcshell.private import private_file
from mcshell.texts import expanded
from mcshell.wire.credentials import load_credentials

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import NotebookOptions
    from mcshell.commands.verbs.session_logs import NodeLogs

__all__ = ["notebook"]

_BROKEN = 1


def notebook(context: Context, options: NotebookOptions) -> Table:
    """Write the notebook, and beside it a sealed copy of each session; the exit code is `audit verify`'s.

    Raises:
        UsageError: there is no such session or folder, or a file is there already.
    """
    target = expanded(options.out)
    if target.suffix != ".ipynb":
        raise UsageError(f"notebook: -o {target}: a name that ends in .ipynb is meant")
    sources = [_source(context, word) for word in options.sessions]
    copies = _copies(target, sources)
    for path in (target, *copies):
        if path.exists():
            raise UsageError(f"notebook: {path} is there already")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"notebook: -o {target}: there is no such folder")
    logs = logs_of(context, options.log, options.heads)
    with ExitStack() as unless_written:
        for source, copy in zip(sources, copies, strict=True):
            unless_written.callback(copy.unlink, missing_ok=True)
            _put(context, source, copy)
        found = [_session(context, copy, logs) for copy in copies]
        book = incident(options.heading or target.stem, found)
        private_file(target).write_text(json.dumps(book, indent=1) + "\n", encoding="utf-8")
        unless_written.pop_all()
    rows = [
        (str(copy), one.caller, len(one.requests), sum(map(len, one.problems.values())))
        for copy, one in zip(copies, found, strict=True)
    ]
    wrong = any(row[-1] for row in rows)
    notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
    columns = ("file", "caller", "requests", "problems")
    return Table(columns, rows, _BROKEN if wrong else 0, (f"{target}", *notes))


def _source(context: Context, word: str) -> Path:
    path = session_path(context.settings, word)
    if path is None:
        names = [one.stem for one in folder_of(context.settings.state_dir).glob("*.sqlite")]
        raise UsageError(f"notebook: no session or file {word!r}{did_you_mean(word, names)}")
    if not is_session(path):
        raise UsageError(f"notebook: {path} is no session")
    beside = (path.with_name(path.name + end) for end in ("-wal", BESIDE))
    if not _ours(context, path) and any(one.exists() for one in beside):
        raise UsageError(
            f"notebook: {path} is one part of a session: `session export` makes a file"
        )
    return path


def _ours(context: Context, path: Path) -> bool:
    return path.suffix == ".sqlite" and path.parent == folder_of(context.settings.state_dir)


def _copies(target: Path, sources: list[Path]) -> list[Path]:
    """Where the copy of each goes: beside the notebook, under a name of its own."""
    taken: list[Path] = []
    for source in sources:
        name, number = f"{target.stem}-{source.stem}", 1
        while (path := target.with_name(f"{name}.mcs")) in taken:
            number += 1
            name = f"{target.stem}-{source.stem}-{number}"
        taken.append(path)
    return taken


def _put(context: Context, source: Path, copy: Path) -> None:
    """Copy a session for handing on. One that bears a good seal stays as it is, else it is sealed."""
    settings = context.settings
    if _ours(context, source):
        export_session(settings.state_dir, source.stem, copy)
    else:
        shutil.copyfile(source, private_file(copy))
        try:
            if read_seal(copy, todays_verifier(settings)) is not None:
                return
        except (Rejected, SessionError):
            return  # what is wrong with it is said by who verifies it, and not sealed over
        with closing(SessionStore(copy)) as store:
            store.pack()
    seal_file(copy, load_credentials(pki_of(settings)).signer)


def _session(context: Context, copy: Path, logs: NodeLogs | None) -> IncidentSession:
    evidence = examine(copy, todays_verifier(context.settings))
    return IncidentSession(
        name=evidence.name,
        file=copy.name,
        sha256=file_digest(copy),
        caller=evidence.caller,
        requests=evidence.requests,
        problems=problems(evidence, logs),
        notes=list(session_notes(evidence, logs)),
    )
