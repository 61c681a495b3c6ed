"""The machine's side of enrolment: the key is made here, and stays.

`EnrollingMachine.begin` makes the key and the request; both are there to be asked for again until `accept` has
taken an answer. What an answer brings is believed because the CA has signed it whose fingerprint we have, and
because the certificate is for our key and our name: else nothing is written.
"""

from __future__ import annotations

import base64
import stat
import time
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.config.writing import dump
from mcshell.errors import ConfigError, Reason, Rejected, UsageError
from mcshell.pki import check_name, load_private, read_private
from mcshell.pki.keys import dump_private, same_key
from mcshell.private import private_folder, replace_file
from mcshell.values import dataclass
from mcshell.wire.documents.enrolment import (
    EnrolmentMessage,
    fingerprint,
    make_request,
    open_answer,
    refuse_unsigned,
    vouches,
)
from mcshell.wire.documents.signatures import Verifier

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from mcshell.config import PKISettings
    from mcshell.pki import Kind, PrivateKey
    from mcshell.wire.documents.enrolment import EnrolmentAnswer, EnrolmentToken

__all__ = ["EnrollingMachine", "fingerprints_in", "renewal", "renewed"]

_CAS_OWN: Final = ("ca", "crl")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollingMachine:
    """A machine that wants a certificate: where its files are, who it is to be, and who vouches.

    `cas` are the fingerprints of the CAs that are meant, such as the token's; `enrolment` are the
    brokers where it asks, and where the certificate is to be renewed.
    """

    folder: Path
    name: str
    kind: Kind = "node"
    token: EnrolmentToken | None = None
    cas: frozenset[str] = frozenset()
    enrolment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", check_name(self.name, self.kind))
        if self.name in _CAS_OWN:
            raise UsageError(
                f"{self.name}.pem is to be the CA's own file: a machine named {self.name!r} needs a longer"
                f" name here, such as {self.name}.example.com"
            )

    def begin(self) -> EnrolmentMessage:
        """What it asks: NAME.request, beside NAME.key, both made where they are not there.

        A request that another token vouches for is made anew, for the same key.

        Raises:
            UsageError: it has a certificate already.
            ConfigError: a key or a request that cannot be read or made.
        """
        private_folder(self.folder)
        request, key = self._file("request"), self._file("key")
        if self.has_certificate():
            raise UsageError(f"{self._file('pem')} is there already: {self.name} has a certificate")
        try:
            if request.exists():
                message = EnrolmentMessage.load(request.read_bytes())
                if self.token is None or vouches(self.token, message):
                    return message
            if not key.exists():
                replace_file(key, dump_private(Ed25519PrivateKey.generate()), 0o600)
            message = make_request(self.name, self.kind, _key(key), self.token)
            replace_file(request, message.dump(), 0o600)
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from error
        except Rejected as error:
            raise ConfigError(f"{request}: {error.detail}: remove it to ask anew") from error
        return message

    def has_certificate(self) -> bool:
        """Whether there is one here that has not ended; raises ConfigError for what is none."""
        path = self._file("pem")
        try:
            ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from error
        return ends.timestamp() > time.time()

    def accept(self, answer: EnrolmentMessage) -> EnrolmentAnswer:
        """Take an answer: NAME.pem, ca.pem and crl.pem are written when it was signed.

        So is node.toml, where there is none and a configuration came with it, for which only a
        token vouches.

        Raises:
            UsageError: nothing was asked here, or another CA's certificate is there.
            ConfigError: a file that cannot be read or made.
            Rejected: not of whoever has the token, not about our request, not of that CA, not for our
                key or our name, or out of its dates.
        """
        request = self._file("request")
        try:
            asked = EnrolmentMessage.load(request.read_bytes())
        except OSError as error:
            raise UsageError(f"{request}: {error.strerror}: nothing was asked here") from error
        found = open_answer(answer, asked, self.token)
        if found.state != "signed":
            return found
        refuse_unsigned(answer, _meant(found.ca, self.cas))
        _check(found, found.ca, _key(self._file("key")), self.name, self.kind)
        known, config = self.folder / "ca.pem", self.folder / "node.toml"
        try:
            if known.exists() and not _shares_one(known.read_bytes(), found.ca):
                raise UsageError(
                    f"{known} is there already, and is another CA's: nothing was written"
                )
            replace_file(known, found.ca, 0o644)
            replace_file(self.folder / "crl.pem", found.crl, 0o644)
            if self.token is not None and found.settings and not config.exists():
                replace_file(config, self._configuration(found).encode(), 0o644)
            replace_file(self._file("pem"), found.certificate, 0o644)
            request.unlink()
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from error
        return found

    def _configuration(self, found: EnrolmentAnswer) -> str:
        """A configuration to begin with: what the CA says, and where the files are that it has signed."""
        at = self.folder.absolute()
        files = {"ca": "ca.pem", "crl": "crl.pem", "cert": f"{self.name}.pem"}
        pki: dict[str, Any] = {key: str(at / file) for key, file in files.items()}
        pki["key"] = str(at / f"{self.name}.key")
        if self.enrolment:
            pki["enrolment"] = list(self.enrolment)
        sections = {**found.settings, "pki": {**found.settings.get("pki", {}), **pki}}
        return f"# what came with the certificate; it is yours to change\n\n{dump(sections)}"

    def _file(self, ending: str) -> Path:
        return self.folder / f"{self.name}.{ending}"


def fingerprints_in(ca: Path) -> frozenset[str]:
    """The fingerprints of the CAs in a file (PEM); raises ConfigError."""
    try:
        return frozenset(map(fingerprint, x509.load_pem_x509_certificates(ca.read_bytes())))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{ca}: {error}") from error


def renewal(cert: Path, key: Path, kind: Kind, name: str) -> EnrolmentMessage:
    """Ask for another certificate of the same key; raises ConfigError for files that cannot be read."""
    try:
        text = cert.read_bytes()
        der = x509.load_pem_x509_certificate(text).public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{cert}: {error}") from error
    return make_request(name, kind, _key(key), None, renews=base64.b64encode(der).decode("ascii"))


def renewed(
    pki: PKISettings, asked: EnrolmentMessage, answer: EnrolmentMessage, kind: Kind, name: str
) -> EnrolmentAnswer:
    """Take the answer to a `renewal`: the certificate is written in the place of the one before.

    So are `pki.ca` and `pki.crl`, where the CA that we trust says that another takes its place, or that
    one is gone.

    Raises:
        ConfigError: a file that cannot be read or made.
        Rejected: not about our request, not signed by our CA, not for our key or our name.
    """
    ca, cert, key = pki.files()
    found = open_answer(answer, asked, None)
    try:
        own = ca.read_bytes()
        refuse_unsigned(answer, x509.load_pem_x509_certificates(own))
        if found.state != "signed":
            return found
        trusted = _trusted(own, found)
        _check(found, trusted, _key(key), name, kind)
        if trusted != own:
            if pki.crl is not None:  # first: who starts meanwhile has a list of a CA that he trusts
                lists = Verifier(trusted, crl_pem=found.crl + pki.crl.read_bytes()).crl_pem
                replace_file(pki.crl, lists, stat.S_IMODE(pki.crl.stat().st_mode))
            replace_file(ca, trusted, stat.S_IMODE(ca.stat().st_mode))
        replace_file(cert, found.certificate, stat.S_IMODE(cert.stat().st_mode))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    return found


def _meant(pem: bytes, cas: Collection[str]) -> list[x509.Certificate]:
    """Of the CAs in an answer those that are meant; raises Rejected without one."""
    meant = [ca for ca in _certificates(pem) if fingerprint(ca) in cas]
    if not meant:
        raise Rejected(Reason.FOREIGN_CA, "the answer is of another CA than the one that is meant")
    return meant


def _trusted(own: bytes, found: EnrolmentAnswer) -> bytes:
    """The file of CAs after an answer that one of them has signed.

    CAs that somebody has put there besides stay.
    """
    named = _certificates(found.ca)
    gone = _certificates(found.retired) if found.retired else []
    others = [ca for ca in _certificates(own) if ca not in named and ca not in gone]
    return found.ca + b"".join(ca.public_bytes(Encoding.PEM) for ca in others)


def _shares_one(own: bytes, pem: bytes) -> bool:
    """Whether a CA of a file of ours is among those in an answer."""
    try:
        mine = x509.load_pem_x509_certificates(own)
    except ValueError:
        return False
    return not set(mine).isdisjoint(_certificates(pem))


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Rejected(Reason.BAD_CERTIFICATE, f"the answer's CA: {error}") from None


def _check(found: EnrolmentAnswer, cas: bytes, key: PrivateKey, name: str, kind: Kind) -> None:
    """Refuse a certificate that is not what was asked for, or that none of the CAs (PEM) has issued."""
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate)
        verifier = Verifier(cas, crl_pem=found.crl)
    except (ValueError, ConfigError) as error:
        raise Rejected(Reason.BAD_CERTIFICATE, f"the answer's: {error}") from None
    text = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")
    identity = verifier.examine(text, now=time.time())
    if (identity.kind, identity.name) != (kind, name):
        raise Rejected(Reason.WRONG_SENDER, f"it is for the {identity.kind} {identity.name}")
    if not same_key(key, certificate.public_key()):
        raise Rejected(Reason.BAD_CERTIFICATE, "it is for another key than ours")


def _key(path: Path) -> PrivateKey:
    return load_private(read_private(path), str(path))
