"""What the configurations of both brokers start from: who there is, and the broker's certificate."""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Final

from cryptography import x509

from mcshell.broker.config.enrolment import PASSCODE_FILE, EnrolmentAccess
from mcshell.broker.config.foreign import ForeignCA
from mcshell.broker.config.rights import Holder
from mcshell.errors import ConfigError, UsageError
from mcshell.pki.journal import SERVER
from mcshell.private import replace_file
from mcshell.storage import not_written
from mcshell.values import dataclass
from mcshell.wire.destinations import check_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mcshell.config import Pool
    from mcshell.pki import Authority

__all__ = [
    "COOKIE",
    "DAY",
    "MARGIN",
    "Site",
    "holders_of",
    "is_address",
    "largest_for",
    "lines",
    "put",
    "server_files",
    "shared_secret",
    "survey",
    "template",
]

DAY: Final = 86_400.0
MARGIN: Final = 7 * DAY
"""How much longer than the longest ttl a message is kept: for clocks, and for whoever is on leave."""

COOKIE: Final = ".erlang.cookie"
"""What Erlang calls the secret that the members of a cluster share."""

_LEAST: Final = 3
_LAST_PORT: Final = 65_535
_RENEWAL: Final = 30 * DAY
_LONGEST: Final = 3650 * DAY  # RabbitMQ refuses a longer ttl in a policy
_MESSAGE: Final = 16 << 20  # bytes: many times the largest message that mcshell takes
_HEADERS: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One broker to be: where it listens, who may log in, how long messages are kept (seconds).

    `members` are the hosts of a cluster, `member` which of them this is, `secret` what they share.
    `foreign`: the certificates are of another CA than mcshell's.
    `enrolment` is where machines without a certificate ask for one, if they can.
    """

    directory: Path
    holders: tuple[Holder, ...]
    collectives: tuple[str, ...]
    listen: str
    port: int
    retention: float
    largest: int = _MESSAGE
    member: str = ""
    members: tuple[str, ...] = ()
    secret: str = ""
    foreign: bool = False
    enrolment: EnrolmentAccess | None = None


def survey(
    directory: Path,
    authority: Authority | ForeignCA,
    *,
    collectives: Sequence[str],
    pools: Mapping[str, Pool],
    listen: str,
    port: int,
    retention: float,
    longest_ttl: float,
    max_reply: int = 0,
    members: Sequence[str] = (),
    movers: Sequence[str] = (),
    enrol_port: int = 0,
) -> Site:
    """Put together what is to be configured; `max_reply` is what a node may answer, in bytes.

    `movers` are the operators who may take all that waits to another broker, `enrol_port` is where
    machines without a certificate ask for one (0: nowhere).

    Raises:
        UsageError: messages would not be kept as long as requests may live; an impossible address;
            members of a cluster of which no majority can be without one, or that are none; a mover
            who is no operator; a port for enrolment that is none, or the fleet's.
    """
    _refuse_retention(retention, longest_ttl)
    for word in (*collectives, *pools):
        check_word("collective or pool", word)
    _refuse_addresses(listen, port, enrol_port, members)
    holders = _with_movers(holders_of(authority, pools), movers)
    return Site(
        directory=directory,
        holders=holders,
        collectives=tuple(collectives),
        listen=listen,
        port=port,
        retention=retention,
        largest=largest_for(max_reply),
        members=tuple(members),
        foreign=isinstance(authority, ForeignCA),
        enrolment=_access(directory, enrol_port) if enrol_port else None,
    )


def _refuse_retention(retention: float, longest_ttl: float) -> None:
    if retention < longest_ttl:
        raise UsageError(
            f"retention {retention / DAY:g} d is shorter than the longest ttl"
            f" (node.max_ttl, {longest_ttl / DAY:g} d): the broker would drop what still waits"
        )
    if retention > _LONGEST:
        raise UsageError(f"retention {retention / DAY:g} d: no broker keeps time for so long")


def _refuse_addresses(listen: str, port: int, enrol_port: int, members: Sequence[str]) -> None:
    try:
        ipaddress.ip_address(listen)
    except ValueError:
        raise UsageError(f"--listen {listen!r}: an IP address of this machine is meant") from None
    if members and len(set(members)) < max(_LEAST, len(members)):
        raise UsageError(
            f"--cluster {','.join(members)}: three different hosts at least are meant, "
            "so that a majority is left when one is gone"
        )
    for member in members:
        is_address(member)
    if enrol_port == port or enrol_port > _LAST_PORT:
        raise UsageError(f"--enrol-port {enrol_port}: a port of its own is meant, beside {port}")


def _with_movers(holders: Iterable[Holder], movers: Sequence[str]) -> tuple[Holder, ...]:
    """The holders, of whom these operators may take to another broker what waits; raises UsageError."""
    known = tuple(holders)
    if strange := set(movers) - {one.name for one in known if one.kind == "operator"}:
        raise UsageError(
            f"--mover {min(strange)}: there is no valid certificate of an operator so called"
        )
    return tuple(replace(one, mover=one.kind == "operator" and one.name in movers) for one in known)


def _access(directory: Path, port: int) -> EnrolmentAccess:
    """The access to a port for enrolment, with the passcode that is there, or a new one."""
    try:
        kept = (directory / PASSCODE_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        kept = ""
    except (OSError, ValueError) as error:
        path = directory / PASSCODE_FILE
        raise ConfigError(f"{path}: {error}", origin=str(path)) from error
    return EnrolmentAccess(port=port, passcode=kept or secrets.token_urlsafe(24))


def largest_for(max_reply: int) -> int:
    """The bytes of a message that a broker must take, for replies of so many: headers come beside."""
    return max(_MESSAGE, max_reply + _HEADERS)


def holders_of(authority: Authority | ForeignCA, pools: Mapping[str, Pool]) -> tuple[Holder, ...]:
    """Everybody with a valid certificate, but brokers; in the order of their names.

    A login without an identity of its name is nobody.
    """
    if isinstance(authority, ForeignCA):
        return authority.holders(pools)
    valid = {
        (entry["kind"], entry["name"])
        for entry in authority.listing()
        if entry["status"] == "valid" and not entry["name"].startswith(SERVER)
    }
    return tuple(
        Holder.of(kind, name, pools, has_login=("login", name) in valid)
        for kind, name in sorted(valid)
        if kind != "login"
    )


def server_files(directory: Path, authority: Authority | ForeignCA, hosts: Sequence[str]) -> None:
    """Write `ca.pem`, `server.pem` and `server.key`; a certificate that still serves stays.

    Raises:
        UsageError: a host that is neither a name nor an address.
        ConfigError: another CA's certificate is not for them.
    """
    if isinstance(authority, ForeignCA):
        for name, content in authority.server_files(hosts).items():
            put(directory / name, content, secret=name.endswith(".key"))
        return
    ips = [host.lower() for host in hosts if is_address(host)]
    dns = [host.lower() for host in hosts if host.lower() not in ips]
    put(directory / "ca.pem", authority.ca_pem)
    if not _serves(directory, authority, {*dns, *ips}):
        name = SERVER + re.sub(r"[^a-z0-9._-]", "-", hosts[0].lower())
        cert, key = authority.issue_pem(name, "node", dns=dns, ip=ips, renew=True)
        put(directory / "server.key", key, secret=True)
        put(directory / "server.pem", cert)


def _serves(directory: Path, authority: Authority, hosts: set[str]) -> bool:
    """Whether the certificate that is there is our CA's, for these hosts, not revoked, and good for
    a while.
    """
    if not (directory / "server.key").exists():
        return False
    try:
        certificate = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
        certificate.verify_directly_issued_by(authority.certificate)
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one is issued
        return False
    serial = f"{certificate.serial_number:x}"
    if any(entry["serial"] == serial and entry["revoked"] for entry in authority.listing()):
        return False
    named = {*san.get_values_for_type(x509.DNSName)}
    named |= {str(address) for address in san.get_values_for_type(x509.IPAddress)}
    left = certificate.not_valid_after_utc.timestamp() - time.time()
    return hosts <= named and left > _RENEWAL


def shared_secret(site: Site) -> str:
    """What lets a broker into the cluster: the one that a member has, or a new one."""
    for member in site.members:
        kept = site.directory / member / COOKIE
        if kept.exists():
            return kept.read_text(encoding="ascii")
    return secrets.token_hex(32)


def is_address(host: str) -> bool:
    """Whether a host is an IP address; UsageError where it is no host at all."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host):
            raise UsageError(f"--host {host!r}: a host's name or address is meant") from None
        return False
    return True


def put(path: Path, content: str | bytes, *, secret: bool = False, script: bool = False) -> None:
    """Write a file anew, with its mode from the first byte on; raises ConfigError or MachineError."""
    mode = 0o600 if secret else 0o755 if script else 0o644
    found = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, found, mode, exact=True)
    except OSError as error:
        error.filename = str(path)
        raise not_written(path, error, ConfigError) from error


def lines(words: Iterable[str]) -> str:
    """One line each."""
    return "".join(f"{word}\n" for word in words)


def template(name: str) -> str:
    """A file of `templates/`."""
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")
