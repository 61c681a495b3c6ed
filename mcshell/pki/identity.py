"""Whom a certificate speaks for (mcshell/README.md §6).

The name is the SAN URI `mcshell:KIND:NAME`, else the first DNS SAN, else the CN. Only A to Z are
lower-cased: full Unicode lower-casing would let two certificates share a name. A name that people
could take for another (Cyrillic among Latin letters, what nobody sees) speaks for nobody.
"""

from __future__ import annotations

import re
from dataclasses import field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

from mcshell.errors import Reason, Rejected, UsageError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Identity", "Kind", "check_name", "identity_of", "requested_in", "uri_of"]

Kind = Literal["operator", "node", "login"]

MAX_NAME: Final = 200
_OPERATOR = re.compile(r"[a-z0-9][a-z0-9._@+-]*")
_NODE = re.compile(r"[a-z0-9][a-z0-9._-]*")
# White space parts words; some mean "several names" in filters, ranges and policies; the rest begins
# a comment, parts a path, or is something to a shell or a page.
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f*?\[\],#/\\<>\"'`$&;|(){}!]")
# Letters and marks that nobody sees: fillers, joiners, variation selectors.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_WRITTEN_TOGETHER: Final = dict.fromkeys(("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA"), "HAN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a certificate speaks for; times are seconds since the epoch."""

    kind: Kind
    name: str
    serial: int
    not_before: float
    not_after: float
    callerid: str = field(init=False, repr=False, compare=False)
    """The caller that policies know, such as `cert=alice`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "callerid", f"cert={self.name}")


def check_name(name: str, kind: Kind) -> str:
    """Return the name, lower-cased, that a certificate can be issued for; UsageError if none."""
    if kind not in {"operator", "node", "login"}:
        raise UsageError(f"{kind!r} is no kind of certificate: operator, node and login are")
    name = _lower(name)
    pattern, allowed = (_NODE, ". _ -") if kind == "node" else (_OPERATOR, ". _ - @ +")
    if len(name) > MAX_NAME or not pattern.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is no {kind}'s name: a-z, 0-9 and {allowed} are allowed,"
            f" {MAX_NAME} characters at most, a letter or a digit first"
        )
    return name


def uri_of(kind: Kind, name: str) -> str:
    """The SAN URI that says what a certificate is for."""
    return f"mcshell:{kind}:{name}"


def identity_of(certificate: x509.Certificate, operators: Sequence[str] = ()) -> Identity:
    """Read whom a certificate speaks for; whether to trust it is `wire.security`'s question.

    `operators` are patterns (fnmatch) for the names that a foreign CA gives to operators; they
    have no say about a certificate that carries our URI.

    Raises:
        Rejected: BAD_CERTIFICATE, when it names nobody or more than one.
    """
    try:
        kind, name = _kind_and_name(certificate, operators)
    except ValueError as error:
        raise Rejected(Reason.BAD_CERTIFICATE, f"does not parse: {error}") from error
    if not name or len(name) > MAX_NAME or _UNFIT.search(name):
        raise Rejected(Reason.BAD_CERTIFICATE, f"unfit name {name[:80]!r}")
    if (why := _looks_like_another(name)) is not None:
        raise Rejected(Reason.BAD_CERTIFICATE, f"the name {name[:80]!a} {why}")
    return Identity(
        kind=kind,
        name=name,
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def requested_in(csr: x509.CertificateSigningRequest) -> tuple[Kind, str]:
    """Read whom a PKCS#10 request asks for, by its SAN URI.

    Raises:
        Rejected: BAD_CERTIFICATE, when it names nobody or more than one.
        ValueError: it does not parse.
    """
    try:
        san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        san = x509.SubjectAlternativeName([])
    uris = san.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris or not uris[0].lower().startswith("mcshell:"):
        raise Rejected(Reason.BAD_CERTIFICATE, "it asks for nobody: mcshell:KIND:NAME is meant")
    return _from_uri(uris)


def _kind_and_name(certificate: x509.Certificate, operators: Sequence[str]) -> tuple[Kind, str]:
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        san = x509.SubjectAlternativeName([])
    ours = [
        uri
        for uri in san.get_values_for_type(x509.UniformResourceIdentifier)
        if uri.lower().startswith("mcshell:")
    ]
    if ours:
        return _from_uri(ours)
    names = san.get_values_for_type(x509.DNSName)
    if not names:
        names = [
            str(part.value)
            for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    if not names:
        raise Rejected(Reason.BAD_CERTIFICATE, "it has neither a SAN nor a common name")
    name = _lower(names[0])
    is_operator = any(fnmatchcase(name, _lower(pattern)) for pattern in operators)
    return ("operator" if is_operator else "node"), name


def _from_uri(uris: list[str]) -> tuple[Kind, str]:
    if len(uris) > 1:
        raise Rejected(Reason.BAD_CERTIFICATE, f"it names more than one: {', '.join(uris)}")
    _, _, rest = uris[0].partition(":")
    kind, _, name = _lower(rest).partition(":")
    if kind == "operator":
        return "operator", name
    if kind == "node":
        return "node", name
    if kind == "login":
        return "login", name
    raise Rejected(Reason.BAD_CERTIFICATE, f"unknown kind in {uris[0]!r}")


def _looks_like_another(name: str) -> str | None:
    """Why a name could be taken for another one by whoever reads it; None when it cannot.

    Python knows no scripts: the first word of a letter's name (LATIN, CYRILLIC) stands for them.
    """
    if name.isascii():
        return None
    import unicodedata  # noqa: PLC0415 - a megabyte, for letters that few have

    if unicodedata.normalize("NFKC", name) != name:
        return "is written in another form than NFKC"
    scripts = set()
    for character in name:
        kind = unicodedata.category(character)[0]
        if not character.isascii() and (kind not in "LMN" or _UNSEEN.match(character)):
            return f"has U+{ord(character):04X}, which is no letter, or one that nobody sees"
        if kind == "L" or (kind == "N" and not character.isascii()):
            script = re.split("[ -]", unicodedata.name(character, ""))[0]
            scripts.add(_WRITTEN_TOGETHER.get(script, script))
    return f"mixes {' and '.join(sorted(scripts))}" if len(scripts) > 1 else None


def _lower(name: str) -> str:
    return name.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
