"""From plain Python arguments to the values that travel: what `Client.rpc` and friends take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mcshell import config
from mcshell.client.discovery.targeting import Targeting
from mcshell.errors import UsageError
from mcshell.message import Filter, Via

__all__ = ["TARGETING", "names_of", "seconds_of", "targeting_of", "via_of"]

TARGETING = (
    "where",
    "facts",
    "classes",
    "agents",
    "identities",
    "nodes",
    "known",
    "limit",
    "limit_seed",
    "one",
    "collective",
    "source",
    "discovery_timeout",
)


def targeting_of(
    *,
    where: str | None = None,
    facts: str | Iterable[str] = (),
    classes: str | Iterable[str] = (),
    agents: str | Iterable[str] = (),
    identities: str | Iterable[str] = (),
    nodes: Any = None,
    known: bool = True,
    limit: int | str | None = None,
    limit_seed: int | None = None,
    one: bool = False,
    collective: str | None = None,
    source: str = "broadcast",
    discovery_timeout: float | str | None = None,
) -> Targeting:
    """Build a targeting from plain Python values.

    `where` is a compound filter such as "os.name=Debian and role=web"; `nodes` names, a range
    such as "web[01-40]", or a Series or DataFrame with a `sender` column.
    """
    return Targeting(
        filter=Filter(
            _words(facts),
            _words(classes),
            _words(agents),
            _words(identities),
            () if where is None else (where,),
        ),
        nodes=None if nodes is None else names_of(nodes),
        source=source,
        discovery_timeout=seconds_of(discovery_timeout),
        known=known,
        limit=None if limit is None else str(limit),
        limit_seed=limit_seed,
        one=one,
        collective=collective,
    )


def names_of(nodes: Any) -> tuple[str, ...]:
    """The names in a string, an iterable of strings, a Series, or a DataFrame's `sender` column."""
    if isinstance(nodes, str):
        return (nodes,)
    if hasattr(nodes, "columns"):
        if "sender" not in nodes.columns:
            raise UsageError("nodes: a DataFrame needs a `sender` column")
        nodes = nodes["sender"]
    if not isinstance(nodes, Iterable):
        raise UsageError(f"nodes: {nodes!r}: names, a Series or a DataFrame are meant")
    names = list(nodes)
    strange = next((name for name in names if not isinstance(name, str)), None)
    if strange is not None:
        raise UsageError(f"nodes: {strange!r} is no name of a node")
    return tuple(names)


def via_of(word: str) -> Via:
    """Read the name of a way ("broadcast", "queue", …); UsageError when it is none."""
    try:
        return Via(word)
    except ValueError:
        raise UsageError(f"via {word!r}: {', '.join(Via)} is meant") from None


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def seconds_of(value: float | str | None) -> float | None:
    """Read a duration: seconds, or text like "30s"."""
    if value is None:
        return None
    try:
        return config.seconds(value)
    except ValueError as error:
        raise UsageError(str(error)) from None
