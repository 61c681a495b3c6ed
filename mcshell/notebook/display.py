"""How a request stands, drawn as plain HTML and text: no scripts, all foreign text escaped.

What is drawn survives nbconvert and GitHub, which drop the little style it has. `Standing` is a snapshot; drawing one costs one pass
over the ledger, whatever the replies hold.
"""

from __future__ import annotations

import html
import logging
from collections import Counter
from heapq import nlargest
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mcshell.client.store.records import StoredData
from mcshell.commands.output.json_document import dumps
from mcshell.commands.output.sanitize import sanitize
from mcshell.commands.output.summary import absent_lines
from mcshell.filters.nodes import fold
from mcshell.message import State
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcshell.client.rpc.replies import Replies
    from mcshell.client.store.ledger import LedgerEntry

log = logging.getLogger(__name__)

__all__ = ["LEFT", "Standing", "as_html", "as_text", "bundle", "cut", "no_formulas", "standing"]

_ROWS = 8
_WIDE = 80
_FOLDED = 400
LEFT = ' style="text-align: left"'  # JupyterLab puts all cells to the right
_BAD = (State.FAILED, State.DENIED, State.INTERRUPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A request at one instant. `rows` are (sender, state, what it said, lag), worth a look.

    `waiting`: somebody still waits, so there is more to come here.
    """

    title: str
    requestid: str
    targets: int
    closed: int
    counts: Mapping[str, int]
    elapsed: float
    waiting: bool
    heading: str = ""
    rows: Sequence[tuple[str, str, str, str]] = ()
    notes: Sequence[str] = ()


def standing(replies: Replies, rows: int = _ROWS, *, given_up: bool = False) -> Standing:
    """Take a snapshot: while it is under way with the newest rows, then with the bad ones.

    `given_up`: whoever waited has stopped, and what still comes is not drawn here any more.
    """
    done = replies.done
    entries = replies.entries()
    targets = [entry for entry in entries if not entry.unexpected]
    counts = Counter(entry.state for entry in targets)
    odd = {
        "late": sum(entry.late for entry in targets),
        "duplicate": sum(entry.duplicate for entry in entries),
        "unexpected": len(entries) - len(targets),
    }
    if done or given_up:
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
        elapsed=replies.tracker.elapsed,
        waiting=not (done or given_up),
        heading=heading if chosen else "",
        rows=[_row(entry) for entry in chosen],
        notes=_notes(replies, targets) if done or given_up else (),
    )


def _notes(replies: Replies, targets: Iterable[LedgerEntry]) -> list[str]:
    notes = absent_lines(targets, lambda names: cut(fold(names), _FOLDED))
    if not all(entry.state.closed for entry in targets):
        why = "interrupted" if replies.tracker.interrupted else "the wait is over"
        notes.append(f"{why}; to see what still comes: replies {replies.requestid[:8]}")
    if not replies.tracker.live:
        notes.append(
            f"from a pickle, which proves nothing: replies {replies.requestid[:8]} looks it up"
        )
    for aggregate in replies.aggregates():
        notes.append(f"{aggregate.title}:")
        notes += [f"  {cut(line)}" for line in aggregate.lines[:_ROWS]]
    return notes


def _row(entry: LedgerEntry) -> tuple[str, str, str, str]:
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
    return sanitize(short).replace("\n", "⏎").replace("\t", " ")


def as_html(now: Standing) -> str:
    """Draw it for a browser, or for a page that no script runs on."""
    counts = ", ".join(f"{number:,} {word}" for word, number in now.counts.items())
    title, progress = html.escape(cut(now.title)), html.escape(_progress(now))
    lines = [f"<div><b>{title}</b> {progress} <code>{now.requestid}</code></div>"]
    if now.waiting:
        lines.append(f'<progress value="{now.closed}" max="{max(1, now.targets)}"></progress>')
    lines.append(f"<div>{html.escape(counts)}</div>")
    lines += [f"<div>{html.escape(note)}</div>" for note in now.notes]
    if now.rows:
        heads = ("sender", "state", now.heading, "lag")
        lines.append(f"<table><thead>{_line(heads, 'th')}</thead><tbody>")
        lines += [_line(row, "td") for row in now.rows]
        lines.append("</tbody></table>")
    return no_formulas("\n".join(lines))


def no_formulas(drawn: str) -> str:
    """HTML in which MathJax, of Jupyter's or of a converted page's version, looks for nothing."""
    return f'<div class="tex2jax_ignore mathjax_ignore">\n{drawn}\n</div>'


def _line(row: Sequence[str], tag: str) -> str:
    """One line of the table: all but the last cell, a number, is text."""
    *texts, number = map(html.escape, row)
    cells = "".join(f"<{tag}{LEFT}>{text}</{tag}>" for text in texts)
    return f"<tr>{cells}<{tag}>{number}</{tag}></tr>"


def _progress(now: Standing) -> str:
    part = f"{now.closed:,} of " if now.waiting or now.closed < now.targets else ""
    return f"{part}{now.targets:,} targets, {now.elapsed:.1f} s"


def as_text(now: Standing) -> str:
    """Draw it for a terminal, or for a reader of the file."""
    counts = ", ".join(f"{number} {word}" for word, number in now.counts.items())
    lines = [f"{cut(now.title)}: {_progress(now)}; {counts or 'none'} ({now.requestid})"]
    lines += now.notes
    lines += [f"  {sender}  {state}  {said}" for sender, state, said, _lag in now.rows]
    return "\n".join(lines)


def bundle(replies: Replies, *, given_up: bool = False) -> dict[str, str]:
    """Both drawings of how a request stands now, by MIME type; where that fails, a line."""
    try:
        now = standing(replies, given_up=given_up)
        return {"text/plain": as_text(now), "text/html": as_html(now)}
    except Exception:
        log.exception("a request cannot be drawn")
        return {"text/plain": sanitize(repr(replies))}
