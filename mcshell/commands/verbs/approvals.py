"""`propose`, `proposals`, `approve`, `proposal run`: what takes more than one operator."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from mcshell.commands.output.result import Table, submitted_code
from mcshell.commands.verbs.rpc import inputs
from mcshell.commands.verbs.submitting import confirm, confirmation
from mcshell.commands.verbs.targeting import targeting
from mcshell.filters.nodes import fold
from mcshell.wire.documents import strict_json

if TYPE_CHECKING:
    from mcshell.client.approvals import ProposalStatus
    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.request_options import (
        ApproveOptions,
        ProposalsOptions,
        ProposeOptions,
        RunOptions,
    )

__all__ = ["approve", "proposals", "propose", "run"]

_COLUMNS: Final = ("sender", "proposal", "state", "reason")
_SHOWN: Final = 12
_LIST: Final = ("proposal", "author", "agent", "action", "nodes", "approved", "expires", "why")


def propose(context: Context, options: ProposeOptions) -> Table:
    """Propose it, and bring it to its nodes: a row each."""
    action = context.ddls.get(options.agent).action(options.action)
    data = action.check(inputs(action, options, context.inputs))
    wanted = targeting(context, options)
    status = context.client(options.session).approvals.propose(
        options.agent,
        options.action,
        ttl=options.ttl,
        why=options.why or "",
        timeout=options.timeout,
        inputs=data,
        targeting=wanted,
    )
    note = f"others look at it and sign: mcshell approve {status.digest[:_SHOWN]}"
    return _brought(status, note, discovered=not options.named)


def proposals(context: Context, options: ProposalsOptions) -> Table:
    """What was proposed and has not ended."""
    found, left = context.client(options.session).approvals.told(timeout=options.timeout)
    rows = [
        (
            *(status.digest, one.author, one.agent, one.action, len(one.nodes)),
            *(", ".join(status.approvers), one.expires, one.why),
        )
        for status in found
        for one in (status.proposal,)
    ]
    return Table(_LIST, rows, notes=tuple(left), times=("expires",), ids=("proposal",))


def approve(context: Context, options: ApproveOptions) -> Table:
    """Show a proposal, ask, sign, and bring the approval to its nodes."""

    def go_on(status: ProposalStatus) -> bool:
        if not options.yes:
            confirm(context, _described(context, status))
        return True

    status = context.client(options.session).approvals.approve(
        options.proposal, confirm=go_on, timeout=options.timeout
    )
    return _brought(status, f"approved by {', '.join(status.approvers)}")


def run(context: Context, options: RunOptions) -> Replies:
    """Ask for what was proposed, of its nodes."""
    return context.client(options.session).approvals.run(
        options.proposal,
        via=options.via or "queue",
        timeout=options.timeout,
        confirm=confirmation(context, options),
    )


def _described(context: Context, status: ProposalStatus) -> str:
    """All that an approver signs, in one line; what the schema calls secret is not shown.

    An author's words are in quotes: they cannot be taken for what else the line says.
    """
    one = status.proposal
    data = context.ddls.get(one.agent).action(one.action).redact(dict(one.data))
    said = [f"{name}={strict_json.canonical(value)}" for name, value in data.items()]
    filters = "; ".join(
        f"{name}: {', '.join(map(_quoted, words))}"
        for name, words in one.filter.as_dict().items()
        if words
    )
    parts = [
        f"{one.author} proposes {one.agent} {' '.join([one.action, *said])}",
        f"on {len(one.nodes)} nodes: {fold(one.nodes)}",
        *([f"which match {filters}"] if filters else []),
        f"until {time.strftime('%F %TZ', time.gmtime(one.expires))}",
        *([f"because: {_quoted(one.why)}"] if one.why else []),
        f"approved so far by: {', '.join(status.approvers) or 'nobody'}",
        status.digest[:_SHOWN],
    ]
    return "; ".join(parts)


def _quoted(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)


def _brought(status: ProposalStatus, note: str, *, discovered: bool = True) -> Table:
    replies = status.replies
    assert replies is not None, "it was brought"
    entries = replies.entries()
    rows = [
        (
            one.sender,
            status.digest,
            one.state.value,
            one.reason
            or ("" if one.reply is None or not one.reply.statuscode else one.reply.statusmsg),
        )
        for one in entries
    ]
    heard = any(one.reply is not None for one in entries)
    code = submitted_code(replies.stats, discovered=discovered, heard=heard)
    return Table(_COLUMNS, rows, code, (note,), ids=("proposal",), quiet=("reason",))
