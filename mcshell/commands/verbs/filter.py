"""`filter`: a filter that narrows every line to come, until it is taken off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.commands.verbs.targeting import filter_of
from mcshell.errors import UsageError
from mcshell.filters import compile_filter

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar import request_options
    from mcshell.message import Filter

__all__ = ["filter_", "words"]

_OPTIONS = (("fact", "-F"), ("cls", "-C"), ("agent", "-A"), ("identity", "-I"), ("compound", "-S"))


def filter_(context: Context, options: request_options.FilterOptions) -> Table:
    """Put a filter in force, take it off, or say which one is."""
    if context.face == "cli":
        raise UsageError("filter: it holds for the lines of a prompt; here say -F, -C, -I or -S")
    wanted = filter_of(context, options)
    if options.off:
        if wanted:
            raise UsageError("filter: --off takes no filter")
        context.filter = None
    elif wanted:
        compile_filter(wanted)
        context.filter = wanted
    rows = [] if context.filter is None else words(context.filter)
    return Table(("option", "filter"), rows, notes=() if rows else ("no filter is in force",))


def words(found: Filter) -> list[tuple[str, str]]:
    """A filter as options and their words."""
    return [(option, word) for name, option in _OPTIONS for word in getattr(found, name)]
