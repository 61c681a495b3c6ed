"""The machine's side of enrolment: the key is made here, and stays.

`begin` makes the key and the request; both are there to be asked for again until `accept` has taken an
answer. What an answer brings is believed because the token's secret or the CA's fingerprint says so, and
because the certificate is of that CA, for our key and our name: else nothing is written.
"""

from __future__ import annotations

import base64
import os
import time
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.errors import ConfigError, Reason, Rejected, UsageError
from mcshell.pki import check_name, load_private, read_private
from mcshell.pki.keys import dump_private, same_key
from mcshell.private import private_folder
from mcshell.wire.documents.enrolment import (
    EnrolmentMessage,
    fingerprint,
    make_request,
    open_answer,
)
from mcshell.wire.documents.signatures import Verifier

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.pki import Kind, PrivateKey
    from mcshell.wire.documents.enrolment import EnrolmentAnswer, EnrolmentToken

__all__ = ["accept", "begin"]


def begin(folder: Path, name: str, kind: Kind, token: EnrolmentToken | None) -> EnrolmentMessage:
    """The request of this machine: NAME.request, beside NAME.key, both made where they are not there.

    Raises:
        UsageError: a name that cannot be, or a key that is in use already.
        ConfigError: a key or a request that cannot be read or made.
    """
    name = check_name(name, kind)
    private_folder(folder)
    request, key = folder / f"{name}.request", folder / f"{name}.key"
    if (folder / f"{name}.pem").exists():
        raise UsageError(f"{folder / name}.pem is there already: {name} has a certificate")
    try:
        if request.exists():
            return EnrolmentMessage.load(request.read_bytes())
        if not key.exists():
            _write(key, dump_private(Ed25519PrivateKey.generate()), 0o600)
        message = make_request(name, kind, _key(key), token)
        _write(request, message.dump(), 0o600)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except Rejected as error:
        raise ConfigError(f"{request}: {error.detail}: remove it to ask anew") from error
    return message


def accept(
    folder: Path,
    name: str,
    kind: Kind,
    answer: EnrolmentMessage,
    *,
    token: EnrolmentToken | None,
    ca: str,
) -> EnrolmentAnswer:
    """Take an answer: NAME.pem, ca.pem and crl.pem are written when it was signed.

    `ca` is the fingerprint of the CA that is meant, such as the token's.

    Raises:
        UsageError: nothing was asked here, or another CA's certificate is there.
        ConfigError: a file that cannot be read or made.
        Rejected: not of whoever has the token, not about our request, not of that CA, not for our
            key or our name, or out of its dates.
    """
    name = check_name(name, kind)
    request = folder / f"{name}.request"
    try:
        asked = EnrolmentMessage.load(request.read_bytes())
    except OSError as error:
        raise UsageError(f"{request}: {error.strerror}: nothing was asked here") from error
    found = open_answer(answer, asked, token)
    if found.state != "signed":
        return found
    _check(found, _key(folder / f"{name}.key"), name, kind, ca)
    known = folder / "ca.pem"
    try:
        if known.exists() and known.read_bytes() != found.ca:
            raise UsageError(f"{known} is there already, and is another CA's: nothing was written")
        _write(known, found.ca, 0o644)
        _write(folder / "crl.pem", found.crl, 0o644)
        _write(folder / f"{name}.pem", found.certificate, 0o644)
        request.unlink()
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    return found


def _check(found: EnrolmentAnswer, key: PrivateKey, name: str, kind: Kind, ca: str) -> None:
    """Refuse a certificate that is not what was asked for."""
    try:
        authority = x509.load_pem_x509_certificate(found.ca)
        certificate = x509.load_pem_x509_certificate(found.certificate)
        verifier = Verifier(found.ca, crl_pem=found.crl)
    except (ValueError, ConfigError) as error:
        raise Rejected(Reason.BAD_CERTIFICATE, f"the answer's: {error}") from None
    if fingerprint(authority) != ca:
        raise Rejected(Reason.FOREIGN_CA, "the answer is of another CA than the one that is meant")
    text = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")
    identity = verifier.examine(text, now=time.time())
    if (identity.kind, identity.name) != (kind, name):
        raise Rejected(Reason.WRONG_SENDER, f"it is for the {identity.kind} {identity.name}")
    if not same_key(key, certificate.public_key()):
        raise Rejected(Reason.BAD_CERTIFICATE, "it is for another key than ours")


def _key(path: Path) -> PrivateKey:
    return load_private(read_private(path), str(path))


def _write(path: Path, text: bytes, mode: int) -> None:
    """Have a whole file there, or none."""
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
