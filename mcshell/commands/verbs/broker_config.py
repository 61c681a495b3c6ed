"""`broker config`: a configuration for a broker of production, and what `doctor` finds in one."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.commands.output.result import Table
from mcshell.commands.verbs.broker_foreign import changed_since, read_foreign, said_of
from mcshell.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.broker.config.site import Site
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import BrokerConfigOptions
    from mcshell.config import Settings
    from mcshell.pki import Authority

__all__ = ["check", "config"]

_DAY = 86_400.0
_FRAME = 4 << 20
"""What RabbitMQ takes from 3.13 on, where nothing else was configured."""
_HEADERS = 64 << 10


def config(context: Context, options: BrokerConfigOptions) -> Table:
    """Write a broker's configuration; the rights are for all who have a valid certificate now.

    What was said the last time, and is not said now, is as it was; a change is named.

    Raises:
        ConfigError: the CA is not kept by mcshell, and the options for another's are not said: it
            could not issue the broker's certificate, and does not know who has one.
    """
    from mcshell.broker.config import completed, configure, read_record, remembered  # noqa: PLC0415 - cryptography is slow to load
    from mcshell.broker.config.options import OF_ANOTHER_CA, OPTIONS  # noqa: PLC0415 - as above

    directory = Path(options.dir).absolute()
    record = read_record(directory)
    before = remembered(record, directory)
    if options.pki is not None:  # back to a CA of mcshell's
        before = {name: value for name, value in before.items() if name not in OF_ANOTHER_CA}
    said = {name: value for name in OPTIONS if (value := getattr(options, name)) is not None}
    wanted = completed({**before, **said, **said_of(options)})
    _refuse_unfit(options, wanted)
    settings = context.settings
    foreign = read_foreign(wanted, settings.pki.operators)
    authority = foreign or _authority(context.ca_dir(options.pki))
    site, notes = configure(options.broker, directory, authority, settings, wanted, options.mover)
    notes = [*(foreign.notes if foreign else ()), *notes]
    notes += [
        f"changed: {_option(name)} was {_told(before[name])}, is {_told(wanted[name])}"
        for name in before
        if before[name] != wanted[name]
    ]
    if record and before.get("enrol_port", 0) != wanted["enrol_port"]:
        notes.append("the port for enrolment changes when the broker is started again")
    notes += [
        f"{name} may read all that waits, and move it, until this is written without --mover"
        for name in options.mover
    ]
    return _written(options.broker, site, wanted["host"][0], notes)


def _written(broker: str, site: Site, host: str, notes: list[str]) -> Table:
    """What is there now: a row for the broker that is reached by `host`, or for each member."""
    folders = {member: site.directory / member for member in site.members} or {host: site.directory}
    rows = [
        (broker, str(folder / "start"), f"stomp+ssl://{name}:{site.port}", len(site.holders))
        for name, folder in folders.items()
    ]
    if site.members:
        urls = ", ".join(f'"{url}"' for _broker, _start, url, _count in rows)
        how = [
            f"all members are in everybody's configuration: [broker] urls = [{urls}]",
            "each folder goes to its member, and all are started",
        ]
    else:
        how = [f"start it with: {rows[0][1]}"]
    if site.enrolment is not None:
        places = ", ".join(f"stomp+ssl://{name}:{site.enrolment.port}" for name in folders)
        how.append(f"machines without a certificate ask for one at {places}")
    manual = next(iter(folders.values())) / "README.md"
    how.append(f"what it allows, and how to go on: {manual}")
    return Table(("broker", "start", "url", "identities"), rows, notes=(*notes, *how))


def _refuse_unfit(options: BrokerConfigOptions, wanted: Mapping[str, Any]) -> None:
    """Refuse what does not go with another CA, or with a cluster."""
    if wanted.get("ca") and wanted["enrol_port"]:
        raise UsageError("--enrol-port is for a CA of mcshell's: another's issues by its own tools")
    if not wanted.get("cluster"):
        return
    if options.broker != "rabbitmq":
        raise UsageError(
            "--cluster is RabbitMQ's: two ActiveMQ on one shared store are an ordinary "
            "configuration each, and both URLs in [broker] urls"
        )
    if options.host:
        raise UsageError(
            "--host and --cluster: the members are the hosts by which they are reached"
        )


def _authority(folder: Path) -> Authority:
    """The CA, if it is one of mcshell's: with another's key nothing is ever signed here."""
    from mcshell.pki import Authority  # noqa: PLC0415 - cryptography is slow to load

    if (folder / "ca.pem").exists() and not (folder / "issued.jsonl").exists():
        raise ConfigError(
            f"{folder} holds a CA that mcshell does not keep (no issued.jsonl): it issues no certificate "
            "for the broker with its key, and cannot tell who has one. Say --ca, --cert, --key and "
            "--identities (mcshell help use-another-ca), or name a CA of mcshell's (--pki DIR)"
        )
    return Authority.open(folder)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _told(value: Any) -> str:
    return (
        " ".join(value)
        if isinstance(value, list)
        else f"{value:g} s"
        if isinstance(value, float)
        else str(value)
    )


def check(settings: Settings, directory: Path) -> str:
    """What `doctor` says of a configuration that was written here; "warn: " for what is amiss."""
    from mcshell.broker.config import RECORD  # noqa: PLC0415 - cryptography is slow to load
    from mcshell.broker.config.enrolment import PASSCODE_FILE  # noqa: PLC0415 - as above

    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        kept, count = float(record["retention"]), len(record["identities"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{directory} was not written by mcshell broker config: {error}"
        ) from error
    members = (record.get("options") or {}).get("cluster")
    if members and (directory / members[0] / RECORD).exists():
        said = {member: check(settings, directory / member) for member in members}
        amiss = [f"{name}: {line}" for name, line in said.items() if line.startswith("warn: ")]
        return f"warn: {'; '.join(amiss)}" if amiss else f"{len(said)} members: {said[members[0]]}"
    if kept < settings.node.max_ttl:
        return (
            f"warn: it keeps messages for {kept / _DAY:g} d, but node.max_ttl is"
            f" {settings.node.max_ttl / _DAY:g} d: run mcshell broker config again"
        )
    if record.get("largest", _FRAME) < (needed := settings.node.max_reply + _HEADERS):
        return (
            f"warn: it takes messages of {record.get('largest', _FRAME)} bytes, but replies may have"
            f" {needed} with their headers (node.max_reply): run mcshell broker config again"
        )
    if told := _ending(directory) or changed_since(record, settings.pki.operators):
        return f"warn: {told}: run mcshell broker config again"
    written = datetime.fromtimestamp((directory / RECORD).stat().st_mtime, UTC)
    port = (record.get("options") or {}).get("enrol_port")
    if port and not (directory / PASSCODE_FILE).exists():
        return (
            f"warn: there is no {PASSCODE_FILE}, with which the CA's service logs in at port {port}:"
            " run mcshell broker config again"
        )
    enrolment = f"; enrolment at port {port}" if port else ""
    return (
        f"{record['broker']} for {count} identities, as of {written:%F};"
        f" kept {kept / _DAY:g} d{enrolment}"
    )


def _ending(directory: Path) -> str:
    """When the broker's certificate ends, if that is soon: within 30 days, or the third of a short life."""
    from cryptography import x509  # noqa: PLC0415 - slow to load

    server = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
    end = server.not_valid_after_utc
    whole = (end - server.not_valid_before_utc).total_seconds()
    soon = end.timestamp() - time.time() < min(30 * _DAY, whole / 3)
    return f"its certificate ends on {end:%F}" if soon else ""
