"""A configuration for ActiveMQ Classic (5.17 and on): one directory, to be copied where it runs.

Everybody logs in with a certificate, by its common name. The XML is a template beside this file;
what is made here are the rights, the two key stores and the list of names.
"""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)

from mcshell.broker.config.enrolment import ANSWER, CONNECTIONS, KEPT
from mcshell.broker.config.rights import (
    Holder,
    NameMatch,
    Permission,
    Right,
    own_rights,
    role_rights,
)
from mcshell.broker.config.site import lines, put, template
from mcshell.broker.config.subject import in_properties
from mcshell.pki.certificates import common_name
from mcshell.wire import destinations
from mcshell.wire.destinations import ENROL_LOGIN, ENROLMENT_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mcshell.broker.config.site import Site
    from mcshell.pki import Kind

__all__ = ["authorization", "write"]

_HEADERS = 64 << 10  # bytes beside a document
_TAILS = {NameMatch.NOTHING: "", NameMatch.WORD: ".*", NameMatch.NAME: ".*.>"}


def write(site: Site) -> list[str]:
    """Write all but `server.pem`, `server.key` and `ca.pem`; returns what is worth a word."""
    conf, notes = site.directory, []
    holders, apart = _distinct(site.holders)
    notes += [
        f"left out: {h.kind} {h.name}: another's certificate has its common name" for h in apart
    ]
    password = secrets.token_urlsafe(24)
    _key_stores(conf, password.encode())
    entries = authorization(holders, site.collectives)
    text = template("activemq.xml").format_map(
        {
            "entries": _indented(entries, 10),
            "password": quoteattr(password),
            "listen": _host(site),
            "port": site.port,
            "enrolment": _enrolment(site, password),
            "largest": site.largest,
            "retention": int(site.retention * 1000),
        }
    )
    put(conf / "activemq.xml", text, secret=True)
    users = [line for holder in holders for line in _users(holder)]
    put(conf / "users.properties", lines(f"{user}={in_properties(name)}" for user, name in users))
    groups: dict[str, list[str]] = {"operators": [], "nodes": []}
    for holder in holders:
        logins = [user for user, _ in _users(holder)]
        groups[_group(holder)] = logins
        groups[holder.role] += logins
    put(conf / "groups.properties", lines(f"{g}={','.join(who)}" for g, who in groups.items()))
    for name in ("login.config", "log4j.properties", "log4j2.properties"):  # 5.17's, 6's
        put(conf / name, template(name))
    for name in ("start", "reload"):
        put(conf / name, template(f"activemq-{name}"), script=True)
    return notes


def _enrolment(site: Site, password: str) -> str:
    """The broker for those without a certificate, within the fleet's; "" where there is none.

    A broker's logins are of one kind for all its ports, so this one has to be another.
    """
    if site.enrolment is None:
        return ""
    asked, answered = (
        [topic(one).removeprefix("/topic/") for one in site.collectives]
        for topic in (destinations.enrolment, destinations.enrolled)
    )
    ways = [(name, "ca", "machines") for name in asked]
    ways += [(name, "machines", "ca") for name in answered]
    entries = [
        f'<authorizationEntry topic="{name}" read="{read}" write="{write}" admin="nobody"/>'
        for name, read, write in ways
    ]
    values = {
        "topics": _indented([f'<topic physicalName="{name}"/>' for name, *_ in ways], 10),
        "entries": _indented(entries, 14),
        "login": ENROL_LOGIN,
        "login_passcode": ENROL_LOGIN,
        "ca_login": ENROLMENT_SERVICE,
        "passcode": quoteattr(site.enrolment.passcode),
        "password": quoteattr(password),
        "listen": _host(site),
        "port": site.enrolment.port,
        "connections": CONNECTIONS,
        "largest": ANSWER + _HEADERS,
        "kept": int(KEPT * 1000),
    }
    return template("activemq-enrolment.xml").format_map(values)


def _indented(lines_: Iterable[str], spaces: int) -> str:
    return "\n".join(f"{' ' * spaces}{line}" for line in lines_)


def _host(site: Site) -> str:
    return f"[{site.listen}]" if ":" in site.listen else site.listen


def authorization(holders: Iterable[Holder], collectives: Iterable[str]) -> list[str]:
    """The `authorizationEntry` elements; what several entries match has all that each allows.

    Whoever may use a queue may also make it (`admin`): over STOMP nobody can remove one.
    """
    held: dict[tuple[str, str], dict[Permission, list[str]]] = defaultdict(
        lambda: defaultdict(list)
    )

    def grant(rights: Iterable[Right], group: str) -> None:
        for right in rights:
            held[right.kind, right.name + _TAILS[right.tail]][right.do].append(group)

    names = list(collectives)
    grant(role_rights("operator", names), "operators")
    grant(role_rights("node", names), "nodes")
    for holder in holders:
        grant(own_rights(holder, names), _group(holder))
    return [_entry(kind, name, by) for (kind, name), by in held.items()]


def _entry(kind: str, name: str, by: dict[Permission, list[str]]) -> str:
    said = {kind: name}
    said |= {do.value: ",".join(by[do]) for do in Permission if do in by}
    said["admin"] = ",".join(dict.fromkeys(group for do in Permission for group in by.get(do, ())))
    words = " ".join(f"{key}={quoteattr(value)}" for key, value in said.items())
    return f"<authorizationEntry {words}/>"


def _group(holder: Holder) -> str:
    """The group that is one identity alone, with whatever certificate it has logged in."""
    return f"{holder.kind}.{holder.name}"


def _users(holder: Holder) -> list[tuple[str, str]]:
    """Its names in ActiveMQ's log, and the subjects of the certificates that log in so."""
    if holder.subjects:  # a name has one subject in this file
        numbered = enumerate(holder.subjects, 1)
        own = f"{holder.kind}.{holder.name}"
        return [(own if n == 1 else f"{own}#{n}", one.java) for n, one in numbered]
    kinds = holder.certificates
    return [(f"{kind}.{holder.name}", f"CN={_common_name(kind, holder)}") for kind in kinds]


def _common_name(kind: Kind, holder: Holder) -> str:
    name = common_name(kind, holder.name)
    return f'"{name}"' if "+" in name else name  # as Java writes it


def _distinct(holders: Iterable[Holder]) -> tuple[list[Holder], list[Holder]]:
    """Part those whom their common name tells apart from those whom it does not."""
    every = list(holders)
    count = Counter(name for holder in every for _, name in _users(holder))
    apart = [holder for holder in every if any(count[name] > 1 for _, name in _users(holder))]
    return [holder for holder in every if holder not in apart], apart


def _key_stores(conf: Path, password: bytes) -> None:
    """Put the PEM files into what Java reads."""
    cas = x509.load_pem_x509_certificates((conf / "ca.pem").read_bytes())
    cert, *_ = x509.load_pem_x509_certificates((conf / "server.pem").read_bytes())
    key = load_pem_private_key((conf / "server.key").read_bytes(), None)
    lock = BestAvailableEncryption(password)
    own = pkcs12.serialize_key_and_certificates(b"server", key, cert, cas, lock)  # type: ignore[arg-type] # a key of a kind that it takes: we have issued it
    put(conf / "server.p12", own, secret=True)
    trusted = [pkcs12.PKCS12Certificate(ca, b"ca%d" % n) for n, ca in enumerate(cas)]
    put(conf / "trust.p12", pkcs12.serialize_java_truststore(trusted, lock), secret=True)
