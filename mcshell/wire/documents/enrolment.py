"""Enrolment: what a machine that has no certificate yet asks its CA, and what it is told.

The request is a PKCS#10 request (RFC 2986), made where the key was born and signed with it, so that
nobody asks for another's key. A token, which somebody has brought to the machine, vouches for
it: the token's secret never travels, but the request carries an HMAC under it, and so does the
answer. So nobody on the way can change either, or answer in the CA's place. The token names the CA by
the SHA-256 of its certificate: who has got hold of a token can still not be another fleet's CA.

An answer that brings a certificate, and each to who renews one, is signed by the CA besides; while a
fleet changes its CA, by both. So a CA that is known may bring the one that takes its place.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mcshell.errors import Reason, Rejected, UsageError
from mcshell.pki.certificates import common_name
from mcshell.pki.identity import check_name, requested_in, uri_of
from mcshell.pki.keys import checking, hash_for
from mcshell.values import dataclass
from mcshell.wire.documents import fields, strict_json
from mcshell.wire.documents.trust import UNPARSABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcshell.pki.identity import Kind
    from mcshell.pki.keys import PrivateKey, PublicKey

__all__ = [
    "MAX_REQUEST_FILE",
    "EnrolmentAnswer",
    "EnrolmentMessage",
    "EnrolmentRequest",
    "EnrolmentState",
    "EnrolmentToken",
    "fingerprint",
    "make_request",
    "open_answer",
    "open_request",
    "read_token",
    "refuse_unsigned",
    "seal_answer",
    "vouches",
]

EnrolmentState = Literal["signed", "waiting", "refused"]

_VERSION: Final = 1
_SECRET: Final = 16
"""Bytes, of 128 random bits."""
_TOKEN = re.compile(r"([0-9a-f]{8})-([0-9a-f]{32})-([0-9a-f]{64})")
_MAC = re.compile(r"[0-9a-f]{64}")
_SIGNATURES = re.compile(r"[0-9a-f]{64,2048}(,[0-9a-f]{64,2048}){,3}")
_HEAD = 10_000
"""Characters of a message's first line, at most."""
_MAX_REQUEST: Final = 16_384
MAX_REQUEST_FILE: Final = _HEAD + _MAX_REQUEST
"""Bytes of a request as it travels."""
_MAX_ANSWER: Final = 1 << 20
"""Bytes: a revocation list is in it."""
_FILE: Final = b"mcshell-enrolment "
_REQUEST: Final = b"mcshell enrolment request\n"
_ANSWER: Final = b"mcshell enrolment answer\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentToken:
    """What is brought to a machine: a secret, its name, and the SHA-256 of the CA's certificate."""

    id: str
    secret: bytes
    ca: str

    @classmethod
    def new(cls, ca: str) -> EnrolmentToken:
        """Make one for a CA, given by its `fingerprint`."""
        return cls(id=secrets.token_hex(4), secret=secrets.token_bytes(_SECRET), ca=ca)

    def __str__(self) -> str:
        return f"{self.id}-{self.secret.hex()}-{self.ca}"

    def __repr__(self) -> str:
        return f"EnrolmentToken({self.id})"  # the secret is for no log


@dataclass(frozen=True, slots=True)
class EnrolmentMessage:
    """A request or an answer: the document, its HMAC in hexadecimal ("" without a token), and signatures.

    These are the CAs', of an answer, in hexadecimal.
    """

    body: bytes
    mac: str = ""
    signatures: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of the body: by it an answer says what it answers."""
        return hashlib.sha256(self.body).hexdigest()

    def dump(self) -> bytes:
        """Write it as a file that carries it from one machine to another."""
        head = " ".join((self.mac or "-", ",".join(self.signatures))).rstrip()
        return b"%s%s\n%s\n" % (_FILE, head.encode(), self.body)

    @classmethod
    def load(cls, text: bytes) -> EnrolmentMessage:
        """Read such a file; raises Rejected."""
        head, _, body = text.partition(b"\n")
        words = head[:_HEAD].removeprefix(_FILE).decode("latin-1")
        mac, space, signatures = words.partition(" ")
        fits = mac == "-" or _MAC.fullmatch(mac)
        if (
            not head.startswith(_FILE)
            or not fits
            or (space and not _SIGNATURES.fullmatch(signatures))
        ):
            raise Rejected(Reason.MALFORMED, "no file of mcshell's enrolment")
        signed = tuple(signatures.split(",")) if space else ()
        return cls(body.removesuffix(b"\n"), "" if mac == "-" else mac, signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRequest:
    """A request that was read: who asks for which key, and by which token (its id).

    `renews` is the certificate (base64, as it travels) in whose place another is asked for.
    """

    name: str
    kind: Kind
    public: PublicKey
    csr: bytes
    token: str | None
    renews: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentAnswer:
    """What the CA says of a request; certificate, CAs and lists (PEM) are there when it was `signed`.

    `retired` are the CAs that are to be trusted no more (PEM), `settings` a configuration to begin
    with, as its file is read.
    """

    request: str
    state: EnrolmentState
    reason: str = ""
    certificate: bytes = b""
    ca: bytes = b""
    crl: bytes = b""
    retired: bytes = b""
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_token(text: str) -> EnrolmentToken:
    """Read a token as `pki token` prints it; raises UsageError, without a word of what was read."""
    found = _TOKEN.fullmatch(text.strip())
    if found is None:
        raise UsageError("that is no token: `mcshell pki token` prints ID-SECRET-FINGERPRINT")
    return EnrolmentToken(id=found[1], secret=bytes.fromhex(found[2]), ca=found[3])


def fingerprint(ca: x509.Certificate) -> str:
    """How a token names its CA: the SHA-256 of the certificate's DER, in hexadecimal."""
    return hashlib.sha256(ca.public_bytes(Encoding.DER)).hexdigest()


def make_request(
    name: str,
    kind: Kind,
    key: PrivateKey,
    token: EnrolmentToken | None,
    renews: str | None = None,
) -> EnrolmentMessage:
    """Ask for a certificate for a key; raises UsageError for a name that cannot be.

    `renews` is the key's certificate until now (base64 of the DER).
    """
    name = check_name(name, kind)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name(kind, name))])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri_of(kind, name))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    csr = builder.add_extension(names, critical=False).sign(key, hash_for(key))
    document = {
        "v": _VERSION,
        "kind": "enrolment",
        "csr": base64.b64encode(csr.public_bytes(Encoding.DER)).decode("ascii"),
        "token": None if token is None else token.id,
        "nonce": secrets.token_hex(16),
    }
    if renews is not None:
        document["renews"] = renews
    return _sealed(_REQUEST, document, token)


def open_request(message: EnrolmentMessage) -> EnrolmentRequest:
    """Read a request and check that the key's owner has made it; its HMAC is for `vouches`.

    Raises:
        Rejected: TOO_LARGE; NOT_JSON, TOO_DEEP, MALFORMED, WRONG_KIND; BAD_SIGNATURE (not of its
            key); BAD_CERTIFICATE (a name or a key that we do not take).
    """
    document = _document(message, "enrolment", _MAX_REQUEST)
    try:
        der = binascii.a2b_base64(fields.text(document, "csr").encode("ascii"), strict_mode=True)
        csr = x509.load_der_x509_csr(der)
        signed, public = csr.is_signature_valid, csr.public_key()
        checking(public)
        kind, name = requested_in(csr)
        name = check_name(name, kind)
    except (*UNPARSABLE, UsageError) as error:
        raise Rejected(Reason.BAD_CERTIFICATE, f"the request: {error}") from None
    if not signed:
        raise Rejected(Reason.BAD_SIGNATURE, f"not made by the owner of the key of {name}")
    return EnrolmentRequest(
        name=name,
        kind=kind,
        public=cast("PublicKey", public),
        csr=csr.public_bytes(Encoding.PEM),
        token=fields.optional(document, "token", fields.word),
        renews=fields.optional(document, "renews", fields.text),
    )


def vouches(token: EnrolmentToken, message: EnrolmentMessage) -> bool:
    """Whether a request was made by somebody who has the token."""
    return hmac.compare_digest(_mac(_REQUEST, message.body, token), message.mac)


def seal_answer(
    answer: EnrolmentAnswer,
    token: EnrolmentToken | None,
    sign: Callable[[bytes], Sequence[bytes]] | None = None,
) -> EnrolmentMessage:
    """Write an answer, for whoever has the token, or knows a CA that is to `sign` it."""
    document = {
        "v": _VERSION,
        "kind": "enrolled",
        "request": answer.request,
        "state": answer.state,
        "reason": answer.reason,
        "certificate": answer.certificate.decode("ascii"),
        "ca": answer.ca.decode("ascii"),
        "crl": answer.crl.decode("ascii"),
        "retired": answer.retired.decode("ascii"),
        "settings": answer.settings,
    }
    sealed = _sealed(_ANSWER, document, token)
    if sign is None:
        return sealed
    signatures = tuple(one.hex() for one in sign(_ANSWER + sealed.body))
    return replace(sealed, signatures=signatures)


def open_answer(
    message: EnrolmentMessage, request: EnrolmentMessage, token: EnrolmentToken | None
) -> EnrolmentAnswer:
    """Read what the CA says of a request of ours.

    Without a token only the certificate in it can vouch for it, whose CA the caller must know.

    Raises:
        Rejected: TOO_LARGE; NOT_JSON, TOO_DEEP, MALFORMED, WRONG_KIND; BAD_SIGNATURE (not of
            whoever has the token); UNBOUND (about another request).
    """
    if token is not None and not hmac.compare_digest(
        _mac(_ANSWER, message.body, token), message.mac
    ):
        raise Rejected(Reason.BAD_SIGNATURE, "the answer is of nobody who has the token")
    document = _document(message, "enrolled", _MAX_ANSWER)
    if fields.digest(document, "request") != request.digest:
        raise Rejected(Reason.UNBOUND, "the answer is about another request")
    state = fields.text(document, "state")
    if state not in ("signed", "waiting", "refused"):
        raise Rejected(Reason.MALFORMED, f"state: {state[:60]!r}")
    return EnrolmentAnswer(
        request=request.digest,
        state=cast("EnrolmentState", state),
        reason=fields.text(document, "reason"),
        certificate=fields.text(document, "certificate").encode(),
        ca=fields.text(document, "ca").encode(),
        crl=fields.text(document, "crl").encode(),
        retired=(fields.optional(document, "retired", fields.text) or "").encode(),
        settings=_settings(document),
    )


def refuse_unsigned(message: EnrolmentMessage, cas: Sequence[x509.Certificate]) -> None:
    """Refuse an answer that none of these CAs has signed; raises Rejected: BAD_SIGNATURE."""
    for ca in cas:
        check = checking(cast("PublicKey", ca.public_key()))
        for signature in message.signatures:
            try:
                check(bytes.fromhex(signature), _ANSWER + message.body)
            except (ValueError, InvalidSignature):
                continue
            return
    raise Rejected(Reason.BAD_SIGNATURE, "none of our CAs has signed the answer")


def _settings(document: dict[str, Any]) -> dict[str, Any]:
    """The configuration in an answer, whatever is in it."""
    found = document.get("settings", {})
    if not isinstance(found, dict):
        raise Rejected(Reason.MALFORMED, "settings: a configuration is meant")
    return found


def _sealed(what: bytes, document: Any, token: EnrolmentToken | None) -> EnrolmentMessage:
    body = strict_json.dumps(document)
    return EnrolmentMessage(body, "" if token is None else _mac(what, body, token))


def _mac(what: bytes, body: bytes, token: EnrolmentToken) -> str:
    return hmac.new(token.secret, what + body, hashlib.sha256).hexdigest()


def _document(message: EnrolmentMessage, kind: str, most: int) -> dict[str, Any]:
    if len(message.body) > most:
        raise Rejected(Reason.TOO_LARGE, f"{len(message.body)} bytes; {most} are taken")
    document = strict_json.loads(message.body)
    if not isinstance(document, dict):
        raise Rejected(Reason.MALFORMED, "the document is no object")
    if type(document.get("v")) is not int or document["v"] != _VERSION:
        raise Rejected(Reason.WRONG_VERSION, f"version {str(document.get('v'))[:20]}")
    if document.get("kind") != kind:
        raise Rejected(Reason.WRONG_KIND, f"{str(document.get('kind'))[:20]} where {kind} belongs")
    return document
