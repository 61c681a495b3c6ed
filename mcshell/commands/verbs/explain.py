"""`explain`: why a node is silent, with the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.request_options import ExplainOptions

__all__ = ["explain"]

_CAUSES = ("cause", "kind", "evidence", "since")


def explain(context: Context, options: ExplainOptions) -> Table:
    """The causes, the most likely first; each is observed or inferred."""
    found = context.client(options.session).causes(options.node, options.request)
    rows = [tuple(getattr(cause, name) for name in _CAUSES) for cause in found]
    return Table(_CAUSES, rows, times=("since",))
