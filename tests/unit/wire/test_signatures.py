"""Signing and checking, with all three algorithms, and every way a certificate can be no good."""

from __future__ import annotations

import base64
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.config import PKISettings
from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.pki import Authority
from mcshell.pki.certificates import build_crl, key_identifier
from mcshell.pki.keys import hash_for
from mcshell.wire.credentials import load_cas, load_credentials
from mcshell.wire.documents.certificate_cache import CertificateCache
from mcshell.wire.documents.signatures import MAX_CERTIFICATE, Signer, Verifier

# Certificates are made when a test wants them, which may be long after this module was read.
NOW = time.time() + 3000
YEAR = 365 * 86_400.0
BODY = b'{"v":1}'


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """One CA for the module."""
    return Authority.init(tmp_path_factory.mktemp("ca") / "ca", "mcshell CA", mark="")


@pytest.fixture(scope="module")
def alice(authority):
    """An operator's signer."""
    return Signer.from_pem(*authority.issue_pem("alice", "operator"))


@pytest.fixture
def verifier(authority):
    """A verifier with the CRL as it is now."""
    return Verifier(authority.ca_pem, crl_pem=authority.crl_pem)


def reason(verifier, signer, *, body=BODY, now=NOW):
    """Why a message signed by `signer` is refused, or None."""
    try:
        verifier.verify(body, signer.sign(body), signer.certificate, now=now)
    except Rejected as refusal:
        return refusal.reason
    return None


def build(authority, key, *extensions, name="alice"):
    """A leaf of the authority's CA with exactly these (extension, critical) pairs."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(authority.cas[0].key, hash_for(authority.cas[0].key))


def usage(*, digital_signature):
    """A key usage with or without signatures."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("kind", KEYS)
def test_each_algorithm_signs_and_is_checked(authority, verifier, kind):
    """What is signed with Ed25519, ECDSA or RSA verifies, and not for another body."""
    key = KEYS[kind]()
    signer = Signer(build(authority, key, name="web1"), key)
    identity = verifier.verify(BODY, signer.sign(BODY), signer.certificate, now=NOW)
    assert (identity.kind, identity.name) == ("node", "web1")
    assert "\n" not in signer.certificate + signer.sign(BODY)
    with pytest.raises(Rejected) as refusal:
        verifier.verify(BODY + b" ", signer.sign(BODY), signer.certificate, now=NOW)
    assert refusal.value.reason is Reason.BAD_SIGNATURE


def test_a_signer_is_loaded_from_files(authority, tmp_path):
    """Files that fit make a signer; a wrong key or a missing file is one line with its name."""
    cert, key = authority.issue("filed", "operator", tmp_path)
    _, other = authority.issue("other", "operator", tmp_path)
    assert Signer.load(cert, key).identity.callerid == "cert=filed"
    with pytest.raises(ConfigError, match=r"filed\.pem, .*other\.key: the key is not"):
        Signer.load(cert, other)
    with pytest.raises(ConfigError, match=r"none\.pem: No such file"):
        Signer.load(tmp_path / "none.pem", key)
    with pytest.raises(ConfigError, match="no PEM certificate"):
        Signer.load(key, key)
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Signer.load(cert, key)


@pytest.mark.parametrize("text", ["", "hello", "cut", "cut behind another"])
def test_a_file_of_cas_that_is_not_whole_is_named(authority, tmp_path, text):
    """One line with its name, and no page of a library's; one CA of two is not trusted in silence."""
    whole = authority.ca_pem.decode()
    cut = {"cut": whole[:-60], "cut behind another": whole + whole[:-60]}
    path = tmp_path / "some-ca.pem"
    path.write_text(cut.get(text, text))
    with pytest.raises(ConfigError, match=r"some-ca\.pem: ") as caught:
        load_cas(PKISettings(ca=path))
    assert "https" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "hello", None])
@pytest.mark.parametrize("name", ["ca", "cert", "key", "crl"])
def test_what_of_pki_cannot_be_used_is_named_by_setting_and_file(authority, tmp_path, name, text):
    """One line with both; so is a list that was cut off to nothing, under which nobody is revoked."""
    cert, key = authority.issue("named", "operator", tmp_path, renew=True)
    files = {"cert": cert, "key": key, "ca": tmp_path / "ca.pem", "crl": tmp_path / "crl.pem"}
    files["ca"].write_bytes(authority.ca_pem)
    files["crl"].write_bytes(authority.crl_pem)
    assert load_credentials(PKISettings(**files)).verifier.crl_number is not None
    if text is None:
        files[name].unlink()
    else:
        files[name].write_text(text)
    with pytest.raises(ConfigError, match=rf"^pki\.{name}: [^\n]*{files[name]}[^\n]+$") as caught:
        load_credentials(PKISettings(**files))
    assert caught.value.key == f"pki.{name}"


def test_dates_are_judged_at_each_message(verifier, alice):
    """A certificate that was good a message ago is refused once it is out of date."""
    assert reason(verifier, alice) is None
    assert reason(verifier, alice, now=NOW + 1.1 * YEAR) is Reason.CERT_EXPIRED
    assert reason(verifier, alice, now=NOW - 86_400) is Reason.CERT_EXPIRED
    assert reason(verifier, alice, now=NOW + YEAR / 2) is None


MINUTE = 60.0
# What else is certified: name, kind, whether of the same key, and from when to when it is good.
NEXT = ("web1", "node", True, -MINUTE, YEAR)


@pytest.mark.parametrize(
    ("others", "revoked", "why"),
    [
        pytest.param([], None, Reason.CERT_EXPIRED, id="alone"),
        pytest.param([NEXT], None, None, id="renewed"),
        pytest.param([NEXT], "next", Reason.CERT_EXPIRED, id="the next is revoked"),
        pytest.param([NEXT], "old", Reason.REVOKED, id="the old one is revoked"),
        pytest.param(
            [("web1", "node", False, -MINUTE, YEAR)], None, Reason.CERT_EXPIRED, id="other key"
        ),
        pytest.param(
            [("web2", "node", True, -MINUTE, YEAR)], None, Reason.CERT_EXPIRED, id="other name"
        ),
        pytest.param(
            [("web1", "login", True, -MINUTE, YEAR)], None, Reason.CERT_EXPIRED, id="other kind"
        ),
        pytest.param(
            [("web1", "node", True, -9 * MINUTE, 2 * MINUTE)],
            None,
            Reason.CERT_EXPIRED,
            id="the next has ended too",
        ),
        pytest.param(
            [("web1", "node", True, 10 * MINUTE, YEAR)],
            None,
            Reason.CERT_EXPIRED,
            id="not yet good",
        ),
        pytest.param(
            [NEXT, ("web1", "node", True, -9 * MINUTE, 2 * MINUTE)], None, None, id="the longest"
        ),
    ],
)
def test_a_key_is_good_as_long_as_one_of_its_certificates_is(tmp_path, others, revoked, why):
    """An ended one counts where a good one of its CA, kind, name and key was seen, in any order."""
    authority = Authority.init(tmp_path / "ca")
    key, other = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))

    def certified(name, kind, *, same, begin, life):
        of = key if same else other
        pem = authority.certify(
            name, kind, of.public_key(), renew=True, not_before=NOW + begin, lifetime=life
        )
        return Signer(x509.load_pem_x509_certificate(pem), of)

    old = certified("web1", "node", same=True, begin=-20 * MINUTE, life=MINUTE)
    shown = [
        certified(name, kind, same=same, begin=begin, life=life)
        for name, kind, same, begin, life in others
    ]
    serials = {"old": old.identity.serial, "next": shown[0].identity.serial if shown else 0}
    crl = None
    if revoked:
        crl = build_crl(
            authority.certificate.subject,
            authority.cas[0].key,
            key_identifier(authority.certificate),
            number=99,
            now=NOW,
            revoked=[(serials[revoked], NOW)],
        ).public_bytes(Encoding.PEM)
    for first in (shown, [old, *shown], [*reversed(shown), old]):
        verifier = Verifier(authority.ca_pem, crl_pem=crl)
        for one in first:
            reason(verifier, one)
        assert reason(verifier, old) is why
        assert reason(verifier, old, now=old.identity.not_before - 1) is Reason.CERT_EXPIRED
    if revoked != "old":
        said = verifier.verify(BODY, old.sign(BODY), old.certificate, now=NOW, ended=True)
        assert said == old.identity


def test_a_ca_out_of_date_vouches_for_nobody(tmp_path):
    """The CA's own dates are judged too."""
    authority = Authority.init(tmp_path / "ca")
    key = ed25519.Ed25519PrivateKey.generate()
    now = datetime.now(UTC)
    cert = build(authority, key)
    old = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(authority.certificate.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now - timedelta(days=8))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority.cas[0].key, None)
    )
    verifier = Verifier(old.public_bytes(Encoding.PEM))
    assert reason(verifier, Signer(cert, key)) is Reason.CERT_EXPIRED


def test_a_foreign_ca_is_refused_even_under_our_name(verifier, authority, tmp_path):
    """The CA's key counts, not its name."""
    for name in ("mcshell CA", "Another"):
        other = Authority.init(tmp_path / name, name, mark="")
        signer = Signer.from_pem(*other.issue_pem("alice", "operator"))
        assert reason(verifier, signer) is Reason.FOREIGN_CA


def test_two_trusted_cas_serve_side_by_side(authority, alice, tmp_path):
    """While a fleet changes its CA, both are trusted, each with its own CRL."""
    other = Authority.init(tmp_path / "other", "Other")
    bob = Signer.from_pem(*other.issue_pem("bob", "operator"))
    verifier = Verifier(authority.ca_pem + other.ca_pem, crl_pem=authority.crl_pem)
    assert reason(verifier, alice) is reason(verifier, bob) is None
    other.revoke("bob")
    assert verifier.update_crl(other.crl_pem)
    assert reason(verifier, alice) is None
    assert reason(verifier, bob) is Reason.REVOKED


UNFIT = {
    "a CA": (x509.BasicConstraints(ca=True, path_length=None), True),
    "no signatures": (usage(digital_signature=False), True),
    "code signing": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
    "unknown": (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
    "broken SAN": (x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.17"), b"\x05\x00"), False),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_certificate_for_something_else_signs_nothing(authority, verifier, what):
    """A CA, a key not meant to sign, an unknown critical extension: all bad, though issued."""
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = base64.b64encode(
        build(authority, key, UNFIT[what]).public_bytes(Encoding.DER)
    ).decode()
    with pytest.raises(Rejected) as refusal:
        verifier.verify(BODY, "AAAA", certificate, now=NOW)
    assert refusal.value.reason is Reason.BAD_CERTIFICATE


def test_a_fit_certificate_with_all_extensions_is_taken(authority, verifier):
    """The same extensions with the values of a leaf that signs are no obstacle."""
    key = ed25519.Ed25519PrivateKey.generate()
    extensions = (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True),
        (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False),
    )
    assert reason(verifier, Signer(build(authority, key, *extensions), key)) is None


def test_weak_keys_are_refused(authority, verifier):
    """RSA below 2048 bits and unknown curves sign nothing."""
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP521R1())):
        der = build(authority, key).public_bytes(Encoding.DER)
        with pytest.raises(Rejected) as refusal:
            verifier.verify(BODY, "AAAA", base64.b64encode(der).decode(), now=NOW)
        assert refusal.value.reason is Reason.BAD_CERTIFICATE


def test_revocation_counts_at_once_and_for_good(authority, alice):
    """A newer CRL stops a cached certificate; an older one that somebody replays changes nothing."""
    mallory = Signer.from_pem(*authority.issue_pem("mallory", "operator"))
    older = authority.crl_pem
    verifier = Verifier(authority.ca_pem, crl_pem=older)
    before = verifier.crl_number
    assert reason(verifier, mallory) is None
    number = authority.revoke("mallory")
    assert verifier.update_crl(authority.crl_pem)
    assert verifier.crl_number == number > before
    assert reason(verifier, mallory) is Reason.REVOKED
    assert not verifier.update_crl(older)
    assert reason(verifier, mallory) is Reason.REVOKED
    assert reason(verifier, alice) is None


def test_a_crl_must_be_signed_by_its_ca(authority, verifier, tmp_path):
    """A CRL of somebody else's making is refused, whatever name it bears."""
    for name, expected in (
        ("mcshell CA", Reason.BAD_SIGNATURE),
        ("Another", Reason.FOREIGN_CA),
    ):
        other = Authority.init(tmp_path / name, name, mark="")
        with pytest.raises(Rejected) as refusal:
            verifier.update_crl(other.crl_pem)
        assert refusal.value.reason is expected
        with pytest.raises(ConfigError, match="CRL"):
            Verifier(authority.ca_pem, crl_pem=other.crl_pem)
    with pytest.raises(Rejected):
        verifier.update_crl(b"no CRL at all")


def test_a_stale_crl_stops_work(authority, alice):
    """With crl_max_age, an old CRL, or none, is no base to work on."""
    fresh = Verifier(authority.ca_pem, crl_pem=authority.crl_pem, crl_max_age=7200)
    assert reason(fresh, alice) is None
    assert reason(fresh, alice, now=NOW + 14_400) is Reason.STALE_CRL
    without = Verifier(authority.ca_pem, crl_max_age=7200)
    assert reason(without, alice) is Reason.STALE_CRL
    assert without.crl_number is None


@pytest.mark.parametrize(
    "pem", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_ca_is_a_configuration_error(pem):
    """A CA file without a certificate is found when the verifier is made."""
    with pytest.raises(ConfigError, match="CA"):
        Verifier(pem)


def test_a_leaf_is_no_ca(authority):
    """A leaf certificate in the CA's place is refused by name."""
    pem, _ = authority.issue_pem("nota.example", "node")
    with pytest.raises(ConfigError, match=r"CN=nota\.example is no CA"):
        Verifier(pem)


def test_a_ca_with_name_constraints_is_refused(authority):
    """What we would not enforce, we do not load."""
    key = ed25519.Ed25519PrivateKey.generate()
    constrained = build(
        authority,
        key,
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.NameConstraints([x509.DNSName("example.com")], None), True),
    )
    with pytest.raises(ConfigError, match=r"2\.5\.29\.30"):
        Verifier(constrained.public_bytes(Encoding.PEM))


def test_headers_have_one_form_only(verifier, alice):
    """Other base64 of the same bytes is refused, so nobody fills the cache with variants."""
    signature = alice.sign(BODY)
    for text in (alice.certificate + "\n", " " + alice.certificate, alice.certificate + "===="):
        with pytest.raises(Rejected) as refusal:
            verifier.verify(BODY, signature, text, now=NOW)
        assert refusal.value.reason is Reason.BAD_CERTIFICATE
    assert signature.endswith("==")
    spare = chr(ord(signature[-3]) + 1) + "=="
    for text in (signature[:-3] + spare, signature + "\n", "é", "A" * 5000):
        with pytest.raises(Rejected) as refusal:
            verifier.verify(BODY, text, alice.certificate, now=NOW)
        assert refusal.value.reason is Reason.BAD_SIGNATURE
    with pytest.raises(Rejected, match="characters"):
        verifier.verify(BODY, signature, "A" * (MAX_CERTIFICATE + 1), now=NOW)


@settings(deadline=None)
@given(data=st.data())
def test_a_mutated_message_is_only_ever_rejected(authority, alice, data):
    """Any changed byte of body, signature or certificate is Rejected, and nothing else is raised."""
    verifier = Verifier(authority.ca_pem)
    parts = [BODY.decode(), alice.sign(BODY), alice.certificate]
    which = data.draw(st.integers(0, 2))
    place = data.draw(st.integers(0, len(parts[which]) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != parts[which][place]))
    parts[which] = parts[which][:place] + other + parts[which][place + 1 :]
    with pytest.raises(Rejected):
        verifier.verify(parts[0].encode(), parts[1], parts[2], now=NOW)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_junk_for_a_certificate_is_only_ever_rejected(authority, junk):
    """Bytes that are no certificate of ours raise Rejected."""
    with pytest.raises(Rejected):
        Verifier(authority.ca_pem).verify(
            BODY, "AAAA", base64.b64encode(junk).decode() or "AAAA", now=NOW
        )


def test_the_chain_is_checked_once_for_each_certificate(authority, monkeypatch):
    """A thousand messages under few certificates examine each of them once."""
    signers = [Signer.from_pem(*authority.issue_pem(f"n{i}", "node")) for i in range(5)]
    verifier = Verifier(authority.ca_pem)
    examined = count_examined(verifier, monkeypatch)
    for _ in range(20):
        assert {reason(verifier, signer) for signer in signers} == {None}
    assert len(examined) == 5


def count_examined(verifier, monkeypatch) -> list[str]:
    """The certificates that it examines from now on."""
    examined = []
    examine = verifier._examine
    monkeypatch.setattr(
        verifier, "_examine", lambda text, *rest: examined.append(text) or examine(text, *rest)
    )
    return examined


@pytest.mark.parametrize("kind", KEYS)
def test_a_later_process_examines_no_certificate_again(authority, monkeypatch, tmp_path, kind):
    """What one has examined, another takes from the file; and asks for dates, CRL and CA anew."""
    key = KEYS[kind]()
    signer = Signer(build(authority, key, name="web1"), key)
    path = tmp_path / "certificates.sqlite"
    cache = CertificateCache(path)
    assert reason(Verifier(authority.ca_pem, cache=cache), signer) is None
    cache.close()
    cache = CertificateCache(path)
    verifier = Verifier(authority.ca_pem, cache=cache)
    examined = count_examined(verifier, monkeypatch)
    signed = signer.sign(BODY)
    assert verifier.verify(BODY, signed, signer.certificate, now=NOW) == signer.identity
    assert reason(verifier, signer, now=NOW + 20 * YEAR) is Reason.CERT_EXPIRED
    with pytest.raises(Rejected, match="not signed by"):
        verifier.verify(b"another", signed, signer.certificate, now=NOW)
    assert examined == []
    other = Authority.init(tmp_path / "other")
    assert reason(Verifier(other.ca_pem, cache=cache), signer) is Reason.FOREIGN_CA
    ruled = Verifier(authority.ca_pem, cache=cache, operators=["*"])
    ruling = ruled.verify(BODY, signed, signer.certificate, now=NOW)
    assert ruling.kind == "operator", "the patterns that said otherwise were others"
    crl = build_crl(
        authority.certificate.subject,
        authority.cas[0].key,
        key_identifier(authority.certificate),
        number=99,
        now=NOW,
        revoked=[(signer.identity.serial, NOW)],
    )
    verifier.update_crl(crl.public_bytes(Encoding.PEM))
    assert reason(verifier, signer) is Reason.REVOKED
    cache.close()


def test_a_cache_that_cannot_be_written_costs_time_alone(authority, tmp_path):
    """A certificate is verified where the file of certificates is closed, or what is in it nonsense."""
    signer = Signer.from_pem(*authority.issue_pem("cached", "node"))
    cache = CertificateCache(tmp_path / "certificates.sqlite")
    assert reason(Verifier(authority.ca_pem, cache=cache), signer) is None
    cache.close()
    with closing(sqlite3.connect(tmp_path / "certificates.sqlite")) as db:
        db.execute("UPDATE certificates SET serial='x', key=x'00'")
        db.commit()
    cache = CertificateCache(tmp_path / "certificates.sqlite")
    assert reason(Verifier(authority.ca_pem, cache=cache), signer) is None
    with closing(sqlite3.connect(tmp_path / "certificates.sqlite")) as db:
        db.execute("DROP TABLE certificates")
    assert reason(Verifier(authority.ca_pem, cache=cache), signer) is None
    cache.close()


def test_refused_certificates_are_not_kept(authority, tmp_path):
    """Junk leaves nothing behind in memory."""
    other = Authority.init(tmp_path / "other")
    verifier = Verifier(authority.ca_pem)
    signer = Signer.from_pem(*other.issue_pem("x", "node"))
    assert reason(verifier, signer) is Reason.FOREIGN_CA
    assert not verifier._leaves


def test_threads_share_a_verifier(authority):
    """Verifying from several threads gives no wrong answer."""
    signers = [Signer.from_pem(*authority.issue_pem(f"t{i}", "node")) for i in range(8)]
    verifier = Verifier(authority.ca_pem)
    wrong = []

    def run():
        for _ in range(20):
            for signer in signers:
                identity = verifier.verify(BODY, signer.sign(BODY), signer.certificate, now=NOW)
                if identity.name != signer.identity.name:
                    wrong.append(identity)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_key_whose_signatures_nobody_takes_is_said_by_who_would_sign(authority):
    """An RSA key of 8192 bits: each message would be refused by each node, one by one."""
    public = rsa.RSAPublicNumbers(65_537, (1 << 8191) + 1).public_key()
    certificate = x509.load_pem_x509_certificate(authority.certify("eve", "operator", public))
    with pytest.raises(ConfigError, match=r"an RSA key of 8192 bits: .* 6144 are the most"):
        Signer(certificate, lambda body: body)
