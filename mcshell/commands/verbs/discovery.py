"""`ping`, `find`, `inventory`: who is there."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcshell.client.discovery.targeting import RequestOptions, Targeting
from mcshell.commands.output.result import INTERRUPTED, Feed, Table, counts_code
from mcshell.commands.verbs.shaping import check, shaped, shaped_table
from mcshell.commands.verbs.submitting import found_by, put
from mcshell.commands.verbs.targeting import targeting
from mcshell.errors import Stopped, UsageError, did_you_mean
from mcshell.filters import compile_filter
from mcshell.filters.nodes import canonical, expand
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcshell.client.client import Client
    from mcshell.client.discovery.methods import Discovered
    from mcshell.client.discovery.node_cache import CachedNode
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import ForgetOptions
    from mcshell.commands.grammar.request_options import FindOptions, InventoryOptions, PingOptions

__all__ = ["find", "forget", "inventory", "ping"]

_FIND = {"sender": "string"}
_PING = {**_FIND, "state": "string", "time_ms": "Float64"}
_INVENTORY = ("sender", "state", "version", "collectives", "classes", "agents", "facts", "seen")


def find(context: Context, options: FindOptions) -> Table:
    """The identities that match, known ones among them."""
    wanted = targeting(context, options)  # refused, where it must be, before anyone connects
    found = _found(context, context.client(options.session), wanted)
    rows = [(name,) for name in sorted(found.names)]
    code = INTERRUPTED if context.stopped else 0 if rows else 1
    return Table(tuple(_FIND), rows, code, _notes(found), kinds=_FIND)


def _found(context: Context, client: Client, wanted: Targeting) -> Discovered:
    """Who is there; after Ctrl-C who had answered, and the known of whom there was no word yet."""
    try:
        return client.find(wanted)
    except Stopped as stopped:
        return found_by(context, stopped)


def ping(context: Context, options: PingOptions) -> Table:
    """Who answers, and how long it took; who should have answered is `silent`."""
    check(options)
    wanted = targeting(context, options)
    client = context.client(options.session)
    began = time.time()
    found = _found(context, client, wanted)
    if not found.names:
        return Table(tuple(_PING), [], 1, _notes(found), kinds=_PING)
    notes = _notes(found)
    if found.discovered:
        times = {name: answer.rtt for name, answer in found.answers.items()}
        states = {name: _state(found, name) for name in (*found.names, *found.unheard)}
    else:
        ask = RequestOptions(
            agent="rpcutil", action="ping", targeting=wanted, timeout=options.timeout
        )
        asked = put(context, options, ask)
        context.seen(asked)
        times = {row.sender: row.lag for row in asked.rows() if row.lag is not None}
        states = {row.sender: row.state for row in asked.rows()}
        notes = tuple(filter(None, [client.monitor.refused_since(began)]))
    rows: list[tuple[Any, ...]] = [
        (name, str(states[name]), _milliseconds(times.get(name))) for name in sorted(states)
    ]
    columns = tuple(_PING)
    if several := {name: one.machines for name, one in found.answers.items() if one.machines}:
        columns = (*columns, "duplicate")
        rows = [(*row, ", ".join(several.get(row[0], ())) or None) for row in rows]
    code = INTERRUPTED if context.stopped else _code(states.values(), found)
    return shaped_table(options, Table(columns, rows, code, notes, kinds=_PING))


def inventory(context: Context, options: InventoryOptions) -> Table | Replies | Feed:
    """What the nodes say of themselves; nodes that are named are asked in full."""
    if check(options) and options.follow:
        raise UsageError("inventory --follow shows every node as it comes: it takes no such option")
    if options.follow:
        return _follow(context, options)
    source = options.source or "broadcast"
    wanted = targeting(context, options)
    if options.node:
        wanted = Targeting(
            nodes=tuple(expand([options.node], context.groups)),
            source=source,
            collective=options.collective,
        )
    client = context.client(options.session)
    found = _found(context, client, wanted)
    if source == "inventory":
        return shaped_table(options, _remembered(client, found, wanted.collective))
    if not found.discovered:
        ask = RequestOptions(
            agent="rpcutil", action="inventory", targeting=wanted, timeout=options.timeout
        )
        return shaped(context, options, put(context, options, ask))
    rows = [(name, _state(found, name), answer.node) for name, answer in found.answers.items()]
    rows += [(node.identity, State.SILENT, node) for node in found.absent]
    rows.sort(key=lambda row: row[0])
    code = INTERRUPTED if context.stopped else _code([state for _, state, _ in rows], found)
    described = [_described(node, state) for _, state, node in rows]
    return shaped_table(options, _inventoried(described, code, found))


def forget(context: Context, options: ForgetOptions) -> Table:
    """Drop a node from what is known: it is no target any more until it is seen again."""
    client = context.client(options.session)
    if not client.known.forget(canonical(options.name)):
        names = [node.identity for node in client.known.nodes(context.settings.collective.main)]
        raise UsageError(f"no node {options.name!r} is known{did_you_mean(options.name, names)}")
    return Table(("sender",), [(canonical(options.name),)])


def _remembered(client: Client, found: Discovered, collective: str | None) -> Table:
    """What is known of the nodes, without asking them: nobody says how they are now."""
    collective = collective or client.settings.collective.main
    nodes = {node.identity: node for node in found.absent}
    for name in found.names:
        if name not in nodes and (node := client.known.node(collective, name)) is not None:
            nodes[name] = node
    rows = [_described(nodes[name], None) for name in sorted(nodes)]
    return _inventoried(rows, 0 if rows else 1, found)


def _inventoried(rows: list[tuple[Any, ...]], code: int, found: Discovered) -> Table:
    return Table(
        _INVENTORY,
        rows,
        code,
        _notes(found),
        times=("seen",),
        bulky=("agents", "facts"),
        minor=("collectives",),
    )


def _follow(context: Context, options: InventoryOptions) -> Feed:
    """A record for each node that answers now, then one for each registration as it comes."""
    if context.face == "magic":
        raise UsageError("inventory --follow: only on the command line or at the prompt")
    if options.format != "jsonl":
        raise UsageError("inventory --follow never ends: it goes with --jsonl")
    wanted = targeting(context, options)
    if options.node or wanted.nodes is not None:
        raise UsageError("inventory --follow takes filters, no names")
    client = context.client(options.session)

    def records() -> Iterator[dict[str, Any]]:
        matcher = compile_filter(wanted.filter)
        with client.monitor.registrations() as coming:
            found = client.find(wanted)
            for _name, answer in sorted(found.answers.items()):
                yield _record(answer.node)
            for node in coming:
                if matcher.matches_known(node):
                    yield _record(node)

    return Feed(records())


def _record(node: CachedNode) -> dict[str, Any]:
    """One line of `--follow`: the columns of the inventory, and what only registrations say."""
    columns = [name for name in _INVENTORY if name != "state"]
    row = dict(zip(_INVENTORY, _described(node, None), strict=True))
    return {
        **{name: row[name] for name in columns},
        "pools": list(node.pools),
        "started": node.started,
        "interval": node.interval,
        "crl": node.crl,
        "flaws": None if node.flaws is None else list(node.flaws),
    }


def _described(node: CachedNode, state: State | None) -> tuple[Any, ...]:
    seen = datetime.fromtimestamp(node.seen, UTC).isoformat(timespec="seconds")
    return (
        node.identity,
        None if state is None else str(state),
        node.version,
        list(node.collectives),
        sorted(node.classes),
        sorted(node.agents),
        dict(node.facts),
        seen,
    )


def _state(found: Discovered, name: str) -> State:
    answer = found.answers.get(name)
    if answer is None:
        return State.SILENT
    return State.FAILED if answer.refusal else State.OK


def _notes(found: Discovered) -> tuple[str, ...]:
    if found.stopped:
        return (f"stopped after {found.elapsed:.1f} s: others may be there", *found.notes)
    if found.names:
        return found.notes
    # Who does not match does not answer: only time tells that there is nobody.
    waited = f": nobody answered within {found.elapsed:.1f} s" if found.discovered else ""
    return (f"no node matches{waited}", *found.notes)


def _code(states: Iterable[State], found: Discovered) -> int:
    listed = list(states)
    counts: dict[str, int] = {str(state): listed.count(state) for state in State}
    return counts_code({"targets": len(listed), **counts}, discovered=found.discovered)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
