"""From the options of a line to a `Targeting`; filters are checked before anyone connects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.discovery.groups import identities
from mcshell.client.discovery.targeting import Targeting
from mcshell.errors import NoTargets, UsageError
from mcshell.filters import compile_filter
from mcshell.message import Filter

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.options import FiltersOptions, TargetsOptions

__all__ = ["filter_of", "targeting"]


def filter_of(context: Context, options: FiltersOptions) -> Filter:
    """The filter that a line's options say, each `@GROUP` of it as the names of its nodes."""
    return Filter(
        fact=tuple(options.fact),
        cls=tuple(options.cls),
        agent=tuple(options.agent_filter),
        identity=identities(options.identity, context.groups),
        compound=tuple(options.compound),
    )


def targeting(context: Context, options: TargetsOptions) -> Targeting:
    """Read who is meant; the filter in force narrows it.

    Raises:
        FilterError: a filter does not parse.
        UsageError: `--dm` and `--nodes` do not fit together, or `--nodes` names nothing.
        NoTargets: the source of names is empty.
    """
    filter_ = filter_of(context, options)
    compile_filter(filter_)
    if context.filter is not None:
        filter_ = _both(filter_, context.filter)
    return Targeting(
        filter=filter_,
        nodes=_nodes(context, options),
        source=options.source or "broadcast",
        source_options=tuple(options.source_options),
        discovery_timeout=options.discovery_timeout,
        known=options.known,
        fresh=options.fresh,
        limit=options.limit,
        limit_seed=options.limit_seed,
        one=options.one,
        collective=options.collective,
    )


def _both(one: Filter, other: Filter) -> Filter:
    """The filter that lets through what both do: of identities, several mean any of them."""
    if one.identity and other.identity:
        raise UsageError("-I: the filter in force names identities already (filter --off)")
    return Filter(
        one.fact + other.fact,
        one.cls + other.cls,
        one.agent + other.agent,
        one.identity + other.identity,
        one.compound + other.compound,
    )


def _nodes(context: Context, options: TargetsOptions) -> tuple[str, ...] | None:
    source, where = options.source, options.nodes
    if source == "broadcast" and where is not None:
        raise UsageError("--dm broadcast asks the network: it does not go with --nodes")
    if source in ("file", "table") and where is None:
        raise UsageError(f"--dm {source} wants --nodes: the {source} with the names")
    if source == "stdin":
        if where not in (None, "-"):
            raise UsageError(f"--dm stdin reads standard input, not --nodes {where}")
        where = "-"
    if where is None:
        return None
    if source == "file" and where in context.variables:
        where = f"./{where}"
    if source == "table" and where not in context.variables:
        raise UsageError(f"--dm table: there is no variable {where!r}")
    names = context.names(where)
    if not names:
        raise NoTargets(f"--nodes {where}: no names in there")
    return names
