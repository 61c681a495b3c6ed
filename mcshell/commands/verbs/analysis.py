"""`fold`, `diff`, `outliers`, `summary`, `sql`: looking at replies that are already here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcshell.client.analysis import diff as differences
from mcshell.client.analysis import fold as folds
from mcshell.client.analysis import outliers as odd
from mcshell.client.analysis import sql as database
from mcshell.client.analysis import summary as descriptions
from mcshell.client.analysis.answers import of_replies
from mcshell.client.session.references import parse_moment, parse_reference
from mcshell.commands.output.result import Table
from mcshell.errors import SessionError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.client.client import Client
    from mcshell.client.lookback import Lookback
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.store.records import RequestRecord
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.request_options import (
        ColumnsOptions,
        DiffOptions,
        OutliersOptions,
        SQLOptions,
    )

_SIGN = re.compile(r"\s(\||>>?)(?!=)\s*[\w./~]")

__all__ = ["diff", "fold", "outliers", "since", "sql", "summary"]


def fold(context: Context, options: ColumnsOptions) -> Table:
    """Nodes with equal answers as one line."""
    answers = of_replies(context.looking_back(options.session).replies(options.request))
    return Table(*folds.rows(answers, options.columns), kinds=folds.KINDS)


def outliers(context: Context, options: OutliersOptions) -> Table:
    """The odd ones out in a request's answers."""
    replies = context.looking_back(options.session).replies(options.request)
    share = odd.SHARE if options.share is None else options.share
    found = odd.outliers(of_replies(replies), options.columns, share=share)
    note = (
        f"{_many(len(found), 'odd value')} on {_many(len({one.sender for one in found}), 'node')}"
    )
    return Table(
        *(tuple(odd.COLUMNS), odd.rows(found)),
        notes=(note,),
        minor=("share", "z"),
        kinds=odd.COLUMNS,
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def summary(context: Context, options: ColumnsOptions) -> Table:
    """Each column of a request's answers in one line, and what the DDL sums up."""
    replies = context.looking_back(options.session).replies(options.request)
    notes: list[str] = []
    for aggregate in replies.aggregates():
        notes += [f"{aggregate.title}:", *(f"  {line}" for line in aggregate.lines)]
    rows = descriptions.rows(of_replies(replies), options.columns)
    return Table(
        *(tuple(descriptions.COLUMNS), rows),
        notes=tuple(notes),
        minor=("type", "distinct"),
        kinds=descriptions.COLUMNS,
    )


def sql(context: Context, options: SQLOptions) -> Table:
    """What a query over the replies of all sessions gives; nobody is asked, and no broker needed."""
    text = " ".join(options.query)
    if text == "-" or (not text and context.face == "magic"):
        text = context.stdin.read()
    if not text.strip():
        raise UsageError("sql: QUERY is missing (- reads it from standard input)")
    current = context.current()
    first = context.session if current is None else current.session.name
    settings, ddls = context.settings, context.ddls
    asked = database.sources(settings, ddls, session=options.session, first=first)
    try:
        columns, rows, kinds = database.answer(asked, text, context.bound)
        return Table(columns, rows, kinds=kinds)
    except UsageError as error:
        if sign := _SIGN.search(text):
            raise UsageError(
                f"{error} ({sign[1]} is SQL here: sql '…' {sign[1]} sends it elsewhere)"
            ) from error
        raise


def diff(context: Context, options: DiffOptions) -> Table:
    """What changed between two requests, or since an earlier time the same was asked."""
    first, second = _pair(context.looking_back(options.session), options.before, options.after)
    return _different(first, second, options.columns)


def since(client: Client | Lookback, replies: Replies, before: str) -> Table:
    """What changed to these replies since a request, or since the same was asked as of @MOMENT."""
    return _different(_before(client, replies, before), replies, ())


def _different(first: Replies, second: Replies, columns: Sequence[str]) -> Table:
    before, after = of_replies(first), of_replies(second)
    changes = differences.diff(before, after, columns)
    ids = f"{first.requestid[:8]} and {second.requestid[:8]}"
    line = f"{differences.summary_line(changes, before, after)} ({ids})"
    unlike = _unlike(first, second)
    notes = (line, f"they did not ask the same: {unlike}") if unlike else (line,)
    return Table(
        tuple(differences.COLUMNS),
        differences.rows(changes),
        notes=notes,
        kinds=differences.COLUMNS,
    )


def _unlike(first: Replies, second: Replies) -> str:
    """In what two requests differ that are compared, or nothing."""
    one, other = first.tracker.record, second.tracker.record
    found = []
    if (one.agent, one.action) != (other.agent, other.action):
        found.append(f"{one.agent}.{one.action} and {other.agent}.{other.action}")
    elif one.data != other.data:
        found.append("other inputs")
    if not _same_targets(first, second):
        found.append("other targets")
    return " and ".join(found)


def _pair(
    client: Client | Lookback, before: str | None, after: str | None
) -> tuple[Replies, Replies]:
    """The two requests to compare; the one that is only a moment asks what the other asks."""
    if after is not None and not after.startswith("@"):
        second = client.replies(after)
    elif before is not None and after is not None and not before.startswith("@"):
        second = _as_of(client, client.replies(before), after)
    else:
        action = _action_of(before)
        last = client.replies(action)
        second = last if after is None else _as_of(client, last, after)
    if before is None:
        return _earlier(client, second), second
    return _before(client, second, before), second


def _action_of(text: str | None) -> str | None:
    """The AGENT.ACTION that a reference names, if it names one."""
    reference = None if text is None else parse_reference(text)
    return f"{reference.agent}.{reference.action}" if reference and reference.agent else None


def _before(client: Client | Lookback, second: Replies, text: str) -> Replies:
    """The request to compare a later one with: the one named, or as of @MOMENT; never itself."""
    record, reference = second.tracker.record, parse_reference(text)
    if reference is None:
        return client.replies(text)

    def fits(one: RequestRecord) -> bool:
        earlier = one.created <= record.created or reference.moment is not None
        return one.id != record.id and earlier and reference.fits(one)

    if not reference.agent:
        return _newest(client, second, fits, f"as of {text}")
    try:
        return _newest(client, second, fits, f"as {text}")
    except SessionError:
        found = client.newest(fits)
        if found is None:
            raise
        return client.replies(found.id)


def _as_of(client: Client | Lookback, like: Replies, text: str) -> Replies:
    """The newest request, as of @MOMENT, that asked the same."""
    return _newest(client, like, parse_moment(text[1:]).holds, f"as of {text}")


def _earlier(client: Client | Lookback, than: Replies) -> Replies:
    created = than.tracker.record.created
    return _newest(client, than, lambda one: one.created < created, "before that")


def _newest(
    client: Client | Lookback, like: Replies, fits: Callable[[RequestRecord], bool], when: str
) -> Replies:
    """The newest that fits and asked the same of the same targets."""
    record = like.tracker.record
    asked = (record.agent, record.action, record.data, record.collective)
    others: list[str] = []

    def again(one: RequestRecord) -> bool:
        if (one.agent, one.action, one.data, one.collective) != asked or not fits(one):
            return False
        same = one.id == record.id or _same_targets(client.replies(one.id), like)
        others.extend([] if same else [one.id[:8]])
        return same

    found = client.newest(again)
    if found is not None:
        return client.replies(found.id)
    line = f"diff: {record.agent} {record.action} was not asked so {when} in any session"
    if others:
        line += f"; of other targets it was: diff {others[0]} compares with that"
    raise SessionError(line, client.session.name)


def _same_targets(first: Replies, second: Replies) -> bool:
    """Whether two requests were for the same: those that match the same, or the same by name."""
    one, other = first.tracker.record, second.tracker.record
    if (one.filter, one.pool, one.collective) != (other.filter, other.pool, other.collective):
        return False
    if not (one.options.get("named") or other.options.get("named")):
        return True
    return _targets(first) == _targets(second)


def _targets(replies: Replies) -> set[str]:
    return {entry.sender for entry in replies.entries() if not entry.unexpected}
