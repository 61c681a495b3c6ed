"""`facts NAME`: how a fact is distributed over the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.targeting import RequestOptions
from mcshell.commands.output.json_document import dumps
from mcshell.commands.output.result import Table, exit_code
from mcshell.commands.verbs.submitting import put
from mcshell.commands.verbs.targeting import targeting
from mcshell.filters.nodes import fold

if TYPE_CHECKING:
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.request_options import FactsOptions

__all__ = ["facts"]


def facts(context: Context, options: FactsOptions) -> Table:
    """Each value, how many nodes have it, and which; the most frequent first."""
    wanted = targeting(context, options)
    ask = RequestOptions(
        agent="rpcutil",
        action="get_fact",
        data={"fact": options.name},
        targeting=wanted,
        timeout=options.timeout,
    )
    replies = put(context, options, ask)
    context.seen(replies)
    values: dict[str, Any] = {}
    holders: dict[str, list[str]] = {}
    for row in replies.rows():
        if str(row.state) == "ok":
            value = row.data.get("value")
            key = dumps(value)
            values[key] = value
            holders.setdefault(key, []).append(row.sender)
    ranked = sorted(holders, key=lambda key: (-len(holders[key]), key))
    rows = [(values[key], len(holders[key]), fold(sorted(holders[key]))) for key in ranked]
    return Table(
        ("value", "count", "nodes"), rows, exit_code(replies, options), tuple(_notes(replies))
    )


def _notes(replies: Replies) -> list[str]:
    """A line for each other state, so that no node is missing without a word."""
    others: dict[str, list[str]] = {}
    for row in replies.rows():
        if str(row.state) != "ok":
            others.setdefault(str(row.state), []).append(row.sender)
    return [f"{state}: {fold(sorted(names))}" for state, names in sorted(others.items())]
