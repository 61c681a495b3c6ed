"""Which time zone a node is in, by its facts; the zone is loaded when a job first asks for it."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from mcshell import schedule
from mcshell.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

    from mcshell.node.host import Host

__all__ = ["zone_of_node"]

_known: dict[str, tzinfo] = {}


def zone_of_node(host: Host) -> tzinfo:
    """The zone that "node" means on this node; UTC where nothing can be found out."""
    name = str(host.facts.get("timezone") or "")
    if name not in _known:
        _known[name] = _load(name)
    return _known[name]


def _load(name: str) -> tzinfo:
    try:
        return schedule.zone_of(name) if name else UTC
    except UsageError:
        # A name of the C library's own, such as TZ=CET-1CEST: what the machine says it is.
        return schedule.local_zone()
