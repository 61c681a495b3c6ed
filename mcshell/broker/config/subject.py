"""How a certificate's subject is written where a broker looks for it.

RabbitMQ knows a certificate by its common name, ActiveMQ by the whole subject as Java writes it: the
last part first, a comma and a space between, quotes around what has special characters. What Java
and we write differently is a login that is refused, so the test compares with Java's own.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography.x509.oid import NameOID

from mcshell.values import dataclass

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["CertificateSubject", "in_java", "in_properties", "subject_of"]

_KEYWORDS: Final = {
    NameOID.COMMON_NAME: "CN",
    NameOID.COUNTRY_NAME: "C",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.TITLE: "T",
    NameOID.STREET_ADDRESS: "STREET",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.DN_QUALIFIER: "DNQ",
    NameOID.SURNAME: "SURNAME",
    NameOID.GIVEN_NAME: "GIVENNAME",
    NameOID.INITIALS: "INITIALS",
    NameOID.GENERATION_QUALIFIER: "GENERATION",
    NameOID.EMAIL_ADDRESS: "EMAILADDRESS",
    NameOID.USER_ID: "UID",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
}
_SPECIAL: Final = frozenset(',+=\n<>#;\\"')
_SPACES: Final = (" ", "\n")
_ASCII: Final = range(0x20, 0x7F)


@dataclass(frozen=True, slots=True)
class CertificateSubject:
    """Whom a certificate of another CA logs in as: its one common name, its subject in Java's form."""

    common_name: str
    java: str


def subject_of(name: x509.Name) -> CertificateSubject | None:
    """What brokers make of a subject; None where it has no common name, two, or no text."""
    if any(not isinstance(part.value, str) for part in name):
        return None
    common = [str(part.value) for part in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return CertificateSubject(common[0], in_java(name)) if len(common) == 1 else None


def in_java(name: x509.Name) -> str:
    """A subject as `X500Principal.toString` has it."""
    return ", ".join(
        " + ".join(f"{_keyword(part.oid)}={_quoted(str(part.value))}" for part in rdn)
        for rdn in reversed(name.rdns)
    )


def _keyword(oid: x509.ObjectIdentifier) -> str:
    return _KEYWORDS.get(oid, f"OID.{oid.dotted_string}")


def _quoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return f'"{_escaped(value[1:-1])}"'  # Java takes its quotes for the ones that it would set
    text = _escaped(value)
    spaced = value[:1] in _SPACES or text[-1:] in _SPACES
    twice = any(a in _SPACES and b in _SPACES for a, b in pairwise(value))
    return f'"{text}"' if spaced or twice or not _SPECIAL.isdisjoint(value) else text


def _escaped(value: str) -> str:
    return "".join(f"\\{c}" if c in '"\\' else c for c in value)


def in_properties(value: str) -> str:
    r"""A value for a file of Java's properties: Latin-1, where `\` escapes and a first space is lost."""
    text = "".join(_property(character) for character in value)
    return f"\\{text}" if text.startswith(" ") else text


def _property(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if ord(character) in _ASCII:
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
