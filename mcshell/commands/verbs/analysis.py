"""`fold`, `diff`, `outliers`, `summary`, `sql`: looking at replies that are already here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.analysis import diff as differences
from mcshell.client.analysis import fold as folds
from mcshell.client.analysis import outliers as odd
from mcshell.client.analysis import sql as database
from mcshell.client.analysis import summary as descriptions
from mcshell.client.analysis.answers import of_replies
from mcshell.client.session.references import parse_moment
from mcshell.commands.output.result import Table
from mcshell.errors import SessionError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Replies
    from mcshell.client.store.records import RequestRecord
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.request_options import (
        ColumnsOptions,
        DiffOptions,
        OutliersOptions,
        SQLOptions,
    )

__all__ = ["diff", "fold", "outliers", "since", "sql", "summary"]


def fold(context: Context, options: ColumnsOptions) -> Table:
    """Nodes with equal answers as one line."""
    answers = of_replies(context.client(options.session).replies(options.request))
    return Table(*folds.rows(answers, options.columns))


def outliers(context: Context, options: OutliersOptions) -> Table:
    """The odd ones out in a request's answers."""
    replies = context.client(options.session).replies(options.request)
    share = odd.SHARE if options.share is None else options.share
    found = odd.outliers(of_replies(replies), options.columns, share=share)
    note = f"{len(found)} odd values on {len({one.sender for one in found})} nodes"
    return Table(odd.COLUMNS, odd.rows(found), notes=(note,))


def summary(context: Context, options: ColumnsOptions) -> Table:
    """Each column of a request's answers in one line, and what the DDL sums up."""
    replies = context.client(options.session).replies(options.request)
    notes: list[str] = []
    for aggregate in replies.aggregates():
        notes += [f"{aggregate.title}:", *(f"  {line}" for line in aggregate.lines)]
    rows = descriptions.rows(of_replies(replies), options.columns)
    return Table(descriptions.COLUMNS, rows, notes=tuple(notes))


def sql(context: Context, options: SQLOptions) -> Table:
    """What a query over the session's replies gives."""
    text = " ".join(options.query)
    if text == "-" or (not text and context.face == "magic"):
        text = context.stdin.read()
    if not text.strip():
        raise UsageError("sql: QUERY is missing (- reads it from standard input)")
    return Table(*database.query(context.client(options.session).session.path, text))


def diff(context: Context, options: DiffOptions) -> Table:
    """What changed between two requests, or since an earlier time the same was asked."""
    first, second = _pair(context.client(options.session), options.before, options.after)
    return _different(first, second, options.columns)


def since(client: Client, replies: Replies, before: str) -> Table:
    """What changed to these replies since a request, or since the same was asked as of @MOMENT."""
    earlier = _before(client, replies.tracker.record, before)
    return _different(client.replies(earlier), replies, ())


def _different(first: Replies, second: Replies, columns: Sequence[str]) -> Table:
    before, after = of_replies(first), of_replies(second)
    changes = differences.diff(before, after, columns)
    ids = f"{first.requestid[:8]} and {second.requestid[:8]}"
    note = f"{differences.summary_line(changes, before, after)} ({ids})"
    return Table(differences.COLUMNS, differences.rows(changes), notes=(note,))


def _pair(client: Client, before: str | None, after: str | None) -> tuple[Replies, Replies]:
    """The two requests to compare; the one that is only a moment asks what the other asks."""
    if after is not None and not after.startswith("@"):
        second = client.replies(after)
    elif before is not None and after is not None and not before.startswith("@"):
        record = client.replies(before).tracker.record
        second = client.replies(_as_of(client, record, after).id)
    else:
        last = client.replies(None)
        same = last.tracker.record
        second = last if after is None else client.replies(_as_of(client, same, after).id)
    if before is None:
        return client.replies(_earlier(client, second.tracker.record).id), second
    if before.startswith("@"):
        return client.replies(_before(client, second.tracker.record, before)), second
    return client.replies(before), second


def _before(client: Client, record: RequestRecord, text: str) -> str:
    """The id of the request to compare a later one with: the one named, or as of @MOMENT."""
    if not text.startswith("@"):
        return text
    moment = parse_moment(text[1:])
    other = _newest(
        client, record, lambda one: one.id != record.id and moment.holds(one), f"as of {text}"
    )
    return other.id


def _as_of(client: Client, like: RequestRecord, text: str) -> RequestRecord:
    """The newest request, as of @MOMENT, that asked the same."""
    return _newest(client, like, parse_moment(text[1:]).holds, f"as of {text}")


def _earlier(client: Client, than: RequestRecord) -> RequestRecord:
    return _newest(client, than, lambda one: one.created < than.created, "before that")


def _newest(
    client: Client, like: RequestRecord, fits: Callable[[RequestRecord], bool], when: str
) -> RequestRecord:
    asked = (like.agent, like.action, like.data, like.collective)

    def again(one: RequestRecord) -> bool:
        return (one.agent, one.action, one.data, one.collective) == asked and fits(one)

    found = client.newest(again)
    if found is not None:
        return found
    line = f"diff: {like.agent} {like.action} was not asked so {when} in any session"
    raise SessionError(line, client.session.name)
