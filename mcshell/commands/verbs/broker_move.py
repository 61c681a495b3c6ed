"""`broker move`: what waits in one broker's queues is taken to another."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcshell.commands.output.result import Table
from mcshell.errors import ConfigError, UsageError
from mcshell.texts import bytes_of, decoded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import BrokerMoveOptions
    from mcshell.config import Settings
    from mcshell.wire.stomp.connector import Connector

__all__ = ["move"]

_LEFT = 2
_MOST: Final = 64 << 20
_START = 20.0  # seconds for the first connection to each


def move(context: Context, options: BrokerMoveOptions) -> Table:
    """Take every message of mcshell's queues to the new broker; a row for each that had any.

    The login is the settings': an operator whom `broker config --mover` names at both.

    Raises:
        UsageError: one broker is both; the old one has to be told which queues it has.
        WireError: a broker is not there, or was lost for good.
    """
    from mcshell.broker.move import Mover, is_ours, patterns  # noqa: PLC0415 - a shell needs none

    settings = context.settings
    if options.source in options.target:
        raise UsageError(f"--from and --to are both {options.source}")
    listed = _listed(context, options.queues)
    with (
        closing(_connector(settings, [options.source])) as source,
        closing(_connector(settings, options.target)) as target,
    ):
        source.start(_START)
        target.start(_START)
        if listed is None and not source.dialect.queue_patterns:
            raise UsageError(_UNLISTED[source.dialect.name])
        wanted: Mapping[str, int | None] = (
            dict.fromkeys(patterns(settings.collective.member))
            if listed is None
            else {name: count for name, count in listed.items() if is_ours(name)}
        )
        mover = Mover(source, target, lambda: _connector(settings, options.target))
        moves = mover.move(wanted)
    others = [name for name, count in (listed or {}).items() if count and not is_ours(name)]
    rows = [(one.name, one.listed, one.taken, one.left) for one in moves if one.taken or one.left]
    notes = [f"{sum(row[2] for row in rows)} messages taken"]
    if others:
        notes.append(f"not mcshell's, left alone: {' '.join(sorted(others))}")
    return Table(
        ("queue", "listed", "taken", "left"),
        rows,
        _LEFT if any(one.left for one in moves) else 0,
        notes=tuple(notes),
        quiet=("listed", "left"),
    )


_UNLISTED = {
    "rabbitmq": "RabbitMQ lists no queues over STOMP. Where the old one runs: "
    "DIR/ctl -q list_queues name messages | mcshell broker move … --queues -",
    "mcshell": "the embedded broker lists no queues: name them, one a line (--queues FILE)",
}


def _connector(settings: Settings, urls: Sequence[str]) -> Connector:
    from mcshell.wire.credentials import connector  # noqa: PLC0415 - slow to load

    return connector(replace(settings, broker=replace(settings.broker, urls=tuple(urls))))


def _listed(context: Context, file: str | None) -> dict[str, int | None] | None:
    """The names in a list of queues, and how many messages each holds where that is said."""
    if file is None:
        return None
    try:
        text = context.stdin.read() if file == "-" else decoded(bytes_of(Path(file), _MOST))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--queues {file}: {error}", origin=file) from error
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        words = line.strip().split("\t" if "\t" in line else None)  # a list made by hand
        name, count = ([*words, "", ""])[:2]
        if name and (name, count) != ("name", "messages"):
            found[name] = int(count) if count.isdigit() else None
    return found
