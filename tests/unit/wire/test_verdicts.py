"""Which certificate speaks for whom, which CA is trusted, which list is believed: a verdict a row."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import subprocess
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import ConfigError, Reason, Rejected
from mcshell.pki import identity_of, load_private
from mcshell.pki.keys import dump_private
from mcshell.wire.documents.registration import Registration, seal_registration
from mcshell.wire.documents.signatures import Signer, Verifier

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
BODY = b"x"
SIGNED = b"mcshell-2 sha256 " + hashlib.sha256(BODY).digest()
OPERATORS = ("*.ops", "al*")

ACCEPTED_ALICE = "operator alice"
BAD = Reason.BAD_CERTIFICATE


def named(*names):
    """A subject of these common names."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])


def hash_of(key):
    """What a certificate signed with a key is hashed with."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else SHA256


SHA256 = hashes.SHA256()
CA_KEY = ed25519.Ed25519PrivateKey.generate()
CA_NAME = named("lab CA")


def build(
    subject="a",
    issuer=CA_NAME,
    issuer_key=CA_KEY,
    key=None,
    *,
    san=None,
    ca=False,
    start=NOW - DAY,
    end=NOW + DAY,
    extensions=(),
    constraints=True,
):
    """A certificate and its key."""
    key = key or ed25519.Ed25519PrivateKey.generate()
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject) if isinstance(subject, str) else subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if san is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hash_of(issuer_key)), key


def authority(key, name="weak", **more):
    """A self-signed CA, as PEM."""
    more = {"start": NOW - 100 * DAY, "end": NOW + 100 * DAY, **more}
    return pem_of(build(name, named(name), key, key, ca=True, **more)[0])


def pem_of(what):
    """PEM of a certificate or a list."""
    return what.public_bytes(Encoding.PEM)


CA_PEM = authority(CA_KEY, "lab CA")


def sign(key, body=SIGNED):
    """Sign as the wire says."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(body)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(body, padding.PKCS1v15(), SHA256)
    return key.sign(body, ec.ECDSA(SHA256))


def verdict(certificate, key, verifier=None, *, at=0.0):
    """`KIND NAME` when a message signed with it is believed, else the reason why not."""
    verifier = verifier or Verifier(CA_PEM, operators=OPERATORS)
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    signature = base64.b64encode(sign(key)).decode()
    try:
        identity = verifier.verify(BODY, signature, der, now=at or time.time())
    except Rejected as refusal:
        return refusal.reason
    return f"{identity.kind} {identity.name}"


def uris(*texts):
    """SAN URIs."""
    return [x509.UniformResourceIdentifier(text) for text in texts]


def ends(*usages):
    """An extended key usage."""
    return [(x509.ExtendedKeyUsage(usages), False)]


ALICE = uris("mcshell:operator:alice")
WEB1 = uris("mcshell:node:web1")
EKU = ExtendedKeyUsageOID


@cache
def rsa_key(bits, exponent=65_537):
    """An RSA key; made once."""
    return rsa.generate_private_key(exponent, bits)


def by_an_intermediate():
    """A leaf of a CA that our CA has made."""
    _, key = build("inter", ca=True)
    return build(issuer=named("inter"), issuer_key=key, san=ALICE)


LEAVES = {
    "plain": (lambda: build(san=ALICE), ACCEPTED_ALICE),
    "expired": (
        lambda: build(san=ALICE, start=NOW - 3 * DAY, end=NOW - 2 * DAY),
        Reason.CERT_EXPIRED,
    ),
    "not yet": (
        lambda: build(san=ALICE, start=NOW + 2 * DAY, end=NOW + 3 * DAY),
        Reason.CERT_EXPIRED,
    ),
    "for code signing": (lambda: build(san=ALICE, extensions=ends(EKU.CODE_SIGNING)), BAD),
    "an operator's for servers": (lambda: build(san=ALICE, extensions=ends(EKU.SERVER_AUTH)), BAD),
    "an operator's for clients": (
        lambda: build(san=ALICE, extensions=ends(EKU.CLIENT_AUTH)),
        ACCEPTED_ALICE,
    ),
    "an operator's for both": (
        lambda: build(san=ALICE, extensions=ends(EKU.SERVER_AUTH, EKU.CLIENT_AUTH)),
        ACCEPTED_ALICE,
    ),
    "an operator's for any": (
        lambda: build(san=ALICE, extensions=ends(EKU.ANY_EXTENDED_KEY_USAGE)),
        ACCEPTED_ALICE,
    ),
    "a node's for servers": (
        lambda: build(san=WEB1, extensions=ends(EKU.SERVER_AUTH)),
        "node web1",
    ),
    "a web server's by pattern": (
        lambda: build(san=[x509.DNSName("www.ops")], extensions=ends(EKU.SERVER_AUTH)),
        BAD,
    ),
    "a CA": (lambda: build(san=ALICE, ca=True), BAD),
    "no constraints": (lambda: build(san=ALICE, constraints=False), ACCEPTED_ALICE),
    "by an intermediate": (by_an_intermediate, Reason.FOREIGN_CA),
    "by a namesake": (
        lambda: build(san=ALICE, issuer_key=ed25519.Ed25519PrivateKey.generate()),
        Reason.FOREIGN_CA,
    ),
    "two operators": (
        lambda: build(san=uris("mcshell:operator:alice", "mcshell:operator:bob")),
        BAD,
    ),
    "node and operator": (
        lambda: build(san=uris("mcshell:node:web01", "mcshell:operator:bob")),
        BAD,
    ),
    "URI in capitals": (lambda: build(san=uris("MCSHELL:OPERATOR:ALICE")), ACCEPTED_ALICE),
    "URI with per cent": (
        lambda: build(san=uris("mcshell:operator:ali%63e")),
        "operator ali%63e",
    ),
    "URI with =": (lambda: build(san=uris("mcshell:operator:x=y")), "operator x=y"),
    "URI with a colon": (lambda: build(san=uris("mcshell:operator:a:b")), "operator a:b"),
    "URI without a name": (lambda: build(san=uris("mcshell:operator:")), BAD),
    "URI with a path": (lambda: build(san=uris("mcshell:node:../../x")), BAD),
    "CN with a line end": (lambda: build("web\nops"), BAD),
    "CN with a Cyrillic a": (lambda: build("\u0430lice"), BAD),
    "CN in full width": (lambda: build("\uff41lice"), BAD),
    "CN with a Kelvin sign": (lambda: build("\u212aate.ops"), BAD),
    "CN in NFD": (lambda: build("jose\u0301.ops"), BAD),
    "CN in NFC": (lambda: build("jos\u00e9.ops"), "operator jos\u00e9.ops"),
    "CN with a zero-width space": (lambda: build("al\u200bice"), BAD),
    "CN with a bidi override": (lambda: build("al\u202eecila"), BAD),
    "CN with a variation selector": (lambda: build("alice\ufe0f"), BAD),
    "CN with a joiner": (lambda: build("al\u034fice"), BAD),
    "CN with a Unicode hyphen": (lambda: build("al\u2010ice"), BAD),
    "CN with a Bengali digit": (lambda: build("al\u09ea"), BAD),
    "CN in one script": (
        lambda: build("\u0441\u0435\u0440\u0432\u0435\u0440-1"),
        "node \u0441\u0435\u0440\u0432\u0435\u0440-1",
    ),
    "CN in Japanese": (lambda: build("\u30b5\u30fc\u30d0\u6771"), "node \u30b5\u30fc\u30d0\u6771"),
    "CN with HTML": (lambda: build("al<script>x</script>"), BAD),
    "CN with a comment": (lambda: build("al#x"), BAD),
    "CN with a regex": (lambda: build("al/.+/"), BAD),
    "CN with a command": (lambda: build("al|x"), BAD),
    "two CNs, the first counts": (lambda: build(named("alpha", "web02")), "operator alpha"),
    "two DNS names, the first counts": (
        lambda: build(san=[x509.DNSName("web01"), x509.DNSName("x.ops")]),
        "node web01",
    ),
    "an operator's CN, another DNS name": (
        lambda: build("alice", san=[x509.DNSName("web01")]),
        "node web01",
    ),
    "DNS in capitals": (lambda: build(san=[x509.DNSName("WEB01.ops")]), "operator web01.ops"),
    "RSA 1024": (lambda: build(san=ALICE, key=rsa_key(1024)), BAD),
    "RSA 2048": (lambda: build(san=ALICE, key=rsa_key(2048)), ACCEPTED_ALICE),
    "RSA of exponent 3": (lambda: build(san=ALICE, key=rsa_key(2048, 3)), BAD),
    "P-256": (
        lambda: build(san=ALICE, key=ec.generate_private_key(ec.SECP256R1())),
        ACCEPTED_ALICE,
    ),
    "secp256k1": (lambda: build(san=ALICE, key=ec.generate_private_key(ec.SECP256K1())), BAD),
    "P-521": (lambda: build(san=ALICE, key=ec.generate_private_key(ec.SECP521R1())), BAD),
    "an unknown critical extension": (
        lambda: build(
            san=ALICE,
            extensions=[
                (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
            ],
        ),
        BAD,
    ),
}


@pytest.mark.parametrize("row", LEAVES)
def test_a_certificate_speaks_for_whom_it_names_or_for_nobody(row):
    """Each row's message is believed of exactly this identity, or refused for exactly this reason."""
    make, expected = LEAVES[row]
    assert verdict(*make()) == expected


@given(st.text(max_size=12))
def test_no_name_has_a_double_that_is_another(text):
    """A name that is accepted is its own NFKC form, holds nothing unseen, and comes back unchanged."""
    import unicodedata

    parts = [SimpleNamespace(value=text)]
    certificate = SimpleNamespace(
        extensions=SimpleNamespace(get_extension_for_class=_no_extension),
        subject=SimpleNamespace(get_attributes_for_oid=lambda _: parts),
        serial_number=1,
        not_valid_before_utc=NOW,
        not_valid_after_utc=NOW,
    )
    try:
        name = identity_of(certificate).name
    except Rejected:
        return
    assert unicodedata.normalize("NFKC", name) == name
    assert not {unicodedata.category(c)[0] for c in name if not c.isascii()} & set("CZPS")
    assert not set(name) & set("/#<>\\\"'`$&;|*?[], \t\n")


def _no_extension(kind):
    raise x509.ExtensionNotFound("none", ObjectIdentifier("2.5.29.17"))


def openssl(line, folder):
    """Run openssl in a folder; it makes what `cryptography` no longer signs."""
    subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def old(tmp_path):
    """A folder with an RSA CA of openssl's."""
    (tmp_path / "key").write_bytes(dump_private(rsa_key(2048)))
    openssl("req -x509 -sha256 -key key -subj /CN=old -out ca.pem", tmp_path)
    return tmp_path


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
def test_what_is_signed_with_a_broken_hash_is_refused(old, algorithm):
    """A CA in words; its leaf and its list, whose signatures count for nothing."""
    openssl(f"req -x509 -{algorithm} -key key -subj /CN=old -out weak.pem", old)
    with pytest.raises(ConfigError, match=f"CN=old is a CA signed with {algorithm}"):
        Verifier((old / "weak.pem").read_bytes())

    verifier = Verifier((old / "ca.pem").read_bytes())
    openssl("req -new -key key -subj /CN=web1 -out leaf.csr", old)
    verdicts = {}
    for one in (algorithm, "sha256"):
        openssl(f"x509 -req -{one} -in leaf.csr -CA ca.pem -CAkey key -out leaf.pem", old)
        leaf = x509.load_pem_x509_certificate((old / "leaf.pem").read_bytes())
        verdicts[one] = verdict(leaf, rsa_key(2048), verifier)
    # Who says so first, `cryptography` or we, depends on its version.
    assert verdicts.pop(algorithm) in {Reason.FOREIGN_CA, BAD}
    assert verdicts == {"sha256": "node web1"}

    (old / "index").touch()
    (old / "ca.cnf").write_text("[ca]\ndefault_ca = it\n[it]\ndatabase = index\n")
    listing = "ca -gencrl -config ca.cnf -keyfile key -cert ca.pem -crldays 1 -out crl.pem -md"
    openssl(f"{listing} {algorithm}", old)
    with pytest.raises(Rejected) as refusal:
        verifier.update_crl((old / "crl.pem").read_bytes())
    assert refusal.value.reason in {Reason.BAD_SIGNATURE, BAD}
    openssl(f"{listing} sha256", old)
    assert verifier.update_crl((old / "crl.pem").read_bytes())


CONSTRAINED = x509.NameConstraints([x509.DNSName("ok.example")], None)
ANCHORS = {
    "RSA 1024": (lambda: authority(rsa_key(1024)), "CN=weak is a CA with an RSA key of 1024 bits"),
    "RSA of exponent 3": (lambda: authority(rsa_key(2048, 3)), "an RSA key of exponent 3"),
    "a small curve": (
        lambda: authority(ec.generate_private_key(ec.SECP224R1())),
        "a key of secp224r1",
    ),
    "DSA": (lambda: authority(dsa.generate_private_key(2048)), "is a CA with a key of .*DSA"),
    "names constrained": (
        lambda: authority(CA_KEY, extensions=[(CONSTRAINED, True)]),
        r"2\.5\.29\.30",
    ),
    "names constrained, not critical": (
        lambda: authority(CA_KEY, extensions=[(CONSTRAINED, False)]),
        r"2\.5\.29\.30, which we do not process",
    ),
    "for mail": (
        lambda: authority(CA_KEY, extensions=ends(EKU.EMAIL_PROTECTION)),
        "its extended key usage is for something else",
    ),
}


@pytest.mark.parametrize("row", ANCHORS)
def test_a_ca_that_is_too_weak_or_says_more_than_we_process_is_not_loaded(row):
    """The configuration is refused in words, also when another CA beside it is a good one."""
    make, words = ANCHORS[row]
    for pem in (make(), CA_PEM + make()):
        with pytest.raises(ConfigError, match=words) as error:
            Verifier(pem)
        assert error.value.key == "pki.ca"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP521R1()), id="P-521"),
        pytest.param(ed448.Ed448PrivateKey.generate, id="Ed448"),
        pytest.param(lambda: rsa_key(2048), id="RSA 2048"),
    ],
)
def test_a_strong_ca_may_have_a_key_that_signs_no_messages(make):
    """A fleet's CA keeps its larger curve: its leaves are believed, and its lists."""
    key = make()
    certificate, leaf_key = build(issuer=named("weak"), issuer_key=key, san=ALICE)
    verifier = Verifier(authority(key))
    assert verdict(certificate, leaf_key, verifier) == ACCEPTED_ALICE
    assert verifier.update_crl(crl(1, [certificate.serial_number], key=key, issuer=named("weak")))
    assert verdict(certificate, leaf_key, verifier) is Reason.REVOKED


def test_a_ca_out_of_its_dates_vouches_for_nobody():
    """Its leaves are refused as expired."""
    verifier = Verifier(authority(CA_KEY, "lab CA", start=NOW - 9 * DAY, end=NOW - 8 * DAY))
    assert verdict(*build(san=ALICE), verifier) is Reason.CERT_EXPIRED


def test_a_key_that_nobody_would_believe_is_not_loaded():
    """An exponent of 3 is refused where the key is read, not at the first message."""
    with pytest.raises(ConfigError, match="an RSA key of exponent 3"):
        load_private(dump_private(rsa_key(2048, 3)))


# --- lists ---------------------------------------------------------------------------------


def crl(
    number, revoked, *, key=CA_KEY, issuer=CA_NAME, last=NOW, extensions=(), entry_extensions=()
):
    """A list, as PEM."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer)
        .last_update(last)
        .next_update(last + DAY)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder(serial, NOW)
        for extension in entry_extensions:
            entry = entry.add_extension(extension, critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return pem_of(builder.sign(key, hash_of(key)))


def scope(**more):
    """An issuing distribution point of which `more` is set."""
    unset = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**unset, **more})


@pytest.fixture
def mallory():
    """A certificate to be revoked, and its key."""
    return build(san=ALICE)


@pytest.fixture
def verifier(mallory):
    """A verifier under list number 5, which names mallory."""
    return Verifier(CA_PEM, crl_pem=crl(5, [mallory[0].serial_number]))


WITHOUT = {  # lists that do not name mallory: whether they are taken, and why not
    "an older number": (lambda: crl(4, [], last=NOW + 30 * DAY), False),
    "no number": (lambda: crl(None, [], last=NOW + DAY), False),
    "the same again": (lambda: crl(5, [], last=NOW), False),
    "another key": (
        lambda: crl(9, [], key=ed25519.Ed25519PrivateKey.generate()),
        Reason.BAD_SIGNATURE,
    ),
    "a number beyond all": (lambda: crl(1 << 159, []), BAD),
    "a delta": (lambda: crl(6, [], extensions=[(x509.DeltaCRLIndicator(1), True)]), BAD),
    "a delta, not critical": (
        lambda: crl(6, [], extensions=[(x509.DeltaCRLIndicator(1), False)]),
        BAD,
    ),
    "users' only": (
        lambda: crl(6, [], extensions=[(scope(only_contains_user_certs=True), True)]),
        BAD,
    ),
    "CAs' only, not critical": (
        lambda: crl(6, [], extensions=[(scope(only_contains_ca_certs=True), False)]),
        BAD,
    ),
    "a point's only": (
        lambda: crl(6, [], extensions=[(scope(full_name=uris("http://ca.example/1")), True)]),
        BAD,
    ),
    "indirect": (lambda: crl(6, [], extensions=[(scope(indirect_crl=True), True)]), BAD),
    "an unknown critical extension": (
        lambda: crl(
            6,
            [],
            extensions=[
                (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
            ],
        ),
        BAD,
    ),
}


@pytest.mark.parametrize("row", WITHOUT)
def test_a_list_that_is_older_or_not_for_all_takes_nothing_back(verifier, mallory, row):
    """It is not newer, or refused; who was revoked stays revoked."""
    make, expected = WITHOUT[row]
    assert _taken(verifier, make()) is expected
    assert verdict(*mallory, verifier) is Reason.REVOKED
    assert verifier.crl_number == 5


def _taken(verifier, pem):
    """Whether a list was newer, or why it is refused."""
    try:
        return verifier.update_crl(pem)
    except Rejected as refusal:
        return refusal.reason


def test_the_cas_later_word_counts(verifier, mallory):
    """A higher number, or the same number of a later date, is the CA's own later word."""
    assert verifier.update_crl(crl(5, [], last=NOW + timedelta(minutes=1)))
    assert verdict(*mallory, verifier) == ACCEPTED_ALICE
    assert verifier.update_crl(crl(6, [mallory[0].serial_number]))
    assert verdict(*mallory, verifier) is Reason.REVOKED


def test_remove_from_crl_means_nothing_in_a_whole_list(verifier, mallory):
    """Only deltas take back; a serial that stands in a list is revoked, whatever reason is given."""
    back = x509.CRLReason(x509.ReasonFlags.remove_from_crl)
    assert verifier.update_crl(crl(6, [mallory[0].serial_number], entry_extensions=[back]))
    assert verdict(*mallory, verifier) is Reason.REVOKED


def test_the_highest_number_fits_a_registration():
    """A node under a list of the highest number that is taken can still say so."""
    signer = Signer(*build(san=WEB1))
    verifier = Verifier(CA_PEM, crl_pem=crl(1 << 62, []))
    said = Registration(identity="web1", created=1.0, interval=1.0, crl=verifier.crl_number)
    assert json.loads(seal_registration(said, signer).body)["crl"] == 1 << 62


def test_a_list_past_its_next_update_is_said_once(mallory, caplog):
    """It goes on to count, and the log is warned; a newer list past its time is said again."""
    verifier = Verifier(CA_PEM, crl_pem=crl(5, [], last=NOW - 90 * DAY))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert verdict(*mallory, verifier) == ACCEPTED_ALICE
        assert len(caplog.messages) == 1
        assert "the CRL of CN=lab CA, number 5, is past its next update" in caplog.text
        verifier.update_crl(crl(6, [], last=NOW - 80 * DAY))
        assert verdict(*mallory, verifier) == ACCEPTED_ALICE
        assert len(caplog.messages) == 2


def test_a_list_past_its_next_update_is_refused_where_configured(mallory):
    """Nothing is believed until a newer list comes; who is revoked is called so first."""
    serial = mallory[0].serial_number
    verifier = Verifier(CA_PEM, crl_pem=crl(5, [], last=NOW - 90 * DAY), refuse_expired_crl=True)
    assert verdict(*mallory, verifier) is Reason.STALE_CRL
    verifier.update_crl(crl(6, []))
    assert verdict(*mallory, verifier) == ACCEPTED_ALICE
    later = (NOW + DAY / 2).timestamp()
    assert verdict(*mallory, verifier, at=later) == ACCEPTED_ALICE
    verifier.update_crl(crl(7, [serial], last=NOW - 90 * DAY))
    assert verdict(*mallory, verifier) is Reason.REVOKED


def test_a_list_from_the_future_is_not_fresh_for_ever(mallory):
    """Under crl_max_age a list that is dated ahead of the clock is as stale as an old one."""
    ahead = Verifier(CA_PEM, crl_pem=crl(5, [], last=NOW + 50 * DAY), crl_max_age=86_400)
    assert verdict(*mallory, ahead) is Reason.STALE_CRL
    soon = Verifier(CA_PEM, crl_pem=crl(5, [], last=NOW + timedelta(minutes=2)), crl_max_age=86_400)
    assert verdict(*mallory, soon) == ACCEPTED_ALICE


def test_the_namesakes_list_counts_for_its_own_leaves(mallory):
    """Revoked by one CA stays revoked, whatever a CA of the same name publishes."""
    key = ed25519.Ed25519PrivateKey.generate()
    verifier = Verifier(CA_PEM + authority(key, "lab CA"))
    verifier.update_crl(crl(5, [mallory[0].serial_number]))
    verifier.update_crl(crl(6, [], key=key))
    assert verdict(*mallory, verifier) is Reason.REVOKED
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki in {anchor.key for anchor in verifier._anchors}
