"""Puts a broker's whole configuration into one directory, and what was configured beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mcshell.broker.config import activemq, embedded, rabbitmq
from mcshell.broker.config.enrolment import PASSCODE_FILE
from mcshell.broker.config.site import (
    DAY,
    is_address,
    lines,
    put,
    server_files,
    shared_secret,
    template,
)
from mcshell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from mcshell.broker.config.foreign import ForeignCA
    from mcshell.broker.config.site import Site
    from mcshell.pki import Authority

__all__ = ["RECORD", "read_record", "write"]

_WRITERS: Final[dict[str, Callable[[Site], list[str]]]] = {
    "activemq": activemq.write,
    "embedded": embedded.write,
    "rabbitmq": rabbitmq.write,
}

RECORD: Final = "mcshell.json"
"""What was configured, for `mcshell doctor --broker DIR`."""


def read_record(directory: Path) -> dict[str, Any]:
    """What is written beside a configuration; empty where there is none yet.

    Raises:
        ConfigError: what is there is no such record.
    """
    path = directory / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", origin=str(path)) from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: it holds no record", origin=str(path))
    return record


def write(
    kind: str,
    site: Site,
    authority: Authority | ForeignCA,
    hosts: Sequence[str],
    longest_ttl: float,
    options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write a broker's whole configuration into the site's directory; returns notes for the eye.

    `hosts` are the names and addresses by which others reach it, the first of which they are told;
    of a cluster each member is reached by its own, and has a folder of its own.
    `options` are kept beside it, for the next time it is written.

    Raises:
        ConfigError: a file that cannot be written, or the CA cannot be used.
        UsageError: a host that is neither a name nor an address.
    """
    put(site.directory / ".gitignore", lines(["*"]))  # keys are in here
    if site.enrolment is None:
        (site.directory / PASSCODE_FILE).unlink(missing_ok=True)
    else:
        put(site.directory / PASSCODE_FILE, f"{site.enrolment.passcode}\n", secret=True)
    if site.members and not site.member:
        return _write_members(kind, site, authority, longest_ttl, options)
    server_files(site.directory, authority, hosts)
    notes = _WRITERS[kind](site)
    values = {
        "directory": site.directory,
        "host": hosts[0],
        "port": site.port,
        "enrolment": _enrolment_told(kind, site, hosts[0]),
        "days": f"{site.retention / DAY:g}",
        "ttl": f"{longest_ttl / DAY:g}",
    }
    manual = template(f"{kind}-README.md").format_map(values)
    if site.foreign and kind != "embedded":  # which has no logins by certificate
        manual += template("foreign-README.md")
    put(site.directory / "README.md", manual)
    _write_record(kind, site, options)
    return notes


def _enrolment_told(kind: str, site: Site, host: str) -> str:
    """What the README says of enrolment."""
    if site.enrolment is None:
        return template("README-no-enrolment")
    values = {"host": host, "port": site.enrolment.port, "directory": site.directory}
    return template(f"{kind}-README-enrolment").format_map(values)


def _write_members(
    kind: str,
    site: Site,
    authority: Authority | ForeignCA,
    longest_ttl: float,
    options: Mapping[str, Any] | None,
) -> list[str]:
    """Write a folder for each member of a cluster, to be copied there."""
    notes: list[str] = []
    secret = shared_secret(site)
    for member in site.members:
        address = member if is_address(member) else site.listen
        one = replace(
            site,
            directory=site.directory / member,
            member=member,
            listen=address,
            secret=secret,
        )
        notes += write(kind, one, authority, [member], longest_ttl, options)
    _write_record(kind, site, options)
    return notes


def _write_record(kind: str, site: Site, options: Mapping[str, Any] | None) -> None:
    record = {
        "broker": kind,
        "retention": site.retention,
        "largest": site.largest,
        "options": dict(options or {}),
        "collectives": list(site.collectives),
        "identities": [f"{holder.kind}:{holder.name}" for holder in site.holders],
    }
    put(site.directory / RECORD, json.dumps(record, indent=1) + "\n")
