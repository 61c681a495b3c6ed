"""How a request stands, drawn as plain HTML and text: no scripts, no styles, all foreign text escaped.

What is drawn survives nbconvert and GitHub. `Standing` is a snapshot; drawing one costs one pass
over the ledger, whatever the replies hold.
"""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass
from heapq import nlargest
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mcshell.client.rows import StoredData
from mcshell.commands.document import dumps
from mcshell.commands.harmless import harmless
from mcshell.filters.nodes import fold
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcshell.client.ledger import Entry
    from mcshell.client.replies import Replies

__all__ = ["Standing", "as_html", "as_text", "bundle", "cut", "standing"]

_ROWS = 8
_WIDE = 80
_FOLDED = 400
_BAD = (State.FAILED, State.DENIED, State.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Standing:
    """A request at one instant. `rows` are (sender, state, what it said, lag), worth a look."""

    title: str
    requestid: str
    targets: int
    closed: int
    counts: Mapping[str, int]
    elapsed: float
    done: bool
    heading: str = ""
    rows: Sequence[tuple[str, str, str, str]] = ()
    notes: Sequence[str] = ()


def standing(replies: Replies, rows: int = _ROWS) -> Standing:
    """Take a snapshot: while it is under way with the newest rows, then with the bad ones."""
    done = replies.done
    entries = replies.entries()
    targets = [entry for entry in entries if not entry.unexpected]
    counts = Counter(entry.state for entry in targets)
    odd = {
        "late": sum(entry.late for entry in targets),
        "duplicate": sum(entry.duplicate for entry in entries),
        "unexpected": len(entries) - len(targets),
    }
    if done:
        heading, chosen = "not well", [entry for entry in entries if entry.state in _BAD][:rows]
    else:
        answered = [entry for entry in entries if entry.done is not None]
        heading, chosen = "newest", nlargest(rows, answered, key=attrgetter("done"))
    return Standing(
        title=f"{replies.agent} {replies.action}",
        requestid=replies.requestid[:8],
        targets=len(targets),
        closed=sum(number for state, number in counts.items() if state.closed),
        counts={
            **{state.value: counts[state] for state in State if counts[state]},
            **{word: number for word, number in odd.items() if number},
        },
        elapsed=replies.flight.elapsed,
        done=done,
        heading=heading if chosen else "",
        rows=[_row(entry) for entry in chosen],
        notes=_notes(replies, targets) if done else (),
    )


def _notes(replies: Replies, targets: Iterable[Entry]) -> list[str]:
    absent = [entry.sender for entry in targets if entry.state.judged]
    notes = [f"no answer from {cut(fold(absent), _FOLDED)}"] if absent else []
    for aggregate in replies.aggregates():
        notes.append(f"{aggregate.title}:")
        notes += [f"  {cut(line)}" for line in aggregate.lines[:_ROWS]]
    return notes


def _row(entry: Entry) -> tuple[str, str, str, str]:
    reply, lag = entry.reply, entry.lag
    if reply is None:
        said = entry.reason
    elif entry.state is not State.OK:
        said = reply.statusmsg
    elif isinstance(reply.data, StoredData):
        said = "(large: in the session file)"  # not to be read for a glance
    else:
        said = ", ".join(f"{name}={_brief(value)}" for name, value in list(reply.data.items())[:4])
    sender = entry.worker or entry.sender
    return cut(sender), entry.state.value, cut(said), "" if lag is None else f"{lag:.2f}"


def _brief(value: Any) -> str:
    return value[: _WIDE + 1] if isinstance(value, str) else dumps(value)


def cut(text: str, wide: int = _WIDE) -> str:
    """Foreign text as one harmless line of at most so many characters."""
    short = text if len(text) <= wide else f"{text[: wide - 1]}…"
    return harmless(short).replace("\n", "⏎").replace("\t", " ")


def as_html(now: Standing) -> str:
    """Draw it for a browser, or for a page that no script runs on."""
    counts = ", ".join(f"{number:,} {word}" for word, number in now.counts.items())
    title, progress = html.escape(cut(now.title)), html.escape(_progress(now))
    lines = [f"<div><b>{title}</b> {progress} <code>{now.requestid}</code></div>"]
    if not now.done:
        lines.append(f'<progress value="{now.closed}" max="{max(1, now.targets)}"></progress>')
    lines.append(f"<div>{html.escape(counts)}</div>")
    lines += [f"<div>{html.escape(note)}</div>" for note in now.notes]
    if now.rows:
        heads = ("sender", "state", now.heading, "lag")
        lines.append(f"<table><thead>{_cells(heads, 'th')}</thead><tbody>")
        lines += [_cells(row, "td") for row in now.rows]
        lines.append("</tbody></table>")
    return "\n".join(lines)


def _cells(row: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in row) + "</tr>"


def _progress(now: Standing) -> str:
    waiting = "" if now.done else f"{now.closed:,} of "
    return f"{waiting}{now.targets:,} targets, {now.elapsed:.1f} s"


def as_text(now: Standing) -> str:
    """Draw it for a terminal, or for a reader of the file."""
    counts = ", ".join(f"{number} {word}" for word, number in now.counts.items())
    lines = [f"{cut(now.title)}: {_progress(now)}; {counts or 'none'} ({now.requestid})"]
    lines += now.notes
    lines += [f"  {sender}  {state}  {said}" for sender, state, said, _lag in now.rows]
    return "\n".join(lines)


def bundle(replies: Replies) -> dict[str, str]:
    """Both drawings of how a request stands now, by MIME type."""
    now = standing(replies)
    return {"text/plain": as_text(now), "text/html": as_html(now)}
