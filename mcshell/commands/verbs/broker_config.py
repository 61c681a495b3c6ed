"""`broker config`: a configuration for a broker of production, and what `doctor` finds in one."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.errors import ConfigError

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import BrokerConfigOptions
    from mcshell.config import Settings

__all__ = ["check", "config"]

_DAY = 86_400.0


def config(context: Context, options: BrokerConfigOptions) -> Table:
    """Write a broker's configuration; the rights are for all who have a valid certificate now."""
    from mcshell.broker.config import write  # noqa: PLC0415 - cryptography is slow to load
    from mcshell.broker.config.site import MARGIN, survey  # noqa: PLC0415 - as above
    from mcshell.pki import Authority  # noqa: PLC0415 - as above

    settings = context.settings
    authority = Authority.open(context.ca_dir(options.pki))
    longest = settings.node.max_ttl
    directory = Path(options.dir).absolute()
    site = survey(
        directory,
        authority,
        collectives=settings.collective.member,
        pools=settings.pools,
        listen=options.listen,
        port=options.tls_port,
        retention=longest + MARGIN if options.retention is None else options.retention,
        longest_ttl=longest,
    )
    hosts = options.host or [socket.getfqdn()]
    notes = write(options.broker, site, authority, hosts, longest)
    start, url = str(directory / "start"), f"stomp+ssl://{hosts[0]}:{site.port}"
    notes += [f"start it with: {start}", f"what it allows, and how to go on: {directory}/README.md"]
    row = (options.broker, start, url, len(site.holders))
    return Table(("broker", "start", "url", "identities"), [row], notes=tuple(notes))


def check(settings: Settings, directory: Path) -> str:
    """What `doctor` says of a configuration that was written here; "warn: " for what is amiss."""
    from cryptography import x509  # noqa: PLC0415 - slow to load

    from mcshell.broker.config import RECORD  # noqa: PLC0415 - as above

    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        kept, count = float(record["retention"]), len(record["identities"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{directory} was not written by mcshell broker config: {error}"
        ) from error
    if kept < settings.node.max_ttl:
        return (
            f"warn: it keeps messages for {kept / _DAY:g} d, but node.max_ttl is"
            f" {settings.node.max_ttl / _DAY:g} d: run mcshell broker config again"
        )
    server = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
    end = server.not_valid_after_utc
    if end.timestamp() - time.time() < 30 * _DAY:
        return f"warn: its certificate ends on {end:%F}: run mcshell broker config again"
    written = datetime.fromtimestamp((directory / RECORD).stat().st_mtime, UTC)
    return f"{record['broker']} for {count} identities, as of {written:%F}; kept {kept / _DAY:g} d"
