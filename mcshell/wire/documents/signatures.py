"""Signing and checking: the only code that decides who signed a message (mcshell/README.md §6).

A certificate is trusted when it was issued directly by one of the CAs in the file that the
administrator installed (a CA that is itself an intermediate may stand in that file; longer chains
do not travel), is a leaf that may sign, and is neither out of date nor revoked *now*.
The chain is checked once for each certificate and remembered, on disk where there is a cache; dates
and revocation are checked for each message. What is left then is the signature: some 70 µs for
Ed25519.
"""

from __future__ import annotations

import binascii
import hashlib
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.pki import load_private, read_private
from mcshell.pki.chain import certificates_in
from mcshell.pki.identity import identity_of
from mcshell.pki.keys import certificate_der, checking, checking_der, der_of, same_key, signing
from mcshell.values import dataclass
from mcshell.wire.documents.trust import (
    MAX_NUMBER,
    UNPARSABLE,
    Anchor,
    anchor_of,
    load_anchors,
    load_crls,
    load_lists,
    refuse_unfit,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcshell.pki import Identity, PrivateKey
    from mcshell.pki.keys import PublicKey
    from mcshell.wire.documents.certificate_cache import CertificateCache
    from mcshell.wire.documents.trust import Revocations

__all__ = ["MAX_CERTIFICATE", "MAX_SIGNATURE", "VERSION", "Signer", "Verifier"]

log = logging.getLogger(__name__)

# Characters of base64: an RSA-4096 certificate with many names has some 3,000.
MAX_CERTIFICATE: Final = 8192
MAX_SIGNATURE: Final = 1024
MAX_RSA: Final = MAX_SIGNATURE // 4 * 3 * 8
# Seconds that the CA's clock may be before ours, when a list's age counts.
_AHEAD: Final = 300.0
VERSION: Final = 2
"""Of the wire: what a document says in `v`, and how it is signed."""
_RULES: Final = b"1"
"""Of what certificates we take: to be changed with them, so that all are examined anew."""
_PREFIX: Final = b"mcshell-2 sha256 "

Claim = tuple[bytes, bytes, bytes]
"""A public key (DER), a signature, and the bytes that it is said to cover."""


def _signed(body: bytes, version: int) -> bytes:
    """What a signature covers: the body under version 1, its digest behind a prefix since.

    The prefix keeps what we sign apart from what the same key signs elsewhere (TLS, ssh); the
    digest is of one size, whatever signs it (mcshell/README.md §6).
    """
    return body if version == 1 else _PREFIX + hashlib.sha256(body).digest()


class Signer:
    """One identity's key at work. Its methods may be called from any thread.

    `key` is the certificate's; elsewhere than in a file it is the function that signs with it. `pem` is what
    the certificate was read from, if anything.
    """

    def __init__(
        self,
        certificate: x509.Certificate,
        key: PrivateKey | Callable[[bytes], bytes],
        operators: Sequence[str] = (),
        pem: bytes = b"",
    ) -> None:
        if not callable(key):
            if not same_key(key, certificate.public_key()):
                raise ConfigError("the key is not the certificate's")
            key = signing(key)
        public = certificate.public_key()
        if isinstance(public, RSAPublicKey) and public.key_size > MAX_RSA:
            raise ConfigError(
                f"an RSA key of {public.key_size} bits: what it signs is longer than anybody takes;"
                f" {MAX_RSA} are the most"
            )
        self.identity: Identity = identity_of(certificate, operators)
        self.certificate: str = _encode(certificate_der(certificate, pem))
        self._key: PublicKey = certificate.public_key()  # type: ignore[assignment] # identity_of: one that we take
        self._operators = tuple(operators)
        self._sign = key

    def renew(self, certificate: x509.Certificate) -> None:
        """Go on with another certificate of the same key and identity.

        Raises:
            ConfigError: it is of another.
            Rejected: it speaks for nobody.
        """
        identity = identity_of(certificate, self._operators)
        mine = (self.identity.kind, self.identity.name)
        if not same_key(self._key, certificate.public_key()) or mine != (
            identity.kind,
            identity.name,
        ):
            raise ConfigError(f"it is not another certificate of {self.identity.name}")
        self.identity, self.certificate = (
            identity,
            _encode(certificate_der(certificate)),
        )

    @classmethod
    def load(
        cls,
        cert_path: str | os.PathLike[str],
        key_path: str | os.PathLike[str],
        operators: Sequence[str] = (),
    ) -> Signer:
        """Read certificate and key (PEM); ConfigError names the file and what is wrong with it."""
        try:
            with open(cert_path, "rb") as file:  # noqa: PTH123  a path may be str or Path here
                cert = file.read()
        except OSError as error:
            raise ConfigError(f"{cert_path}: {error.strerror}", origin=str(cert_path)) from error
        key = load_private(read_private(key_path), str(key_path))
        try:
            return cls._of(cert, key, operators)
        except ConfigError as error:
            raise ConfigError(f"{cert_path}, {key_path}: {error}", origin=str(cert_path)) from error

    @classmethod
    def from_pem(cls, cert: bytes, key: bytes, operators: Sequence[str] = ()) -> Signer:
        """Take certificate (the leaf first) and key as PEM; ConfigError when they do not fit."""
        return cls._of(cert, load_private(key), operators)

    @classmethod
    def _of(cls, cert: bytes, key: PrivateKey, operators: Sequence[str]) -> Signer:
        try:
            return cls(certificates_in(cert)[0], key, operators, cert)
        except Rejected as error:
            raise ConfigError(f"the certificate speaks for nobody: {error.detail}") from error

    def sign(self, body: bytes) -> str:
        """Sign a body; base64, one line."""
        return _encode(self._sign(_signed(body, VERSION)))


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A certificate whose chain has been checked."""

    identity: Identity
    anchor: Anchor
    check: Callable[[bytes, bytes], None]
    key: bytes
    """Its public key, in DER."""

    @property
    def owner(self) -> tuple[str, str, bytes]:
        """What it has in common with those that take its place: kind, name and key."""
        return self.identity.kind, self.identity.name, self.key


class Verifier:
    """Decides who has signed a message, and whether he may. Called from any thread.

    Args:
        ca_pem: the trusted CAs, one or more PEM certificates.
        crl_pem: their revocation lists, if any.
        operators: patterns for the operators of a foreign CA (see `pki.identity_of`).
        crl_max_age: seconds after which a CRL is too old to work under; None: never.
        refuse_expired_crl: whether nothing is believed under a CRL past its next update; without
            it the log is warned.
        cache: the file where examined certificates are kept beyond this process.
        newer_cas: the trusted CAs as they are now, where they were changed since it was asked last. It
            is asked where one is lacking, so that nothing of a CA that came in the meantime is refused.
        newer_lists: their revocation lists as they are now; asked where there are newer CAs.

    Raises:
        ConfigError: a CA that is none, or a CRL that is not signed by one of them.
    """

    def __init__(
        self,
        ca_pem: bytes,
        *,
        crl_pem: bytes | None = None,
        operators: Sequence[str] = (),
        crl_max_age: float | None = None,
        refuse_expired_crl: bool = False,
        cache: CertificateCache | None = None,
        newer_cas: Callable[[], bytes | None] = lambda: None,
        newer_lists: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        self._newer_cas, self._newer_lists = newer_cas, newer_lists
        self._operators = tuple(operators)
        self.ca_pem = ca_pem
        """The CAs that are trusted now."""
        self._anchors = _trusted(ca_pem, self._operators)
        self._crl_max_age = crl_max_age
        self._refuse_expired_crl = refuse_expired_crl
        self._warned: set[tuple[bytes, int]] = set()
        self._revocations: dict[bytes, Revocations] = {}  # by the CA's key
        self._taking = threading.Lock()
        self._looking = threading.Lock()
        # By the SHA-256 of its text. Only what one of the CAs has issued is in it: no stranger's
        # certificates, however many come, cost memory.
        self._leaves: dict[bytes, _Leaf] = {}
        # Those with one owner: certificates are public, so it does not matter who has shown them.
        self._certified: dict[tuple[str, str, bytes], tuple[_Leaf, ...]] = {}
        self._cache = cache
        self._points: dict[bytes, bytes] = {}
        self._install(crl_pem, self._anchors)

    def _install(self, crl_pem: bytes | None, anchors: Iterable[Anchor]) -> None:
        """Take the administrator's own lists; raises ConfigError."""
        try:
            self._take(load_crls(crl_pem, list(anchors), points=None) if crl_pem else [])
        except Rejected as error:
            raise ConfigError(f"the CRL: {error.detail}", "pki.crl") from error
        self._points |= {key: one.point for key, one in self._revocations.items() if one.point}

    @property
    def crl_number(self) -> int | None:
        """The number of the CRL in force; with several CAs the sum of theirs; None without one.

        So it grows with each newer list, whichever CA's it is, and who states a lower one than
        another with the same CAs lacks a list.
        """
        lists = self._revocations.values()
        return min(sum(r.number for r in lists), MAX_NUMBER) if lists else None

    @property
    def crl_dates(self) -> tuple[float, float] | None:
        """When the oldest of them was issued, and when one is due to be replaced first (epoch)."""
        lists = self._revocations.values()
        if not lists:
            return None
        return min(r.issued for r in lists), min(r.next_update for r in lists)

    @property
    def crl_pem(self) -> bytes:
        """The revocation lists in force, as the CAs signed them; empty without any."""
        return b"".join(r.pem for r in self._revocations.values())

    @property
    def crl_lists(self) -> list[bytes]:
        """The same in DER, as they travel."""
        return [r.der for r in self._revocations.values()]

    def update_crl(self, pem: bytes) -> bool:
        """Take newer revocation lists; anyone may have carried them, the CA must have signed them.

        Each counts for the CA whose key verifies it, whatever name it bears. Returns whether
        anything was newer than what was known: an older list is never taken back.

        Raises:
            Rejected: BAD_CERTIFICATE (no CRL), FOREIGN_CA or BAD_SIGNATURE (not our CA's).
        """
        return self._take(load_crls(pem, list(self._anchors), self._points))

    def update_lists(self, lists: Sequence[bytes]) -> bool:
        """Do as `update_crl` with lists in DER, as they travel."""
        return self._take(load_lists(lists, list(self._anchors), self._points))

    def use_cas(self, ca_pem: bytes) -> bool:
        """Trust these CAs from now on, and no others; returns whether they are others.

        Raises:
            ConfigError: one of them is none.
        """
        if ca_pem == self.ca_pem:
            return False
        anchors = _trusted(ca_pem, self._operators)
        with self._taking:
            self.ca_pem = ca_pem
            if anchors == self._anchors:
                return False
            keys = {anchor.key for anchor in anchors}
            self._anchors, self._leaves, self._certified = anchors, {}, {}
            self._revocations = {key: one for key, one in self._revocations.items() if key in keys}
        log.warning("trusted now: %s", ", ".join(anchor.name for anchor in anchors))
        return True

    def _take(self, found: Sequence[Revocations]) -> bool:
        with self._taking:
            known = dict(self._revocations)
            for revocations in found:
                if revocations.newer_than(known.get(revocations.key)):
                    known[revocations.key] = revocations
            newer = known != self._revocations
            self._revocations = known
        return newer

    def verify(
        self,
        body: bytes,
        signature: str,
        certificate: str,
        *,
        now: float,
        version: int = VERSION,
        stale: bool = False,
        ended: bool = False,
        checked: bool = False,
    ) -> Identity:
        """Return who has signed the body, or raise Rejected.

        `signature` and `certificate` are the base64 of the headers; `now` (epoch) is when to
        judge dates: the time of reception. Revocation knows no dates: who is revoked is not
        believed about the past either, for only he says when he wrote. A key is good as long as one
        of its certificates is: who has that of an old one has that of the one in its place. `version`
        is another for what was stored under another. `stale`: the age of the revocation list is set
        aside, for what may bring a newer one. `ended`: so is a certificate's end, for what waits
        until a good one of that key is known. `checked`: the `claim` of this was found good.

        Raises:
            Rejected: UNSIGNED, BAD_CERTIFICATE, FOREIGN_CA, CERT_EXPIRED, REVOKED, STALE_CRL,
                BAD_SIGNATURE; WRONG_KIND for a login's, which signs nothing.
        """
        if not signature or not certificate:
            raise Rejected(Reason.UNSIGNED)
        leaf = self._leaf(certificate)
        self._check_leaf(leaf, now, stale=stale, ended=ended)
        if len(signature) > MAX_SIGNATURE:
            raise Rejected(Reason.BAD_SIGNATURE, "it is too long")
        try:
            if not checked:
                leaf.check(_decode(signature), _signed(body, version))
        except InvalidSignature:
            name = leaf.identity.callerid
            raise Rejected(Reason.BAD_SIGNATURE, f"not signed by {name}") from None
        except ValueError as error:
            raise Rejected(Reason.BAD_SIGNATURE, f"not base64: {error}") from None
        if leaf.identity.kind == "login":
            name = leaf.identity.name
            raise Rejected(Reason.WRONG_KIND, f"signed by the login {name}, which signs nothing")
        return leaf.identity

    def claim(self, body: bytes, signature: str, certificate: str) -> Claim | None:
        """What is to be checked of a body's signature, where it is checked elsewhere.

        That is the public key (DER), the signature, and what it covers. None for a certificate that
        was not yet examined, and for what is no signature: `verify` says what is wrong with it.
        """
        leaf = (
            self._leaves.get(_digest(certificate)) if len(certificate) <= MAX_CERTIFICATE else None
        )
        if leaf is None or len(signature) > MAX_SIGNATURE:
            return None
        try:
            return leaf.key, _decode(signature), _signed(body, VERSION)
        except ValueError:
            return None

    def refuse_revoked(self, der: bytes) -> None:
        """Refuse a broker's certificate (DER) that its CA has taken back; raises Rejected.

        Whether to trust it at all is TLS's question, and may have another answer than ours.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
        except UNPARSABLE as error:  # OpenSSL takes more than we can read
            raise Rejected(Reason.BAD_CERTIFICATE, f"does not parse: {error}") from None
        try:
            anchor = anchor_of(certificate, self._anchors)
        except Rejected:
            return
        self._refuse_revoked_ca(self._vouching(anchor, time.time()))
        revocations = self._revocations.get(anchor.key)
        if revocations is not None and certificate.serial_number in revocations.serials:
            raise Rejected(Reason.REVOKED, f"serial {certificate.serial_number:x}")

    def examine(self, certificate: str, *, now: float) -> Identity:
        """Return whose certificate it is (base64, as in the header), or raise as `verify` does.

        It says nothing about who sent it: certificates are public.
        """
        leaf = self._leaf(certificate)
        self._check_leaf(leaf, now)
        return leaf.identity

    def signer_of(self, body: bytes, signature: str, certificate: str) -> Identity | None:
        """Whose key has signed a body: also one that is revoked or out of its dates.

        For telling who it was that is not believed; None when it cannot be told.
        """
        if len(signature) > MAX_SIGNATURE:
            return None
        try:
            leaf = self._leaf(certificate)
            leaf.check(_decode(signature), _signed(body, VERSION))
        except (Rejected, InvalidSignature, ValueError):
            return None
        return leaf.identity

    def _check_leaf(
        self, leaf: _Leaf, now: float, *, stale: bool = False, ended: bool = False
    ) -> None:
        identity = leaf.identity
        if not identity.not_before <= now <= identity.not_after and (
            now < identity.not_before or not (ended or self._lives_on(leaf, now, stale=stale))
        ):
            raise _out_of_dates(identity.callerid, identity, now)
        self._check_issuer(leaf, now, stale=stale)

    def _check_issuer(self, leaf: _Leaf, now: float, *, stale: bool) -> None:
        """Whether its CA still vouches for a certificate, whatever that one's dates; raises Rejected."""
        identity, anchor = leaf.identity, leaf.anchor
        if anchor.above or not anchor.not_before <= now <= anchor.not_after:
            anchor = self._vouching(anchor, now)
            if not anchor.not_before <= now <= anchor.not_after:
                raise _out_of_dates(f"the CA {anchor.name}", anchor, now)
            self._refuse_revoked_ca(anchor)
        revocations = self._revocations.get(anchor.key)
        if revocations is None:
            if self._crl_max_age is not None and not stale:
                raise Rejected(Reason.STALE_CRL, f"no CRL of {anchor.name}")
            return
        if identity.serial in revocations.serials:
            raise Rejected(Reason.REVOKED, f"{identity.callerid}, serial {identity.serial:x}")
        if not stale:
            self._check_age(anchor, revocations, now)

    def _refuse_revoked_ca(self, anchor: Anchor) -> None:
        """Refuse what an intermediate has issued that a CA above it has taken back."""
        if (serial := self._revoked_above(anchor)) is not None:
            raise Rejected(Reason.REVOKED, f"the CA {anchor.name}, serial {serial:x}")

    def _revoked_above(self, anchor: Anchor) -> int | None:
        for key, serial in anchor.above:
            revocations = self._revocations.get(key)
            if revocations is not None and serial in revocations.serials:
                return serial
        return None

    def _vouching(self, anchor: Anchor, now: float) -> Anchor:
        """The certificate of a CA's key by which it vouches: the longest that is in force and not taken back."""
        if self._stands(anchor, now):
            return anchor
        name = anchor.subject, anchor.key
        same = (one for one in self._anchors if (one.subject, one.key) == name)
        return next((one for one in same if self._stands(one, now)), anchor)

    def _stands(self, anchor: Anchor, now: float) -> bool:
        return anchor.not_before <= now <= anchor.not_after and self._revoked_above(anchor) is None

    def _lives_on(self, leaf: _Leaf, now: float, *, stale: bool) -> bool:
        """Whether another certificate of an ended one's owner, and so of its key, is good."""
        for other in self._certified.get(leaf.owner, ()):
            if other.identity.not_before <= now <= other.identity.not_after:
                with suppress(Rejected):
                    self._check_issuer(other, now, stale=stale)
                    return True
        return False

    def _check_age(self, anchor: Anchor, revocations: Revocations, now: float) -> None:
        if now > revocations.next_update:
            if self._refuse_expired_crl:
                raise Rejected(
                    Reason.STALE_CRL, f"the CRL of {anchor.name} is past its next update"
                )
            if (this := (revocations.key, revocations.number)) not in self._warned:
                self._warned.add(this)
                log.warning(
                    "the CRL of %s, number %d, is past its next update: fetch a newer one",
                    anchor.name,
                    revocations.number,
                )
        if self._crl_max_age is None:
            return
        age = now - revocations.issued
        if age > self._crl_max_age:
            raise Rejected(Reason.STALE_CRL, f"the CRL of {anchor.name} is {age:.0f} s old")
        if age < -_AHEAD:
            raise Rejected(
                Reason.STALE_CRL, f"the CRL of {anchor.name} is dated {-age:.0f} s from now"
            )

    def _leaf(self, text: str) -> _Leaf:
        """The certificate of a header, examined once; only a good one is remembered."""
        if len(text) > MAX_CERTIFICATE:
            raise Rejected(Reason.BAD_CERTIFICATE, f"it has {len(text)} characters")
        digest = _digest(text)
        leaf = self._leaves.get(digest)
        if leaf is None:
            anchors = self._anchors
            try:
                leaf = self._recall(digest, anchors) or self._examine(text, digest, anchors)
            except Rejected as why:
                if why.reason is not Reason.FOREIGN_CA:
                    raise
                self._look_for_newer_cas()
                if anchors is self._anchors:
                    raise
                anchors = self._anchors
                leaf = self._examine(text, digest, anchors)
            with self._taking:
                # else a CA may be trusted no more, or another thread was first
                if anchors is self._anchors and digest not in self._leaves:
                    self._leaves[digest] = leaf
                    self._certified[leaf.owner] = (*self._certified.get(leaf.owner, ()), leaf)
        return leaf

    def _look_for_newer_cas(self) -> None:
        with self._looking:
            try:
                if (pem := self._newer_cas()) is not None:
                    self._install(self._newer_lists(), _trusted(pem, self._operators))
                    self.use_cas(pem)
            except ConfigError as error:
                log.warning("the CAs stay as they were: %s", error)

    def _recall(self, digest: bytes, anchors: Mapping[Anchor, bytes]) -> _Leaf | None:
        """What an earlier process has examined, of a CA that is trusted now."""
        try:
            known = {} if self._cache is None else self._cache.get(digest)
            for anchor, trust in anchors.items():
                if (found := known.get(trust)) is not None:
                    return _Leaf(found[0], anchor, checking_der(found[1]), found[1])
        except UNPARSABLE as error:
            log.debug("a certificate was not remembered well: %s", error)
        return None

    def _examine(self, text: str, digest: bytes, anchors: Mapping[Anchor, bytes]) -> _Leaf:
        """Parse a certificate and check its chain."""
        try:
            certificate = x509.load_der_x509_certificate(_decode(text))
            anchor = anchor_of(certificate, anchors)
            identity = identity_of(certificate, self._operators)
            refuse_unfit(certificate, identity.kind)
            key = certificate.public_key()
            check = checking(key)
            der = der_of(key)
            leaf = _Leaf(identity, anchor, check, der)
        except UNPARSABLE as error:
            raise Rejected(Reason.BAD_CERTIFICATE, f"does not parse: {error}") from None
        if self._cache is not None:
            self._cache.add(digest, anchors[anchor], identity, der)
        return leaf


def _out_of_dates(who: str, dated: Identity | Anchor, now: float) -> Rejected:
    """Say the time here too: it is as often the clock that is wrong."""
    first, last, here = (
        time.strftime("%F %TZ", time.gmtime(moment))
        for moment in (dated.not_before, dated.not_after, now)
    )
    return Rejected(
        Reason.CERT_EXPIRED, f"{who}: out of its dates, {first} to {last}: it is {here} here"
    )


def _trusted(ca_pem: bytes, operators: Sequence[str]) -> dict[Anchor, bytes]:
    """The CAs in a text, each with what a verdict by it relies on.

    Of two certificates of one CA's key, the one that is good for longer vouches.
    """
    anchors = sorted(load_anchors(ca_pem), key=lambda anchor: -anchor.not_after)
    return {anchor: _trust(anchor, operators) for anchor in anchors}


def _trust(anchor: Anchor, operators: Sequence[str]) -> bytes:
    """What the verdict on a certificate relied on: the CA, whom it has operators be, our rules."""
    parts = [anchor.subject, anchor.key, *(pattern.encode() for pattern in operators)]
    sizes = [len(part).to_bytes(4, "big") + part for part in parts]
    return hashlib.sha256(_RULES + b"".join(sizes)).digest()


def _digest(certificate: str) -> bytes:
    return hashlib.sha256(certificate.encode("utf-8", "surrogatepass")).digest()


def _encode(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def _decode(text: str) -> bytes:
    """Read base64 that has one form only, so that a header with one changed letter never passes."""
    raw = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    if _encode(raw) != text:
        raise ValueError("not canonical")
    return raw
