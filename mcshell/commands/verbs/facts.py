"""`facts NAME`: how a fact is distributed over the fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.targeting import RequestOptions
from mcshell.client.discovery.unknown_terms import unknown_fact
from mcshell.commands.output.json_document import dumps
from mcshell.commands.output.result import INTERRUPTED, Table, exit_code
from mcshell.commands.verbs.submitting import found_by, put
from mcshell.commands.verbs.targeting import targeting
from mcshell.errors import Stopped
from mcshell.filters.facts import lookup
from mcshell.filters.nodes import fold
from mcshell.filters.simple import unquoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcshell.client.discovery.methods import Discovered
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.request_options import FactsOptions

__all__ = ["facts"]


def facts(context: Context, options: FactsOptions) -> Table:
    """Each value, how many nodes have it, and which; the most frequent first.

    After Ctrl-C in discovery, of those who had answered: with that come their facts.
    """
    wanted = targeting(context, options)
    ask = RequestOptions(
        agent="rpcutil",
        action="get_fact",
        data={"fact": unquoted(options.name)},
        targeting=wanted,
        timeout=options.timeout,
    )
    try:
        replies = put(context, options, ask)
    except Stopped as stopped:
        answered = _known(found_by(context, stopped), ask.data["fact"])
        return _distribution(answered, INTERRUPTED)
    context.seen(replies)
    told = [(row.sender, str(row.state), row.data.get("value")) for row in replies.rows()]
    found = _distribution(told, exit_code(replies, options))
    if any(value is not None for _sender, _state, value in told):
        return found
    client = context.client(options.session)
    known = client.known.nodes(wanted.collective or context.settings.collective.main)
    unknown = unknown_fact(ask.data["fact"], known)
    return replace(found, notes=(*found.notes, unknown)) if unknown else found


def _known(found: Discovered, fact: str) -> Iterator[tuple[str, str, Any]]:
    """What those who are found say the fact is; some say no facts with their answer."""
    for name in found.names:
        answer = found.answers.get(name)
        facts = {} if answer is None else answer.node.facts
        state = "silent" if answer is None else "ok" if facts else "not asked"
        yield name, state, lookup(facts, fact, None)


def _distribution(told: Iterable[tuple[str, str, Any]], code: int) -> Table:
    """The table of senders, states and values; who is not ok is named below, by state."""
    values: dict[str, Any] = {}
    holders: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for sender, state, value in told:
        if state != "ok":
            others.setdefault(state, []).append(sender)
            continue
        key = dumps(value)
        values[key] = value
        holders.setdefault(key, []).append(sender)
    ranked = sorted(holders, key=lambda key: (-len(holders[key]), key))
    rows = [(values[key], len(holders[key]), fold(sorted(holders[key]))) for key in ranked]
    notes = (f"{state}: {fold(sorted(names))}" for state, names in sorted(others.items()))
    return Table(("value", "count", "nodes"), rows, code, tuple(notes))
