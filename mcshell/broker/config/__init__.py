"""Configurations for the brokers of production: `mcshell broker config activemq|rabbitmq`.

`rights` is the one table of who may do what; `activemq` and `rabbitmq` say it in their broker's
words; `site` is what both start from, and `write` puts it all into one directory.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from mcshell.broker.config import activemq, rabbitmq
from mcshell.broker.config.site import DAY, lines, put, server_files, template

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcshell.broker.config.site import Site
    from mcshell.pki import Authority

__all__ = ["RECORD", "write"]

_WRITERS: Final[dict[str, Callable[[Site], list[str]]]] = {
    "activemq": activemq.write,
    "rabbitmq": rabbitmq.write,
}

RECORD: Final = "mcshell.json"
"""What was configured, for `mcshell doctor --broker DIR`."""


def write(
    kind: str, site: Site, authority: Authority, hosts: Sequence[str], longest_ttl: float
) -> list[str]:
    """Write a broker's whole configuration into the site's directory; returns notes for the eye.

    `hosts` are the names and addresses by which others reach it, the first of which they are told.

    Raises:
        ConfigError: a file that cannot be written, or the CA cannot be used.
        UsageError: a host that is neither a name nor an address.
    """
    put(site.directory / ".gitignore", lines(["*"]))  # keys are in here
    server_files(site.directory, authority, hosts)
    notes = _WRITERS[kind](site)
    values = {
        "directory": site.directory,
        "host": hosts[0],
        "port": site.port,
        "days": f"{site.retention / DAY:g}",
        "ttl": f"{longest_ttl / DAY:g}",
    }
    put(site.directory / "README.md", template(f"{kind}-README.md").format_map(values))
    record = {
        "broker": kind,
        "retention": site.retention,
        "collectives": list(site.collectives),
        "identities": [f"{holder.kind}:{holder.name}" for holder in site.holders],
    }
    put(site.directory / RECORD, json.dumps(record, indent=1) + "\n")
    return notes
