"""`cp`: files to any number of nodes, or one path from them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcshell.client.files.manager import PATIENCE, PutOptions
from mcshell.commands.output.result import Table, counts_code
from mcshell.commands.verbs.submitting import confirmation
from mcshell.commands.verbs.targeting import targeting
from mcshell.errors import UsageError
from mcshell.message import State, Via

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.client.files.copies import FileCopy
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.file_options import CopyOptions

__all__ = ["cp", "remote"]

_COLUMNS: Final = (
    *("sender", "source", "path", "state", "result"),
    *("bytes", "sha256", "seconds", "reason"),
)
_REMOTE: Final = re.compile(r"([^/:]*):(/.*)", re.DOTALL)
_PLAIN: Final = re.compile(r"[^\[\]@*?,/]+")


def remote(place: str) -> tuple[str, str] | None:
    """The nodes and the path of NODE:PATH; None for a path of this machine (`./a:/b` is one)."""
    found = _REMOTE.fullmatch(place)
    return None if found is None else (found[1], found[2])


def cp(context: Context, options: CopyOptions) -> Table:
    """Copy; a row a node and file.

    Raises:
        UsageError: the places mean nothing together, or many nodes would be changed unasked.
    """
    *sources, target = options.places
    there, origin = remote(target), [remote(one) for one in sources]
    if there is not None and sources and not any(origin):
        options = _narrowed(options, there[0])
        return _table(_put(context, options, sources, there[1]), options)
    if there is None and len(origin) == 1 and origin[0] is not None:
        nodes, path = origin[0]
        options = _narrowed(options, nodes)
        copies = _get(context, options, path, Path(target), alone=bool(_PLAIN.fullmatch(nodes)))
        return _table(copies, options)
    raise UsageError("cp SOURCE… NODE:PATH, or cp NODE:PATH DIR (PATH is absolute)")


def _put(
    context: Context, options: CopyOptions, sources: Sequence[str], path: str
) -> list[FileCopy]:
    asked = PutOptions(
        mode=options.mode,
        owner=options.owner,
        group=options.group,
        noop=options.noop,
        rate=options.rate,
        via=None if options.via is None else Via(options.via),
        ttl=options.ttl,
        wait=not options.background,
        patience=PATIENCE if options.timeout is None else options.timeout,
    )
    client = context.client(options.session)
    with context.copying("cp") as progress:
        return client.files.copy_to(
            [Path(one) for one in sources],
            path,
            targeting(context, options),
            asked.reporting(progress),
            confirmation(context, options),
        )


def _get(
    context: Context, options: CopyOptions, path: str, folder: Path, *, alone: bool
) -> list[FileCopy]:
    said = {name: getattr(options, name) for name in ("mode", "owner", "group", "via", "ttl")}
    for name, one in {**said, "noop": options.noop, "background": options.background}.items():
        if one:
            raise UsageError(f"cp NODE:PATH DIR: --{name} is for what goes to nodes")
    patience = PATIENCE if options.timeout is None else options.timeout
    asked = PutOptions(rate=options.rate, patience=patience)
    client = context.client(options.session)
    with context.copying("cp") as progress:
        return client.files.copy_from(
            path,
            folder,
            targeting(context, options),
            asked.reporting(progress),
            by_node=not alone,
        )


def _narrowed(options: CopyOptions, nodes: str) -> CopyOptions:
    """The options with the nodes that stand before the colon; nobody is meant by nothing at all."""
    if nodes and (options.identity or options.nodes):
        raise UsageError(f"{nodes}: names its nodes already, -I and --nodes do not go with it")
    if nodes:
        return options.replace(identity=[nodes])
    filters = (options.fact, options.cls, options.agent_filter, options.compound)
    if any(filters) or options.identity or options.nodes or options.source:
        return options
    raise UsageError("cp: which nodes? NODE:PATH, or a filter (-F, -C, -S) with :PATH")


def _table(copies: list[FileCopy], options: CopyOptions) -> Table:
    counts = Counter(one.state for one in copies)
    stats = {"targets": len(copies), **{str(state): counts[state] for state in State}}
    code = 0 if options.background else counts_code(stats, discovered=not options.named)
    rows = [
        (
            *(one.sender, one.source, one.path, str(one.state), one.result or None),
            *(one.bytes, one.sha256 or None, round(one.seconds, 2), one.reason or None),
        )
        for one in copies
    ]
    said = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    note = f"{len(copies)} file{'' if len(copies) == 1 else 's'} on nodes: {said}"
    return Table(
        _COLUMNS, rows, code, (note,), ids=("sha256",), quiet=("reason",), minor=("source",)
    )
