"""An incident as a notebook: what was asked, by whom, from where, and what came back (nbformat 4).

Pure: values in, a document out. Whatever nodes, operators or files have said of themselves is text in
it, never markup and never code: in Markdown each character that could mean something is written as its
number, in Python as a literal.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mcshell.commands.output.sanitize import sanitize
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcshell.client.session.evidence import RequestEvidence

__all__ = ["IncidentSession", "incident", "plain", "utc"]

_MOST: Final = 300
_SPECIAL: Final = re.compile(r"[^\w ,=(-]|_|^[=(-]")
_FAILED: Final = (State.FAILED, State.DENIED, State.INTERRUPTED)
_SILENT: Final = (State.SILENT, State.EXPIRED)
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSession:
    """One session of an incident: its file beside the notebook, with its SHA-256, and what was found.

    `problems` are what is wrong in it, by request (None: of none), `notes` what was checked and what not.
    """

    name: str
    file: str
    sha256: str
    caller: str
    requests: Sequence[RequestEvidence]
    problems: Mapping[str | None, Sequence[str]]
    notes: Sequence[str]


def plain(text: object, most: int = _MOST) -> str:
    """A text of anybody's as one line of Markdown that shows it and does nothing else."""
    whole = str(text)
    line = " ".join(sanitize(whole[:most]).split()) or "(empty)"
    shown = _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", line)
    return shown if len(whole) <= most else f"{shown}… ({len(whole)} characters)"


def utc(moment: float) -> str:
    """A moment for a reader; one that is none says so."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"{moment} s since 1970"


def incident(title: str, sessions: Sequence[IncidentSession]) -> dict[str, Any]:
    """The notebook of these sessions, in the order in which was asked."""
    asked = sorted(
        ((one, number) for number, session in enumerate(sessions, 1) for one in session.requests),
        key=lambda pair: pair[0].created,
    )
    cells = [
        _markdown(_title(title, sessions, [one for one, _ in asked])),
        _code(_opening(sessions)),
    ]
    for place, (one, number) in enumerate(asked, 1):
        wrong = sessions[number - 1].problems.get(one.id, ())
        cells.append(_markdown(_about(place, one, wrong)))
        cells.append(_code(f"session{number}.replies({one.id!r}).frame()"))
    for place, cell in enumerate(cells):
        cell["id"] = f"incident-{place}"
    return {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _title(
    title: str, sessions: Sequence[IncidentSession], asked: Sequence[RequestEvidence]
) -> list[str]:
    callers = sorted({session.caller for session in sessions})
    span = f"{utc(asked[0].created)} to {utc(asked[-1].created)}" if asked else "nothing was asked"
    wrong = sum(len(what) for session in sessions for what in session.problems.values())
    verdict = f"**{wrong} things are not as they were written.**" if wrong else "Nothing is wrong."
    lines = [
        f"# {plain(title)}",
        "",
        f"- {span}: {len(asked)} requests, {sum(len(one.replies) for one in asked)} replies",
        f"- asked by {', '.join(map(plain, callers))}",
        "",
        f"## Verification: {verdict}",
    ]
    for session in sessions:
        lines += ["", f"Session {plain(session.name)} of {plain(session.caller)}:", ""]
        lines += [f"- {plain(note, 1000)}" for note in session.notes]
        lines += [f"- **{plain(what)}**" for what in session.problems.get(None, ())]
    lines += [
        "",
        "The cells below read the session files beside this notebook; no broker is asked.",
    ]
    return lines


def _opening(sessions: Sequence[IncidentSession]) -> str:
    lines = [
        "import pandas",
        "",
        "import mcshell",
        "",
        'pandas.set_option("display.html.use_mathjax", False)  # what nodes say is no formula',
    ]
    for number, session in enumerate(sessions, 1):
        given = f"{session.file!r}, sha256={session.sha256!r}"
        lines.append(f"session{number} = mcshell.stored({given})")
    return "\n".join(lines)


def _about(place: int, one: RequestEvidence, wrong: Iterable[str]) -> list[str]:
    counts = one.counts
    went = {
        "answered": counts.get(State.OK, 0),
        "failed": sum(counts.get(state, 0) for state in _FAILED),
        "silent": sum(counts.get(state, 0) for state in _SILENT),
        "open": sum(counts.get(state, 0) for state in State if not state.closed),
    }
    numbers = ", ".join(f"{number} {word}" for word, number in went.items() if number)
    inputs = ", ".join(f"{plain(name, 60)}={plain(value)}" for name, value in one.data.items())
    lines = [
        f"## {place}. {plain(one.agent)} {plain(one.action)}",
        "",
        f"- {utc(one.created)}, by {plain(one.caller)}, from {plain(one.origin or 'not noted')}",
        f"- by {plain(one.via)}{f', inputs: {inputs}' if inputs else ''}",
        f"- {numbers or 'no targets'}; proof: {one.proof or 'none'}",
    ]
    said = Counter(
        (reply.state.value, reply.statusmsg)
        for reply, _ in one.replies
        if reply.final and reply.state is not State.OK
    )
    for (state, text), number in said.most_common(_SHOWN):
        lines.append(f"- {number} {state}: {plain(text)}")
    return lines + [f"- **{plain(what)}**" for what in wrong]


def _markdown(lines: Sequence[str]) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": "\n".join(lines)}


def _code(source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
