"""A broker's configuration by its options: those that are said, and those that were said before.

`broker config` is said once by hand; whoever signs certificates says it again (`rewrite`), as each
identity has rights of its own.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from mcshell.broker.config.site import MARGIN, survey
from mcshell.broker.config.writing import read_record, write
from mcshell.errors import ConfigError
from mcshell.pki.journal import SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mcshell.broker.config.foreign import ForeignCA
    from mcshell.broker.config.site import Site
    from mcshell.config import Settings
    from mcshell.pki import Authority

__all__ = ["OF_ANOTHER_CA", "OPTIONS", "completed", "configure", "remembered", "rewrite"]

OF_ANOTHER_CA: Final = ("ca", "cert", "key", "crl", "identities")
"""Options of which none is said where the CA is mcshell's."""

OPTIONS: Final = (
    *("host", "listen", "tls_port", "enrol_port", "retention", "cluster"),
    *OF_ANOTHER_CA,
)
"""Options that are kept beside what was written. Movers are not: their right ends with the next time."""

_DEFAULTS: Final = {"listen": "0.0.0.0", "tls_port": 61614, "enrol_port": 0}  # noqa: S104 - behind TLS with client certificates


def completed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are known, and for others what is usual."""
    return {**_DEFAULTS, "host": [socket.getfqdn()], **options}


def configure(
    kind: str,
    directory: Path,
    authority: Authority | ForeignCA,
    settings: Settings,
    options: Mapping[str, Any],
    movers: Sequence[str] = (),
) -> tuple[Site, list[str]]:
    """Write a broker's configuration for all who have a valid certificate now; returns notes, too.

    `options` are `completed` ones; `movers` may take what waits to another broker.

    Raises:
        ConfigError: a file that cannot be written, or the CA cannot be used.
        UsageError: an option that cannot be.
    """
    longest, retention = settings.node.max_ttl, options.get("retention")
    members = options.get("cluster") or ()
    site = survey(
        directory,
        authority,
        collectives=settings.collective.member,
        pools=settings.pools,
        listen=options["listen"],
        port=options["tls_port"],
        retention=longest + MARGIN if retention is None else retention,
        longest_ttl=longest,
        max_reply=settings.node.max_reply,
        members=members,
        movers=movers,
        enrol_port=options["enrol_port"],
    )
    kept = {name: options[name] for name in OPTIONS if name in options}
    return site, write(kind, site, authority, members or options["host"], longest, kept)


def rewrite(directory: Path, authority: Authority, settings: Settings) -> list[str]:
    """Write again what is there, with the options of the last time, for who has a certificate now.

    The broker takes it over by `DIRECTORY/reload`. Returns what is worth a word. Who was named a
    mover is none any more.

    Raises:
        ConfigError: nothing was written there yet, or for another CA; or as `configure`.
        UsageError: as `configure`, such as a ttl that became longer than the retention.
    """
    record = read_record(directory)
    if "broker" not in record:
        raise ConfigError(f"{directory}: mcshell broker config has written nothing there")
    options = completed(remembered(record, directory))
    if any(name in options for name in OF_ANOTHER_CA):
        raise ConfigError(f"{directory}: it was written for another CA's certificates")
    _site, notes = configure(record["broker"], directory, authority, settings, options)
    return notes


def remembered(record: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """What was said when it was written last; an earlier version kept only the certificate's hosts."""
    if isinstance(found := record.get("options"), dict):
        return {name: found[name] for name in OPTIONS if name in found}
    try:
        server = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
        names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return {}
    hosts = [one for one in names.get_values_for_type(x509.DNSName) if not one.startswith(SERVER)]
    hosts += [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    return {"host": hosts} if hosts else {}
