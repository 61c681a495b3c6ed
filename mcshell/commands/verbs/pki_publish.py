"""`pki publish`: the newest revocation list to the nodes that work under an older one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.commands.output.result import Table, counts_code
from mcshell.commands.verbs.targeting import targeting
from mcshell.errors import ConfigError
from mcshell.message import State
from mcshell.pki.certificates import crl_number, lists_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcshell.client.discovery.methods import Discovered
    from mcshell.client.messaging.rejections import Rejection
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import PKIPublishOptions

__all__ = ["publish"]

_COLUMNS = ("sender", "state", "before", "crl", "statusmsg")
_NEWER = "has a newer one"


def publish(context: Context, options: PKIPublishOptions) -> Table:
    """Send it to each node that needs it; a row a node, also for those that are up to date."""
    wanted = targeting(context, options)
    path = context.ca_dir(options.pki) / "crl.pem"
    if not path.exists() and context.settings.pki.crl is None:
        raise ConfigError(f"there is no {path}, and pki.crl is not set", "pki.crl")
    client = context.client(options.session)
    newest = client.monitor.newest_crl([path.read_bytes()] if path.exists() else [])
    assert newest is not None
    number, pem = newest
    found = client.find(wanted)
    before = _numbers(found)
    behind = [name for name in found.names if (before.get(name) or 0) < number]
    timeout = options.timeout or context.settings.client.probe
    answers = client.monitor.publish(pem, behind, timeout, wanted.collective)
    rows: list[tuple[Any, ...]] = []
    for name in sorted(found.names):
        had = before.get(name)
        if name not in behind:
            rows.append((name, str(State.OK), had, had, "has it" if had == number else _NEWER))
        elif (reply := answers.get(name)) is None:
            refused = client.monitor.refused(name)
            why = "no answer" if refused is None else _not_believed(refused)
            rows.append((name, str(State.SILENT), had, None, why))
        else:
            rows.append((name, str(reply.state), had, reply.data.get("crl"), reply.statusmsg))
    states = [row[1] for row in rows]
    counts = {str(state): states.count(str(state)) for state in State}
    had_by = {"this operator": number} | {name: had or 0 for name, had in before.items()}
    return Table(
        _COLUMNS, rows, counts_code({"targets": len(rows), **counts}), _notes(path, had_by)
    )


def _notes(path: Path, had_by: Mapping[str, int]) -> tuple[str, ...]:
    """What is to be done where the CA's folder is an older copy: no node takes what it signs next."""
    who = max(had_by, key=lambda name: had_by[name])
    lists = lists_in(path.read_bytes()) if path.exists() else []
    own = max((crl_number(one) or 0 for one in lists), default=had_by[who])
    if own >= had_by[who]:
        return ()
    note = (
        f"{path} has the number {own}, {who} has {had_by[who]}: put that list (pki.crl) in its place"
        " before anything else is revoked, which no node would take"
    )
    return (note,)


def _not_believed(refused: Rejection) -> str:
    if refused.proven:
        return f"its answer is refused: {refused.error}"
    return f"no answer; someone who claims to be it is refused: {refused.error}"


def _numbers(found: Discovered) -> dict[str, int | None]:
    """The number that each node says it works under, now or when it was last heard."""
    numbers = {node.identity: node.crl for node in found.absent}
    return numbers | {name: answer.node.crl for name, answer in found.answers.items()}
