"""`audit verify SESSION`: is a session what was asked and answered, as far as that can be shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcshell.client.pki import pki_of
from mcshell.client.session.evidence import examine
from mcshell.commands.output.incident import utc
from mcshell.commands.output.result import Table
from mcshell.errors import SessionError
from mcshell.wire.credentials import load_verifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.session.evidence import SessionEvidence
    from mcshell.commands.context import Context
    from mcshell.commands.verbs.session_logs import NodeLogs
    from mcshell.config import Settings
    from mcshell.wire.documents.signatures import Verifier

__all__ = [
    "problems",
    "session_notes",
    "todays_verifier",
    "verify_session",
]

_BROKEN = 1
_COLUMNS = (
    "requestid",
    "asked",
    "created",
    "caller",
    "proof",
    "replies",
    "logged",
    "ok",
    "problem",
)


def todays_verifier(settings: Settings) -> Verifier:
    """The CA and its revocations as they are now. How old its list was back then is no question now."""
    return load_verifier(replace(pki_of(settings), crl_max_age=None, refuse_expired_crl=False))


def verify_session(context: Context, path: Path, logs: NodeLogs | None) -> Table:
    """A row a request, and one for each thing that is wrong; the exit code is 0 where nothing is."""
    try:
        evidence = examine(path, todays_verifier(context.settings))
    except SessionError as error:
        row = (None, None, None, None, None, None, None, False, str(error))
        return Table(_COLUMNS, [row], _BROKEN, (str(error),), times=("created",))
    rows = list(_rows(evidence, logs))
    wrong = [str(row[-1]) for row in rows if row[-1]]
    first = [f"{len(wrong)} things are not as they were written"] if wrong else []
    return Table(
        _COLUMNS,
        rows,
        _BROKEN if wrong else 0,
        (*first, *session_notes(evidence, logs)),
        times=("created",),
        ids=("requestid",),
        quiet=("problem", "logged"),
        minor=("caller",),
    )


def problems(evidence: SessionEvidence, logs: NodeLogs | None) -> dict[str | None, list[str]]:
    """What is wrong, by request; None for what is about none."""
    found: dict[str | None, list[str]] = {}
    for one in evidence.findings:
        found.setdefault(one.request, []).append(one.what)
    if logs is not None:
        found.setdefault(None, []).extend(logs.problems)
        for request in evidence.requests:
            if unlike := list(logs.unlike(request)):
                found.setdefault(request.id, []).extend(unlike)
    return found


def _rows(evidence: SessionEvidence, logs: NodeLogs | None) -> Iterator[tuple[Any, ...]]:
    found = problems(evidence, logs)
    for one in evidence.requests:
        about = (
            one.id,
            f"{one.agent}.{one.action}",
            one.created,
            one.caller,
            one.proof or None,
            len(one.replies),
            None if logs is None else logs.logged(one),
        )
        wrong = found.pop(one.id, [])
        yield from ((*about, False, what) for what in wrong)
        if not wrong:
            yield (*about, True, None)
    for request, wrong in found.items():
        yield from ((request, *(None,) * 6, False, what) for what in wrong)


def session_notes(evidence: SessionEvidence, logs: NodeLogs | None) -> Iterator[str]:
    """What was checked, and what could not be."""
    signed = sum(one.proof == "signed" for one in evidence.requests)
    yield (
        f"verified: {signed} of {len(evidence.requests)} requests by their signed bytes, and"
        f" {evidence.replies} replies"
    )
    if evidence.foreign:
        yield f"not verified: {evidence.foreign} replies of MCollective, whose signatures are not kept"
    if evidence.seal is not None:
        seal = evidence.seal
        yield f"sealed by {seal.author} on {utc(seal.created)}: every row is as it was then"
    if evidence.unsigned:
        yield f"not verified, as nobody signs it and no seal is there: {evidence.unsigned}"
    if logs is None:
        yield "not compared with what nodes wrote down: no audit log was given (--log FILE)"
        return
    mine = {request for request, callers in logs.callers.items() if evidence.caller in callers}
    if others := mine - {one.id for one in evidence.requests}:
        yield (
            f"these logs have {len(others)} more requests of {evidence.caller}, of other sessions or"
            " left out of this one"
        )
    last = {reply.sender for one in evidence.requests for reply, _ in one.replies if reply.final}
    if missing := last - logs.nodes.keys():
        yield f"not compared with what nodes wrote down: {len(missing)} of {len(last)}, whose logs are not here"
    if bare := [name for name in last & logs.nodes.keys() if not logs.nodes[name]]:
        yield f"of {len(bare)} logs no head is known: whoever can write such a file can have written all of it"
