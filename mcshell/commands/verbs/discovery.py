"""`ping`, `find`, `inventory`: who is there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcshell.client.targeting import Ask, Targeting
from mcshell.commands.result import Table, counts_code
from mcshell.commands.verbs.targets import targeting
from mcshell.errors import UsageError, did_you_mean
from mcshell.message import State

if TYPE_CHECKING:
    import argparse

    from mcshell.client.known import KnownNode
    from mcshell.client.replies import Replies
    from mcshell.commands.context import Context

__all__ = ["find", "forget", "inventory", "ping"]

_NOBODY = "no node matches"
_PING = ("sender", "state", "time_ms")
_INVENTORY = ("sender", "state", "version", "collectives", "classes", "agents", "facts", "seen")


def find(context: Context, options: argparse.Namespace) -> Table:
    """The identities that match, known ones among them."""
    wanted = targeting(context, options)  # refused, where it must be, before anyone connects
    found = context.client(options).find(wanted)
    rows = [(name,) for name in sorted(found.names)]
    return Table(("sender",), rows, 0 if rows else 1, () if rows else (_NOBODY,))


def ping(context: Context, options: argparse.Namespace) -> Table:
    """Who answers, and how long it took; who should have answered is `silent`."""
    wanted = targeting(context, options)
    client = context.client(options)
    found = client.find(wanted)
    if found.discovered:
        times = {name: answer.rtt for name, answer in found.answers.items()}
        states = {name: State.OK if name in times else State.SILENT for name in found.names}
    else:
        asked = client.ask(Ask("rpcutil", "ping", targeting=wanted, timeout=options.timeout))
        times = {row.sender: row.lag for row in asked.rows() if row.lag is not None}
        states = {row.sender: row.state for row in asked.rows()}
    rows = [(name, str(states[name]), _milliseconds(times.get(name))) for name in sorted(states)]
    code = _code(list(states.values()), discovered=found.discovered)
    return Table(_PING, rows, code, () if rows else (_NOBODY,))


def inventory(context: Context, options: argparse.Namespace) -> Table | Replies:
    """What the nodes say of themselves; nodes that are named are asked in full."""
    wanted = Targeting(nodes=(options.node,)) if options.node else targeting(context, options)
    client = context.client(options)
    found = client.find(wanted)
    if not found.discovered:
        return client.ask(Ask("rpcutil", "inventory", targeting=wanted, timeout=options.timeout))
    rows = [(name, State.OK, answer.node) for name, answer in found.answers.items()]
    rows += [(node.identity, State.SILENT, node) for node in found.absent]
    rows.sort(key=lambda row: row[0])
    code = _code([state for _, state, _ in rows], discovered=True)
    notes = () if rows else (_NOBODY,)
    return Table(_INVENTORY, [_described(*row) for row in rows], code, notes)


def forget(context: Context, options: argparse.Namespace) -> Table:
    """Drop a node from what is known: it is no target any more until it is seen again."""
    client = context.client(options)
    if not client.known.forget(options.name):
        names = [node.identity for node in client.known.nodes(context.settings.collective.main)]
        raise UsageError(f"no node {options.name!r} is known{did_you_mean(options.name, names)}")
    return Table(("sender",), [(options.name,)])


def _described(name: str, state: State, node: KnownNode) -> tuple[Any, ...]:
    seen = datetime.fromtimestamp(node.seen, UTC).isoformat(timespec="seconds")
    return (
        name,
        str(state),
        node.version,
        list(node.collectives),
        sorted(node.classes),
        sorted(node.agents),
        dict(node.facts),
        seen,
    )


def _code(states: list[State], *, discovered: bool) -> int:
    counts: dict[str, int] = {str(state): states.count(state) for state in State}
    return counts_code({"targets": len(states), **counts}, discovered=discovered)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
