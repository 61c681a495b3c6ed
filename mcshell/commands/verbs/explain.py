"""`explain`: why a node is silent, with the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.errors import did_you_mean

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.request_options import ExplainOptions

__all__ = ["explain"]

_CAUSES = ("cause", "kind", "evidence", "since")


def explain(context: Context, options: ExplainOptions) -> Table:
    """The causes, the most likely first; each is observed or inferred."""
    client = context.client(options.session)
    found = client.causes(options.node, options.request)
    rows = [tuple(getattr(cause, name) for name in _CAUSES) for cause in found]
    known = client.known.identities(context.settings.collective.main)
    near = "" if options.node in known else did_you_mean(options.node, sorted(known))
    notes = (f"no known node is called {options.node!r}{near}",) if near else ()
    return Table(_CAUSES, rows, 0, notes, times=("since",))
