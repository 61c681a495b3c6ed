"""While a fleet changes its CA: two CAs, perhaps of one name, each with a revocation list of its own."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.config import PKISettings
from mcshell.errors import ConfigError, Reason, Rejected, UsageError
from mcshell.pki import Authority
from mcshell.pki.certificates import build_ca, build_crl, key_identifier
from mcshell.pki.chain import lacking
from mcshell.pki.keys import dump_private
from mcshell.wire.credentials import load_verifier
from mcshell.wire.documents.signatures import Signer, Verifier

BODY = b'{"v":1}'


@pytest.fixture
def old(tmp_path):
    """The CA that goes."""
    return Authority.init(tmp_path / "old", "fleet", mark="")


@pytest.fixture
def new(tmp_path):
    """The CA that comes, of the same name."""
    return Authority.init(tmp_path / "new", "fleet", mark="")


def reason(verifier, signer):
    """Why a message signed by `signer` is refused, or None."""
    try:
        verifier.verify(BODY, signer.sign(BODY), signer.certificate, now=time.time())
    except Rejected as refusal:
        return refusal.reason
    return None


def signer_of(authority, name):
    """A new operator of a CA."""
    return Signer.from_pem(*authority.issue_pem(name, "operator"))


def trusting(authority, folder):
    """The files of a CA and of its lists, and who trusts what they say."""
    files = {name: folder / f"{name}.pem" for name in ("ca", "crl")}
    files["ca"].write_bytes(authority.ca_pem)
    files["crl"].write_bytes(authority.crl_pem)
    return files, load_verifier(PKISettings(**files))


def test_each_new_ca_has_a_subject_of_its_own(tmp_path):
    """Two CAs made with one name are told apart by what stands behind it; one opened stays as it is."""
    one, two = Authority.init(tmp_path / "1", "fleet"), Authority.init(tmp_path / "2", "fleet")
    assert one.certificate.subject != two.certificate.subject
    assert one.certificate.subject.rfc4514_string().startswith("CN=fleet ")
    assert Authority.open(one.directory).certificate == one.certificate
    for name in ("x" * 65, ""):
        with pytest.raises(UsageError, match="1 to 64 characters"):
            Authority.init(tmp_path / "3", name, mark="")


def test_two_cas_of_one_name_keep_their_lists(old, new):
    """A CA's list, however high its number, takes nothing from the list of its namesake."""
    gone, mallory = signer_of(old, "gone"), signer_of(new, "mallory")
    verifier = Verifier(old.ca_pem + new.ca_pem)
    for _ in range(4):
        old.publish()
    old.revoke("gone")
    assert verifier.update_crl(old.crl_pem)
    new.revoke("mallory")
    assert verifier.update_crl(new.crl_pem)
    assert reason(verifier, gone) is reason(verifier, mallory) is Reason.REVOKED
    for _ in range(6):
        new.publish()
    assert verifier.update_crl(new.crl_pem)
    assert reason(verifier, gone) is reason(verifier, mallory) is Reason.REVOKED
    assert reason(verifier, signer_of(old, "alice")) is None


def test_one_cas_stale_list_is_not_made_fresh_by_its_namesakes(old, new):
    """Under crl_max_age each CA needs a list of its own."""
    alice, bob = signer_of(old, "alice"), signer_of(new, "bob")
    verifier = Verifier(old.ca_pem + new.ca_pem, crl_pem=new.crl_pem, crl_max_age=3600)
    assert (reason(verifier, alice), reason(verifier, bob)) == (Reason.STALE_CRL, None)


def test_the_number_grows_with_either_list(old, new):
    """With two CAs the number is the sum: who states a lower one lacks a list of one of them."""
    verifier = Verifier(old.ca_pem + new.ca_pem)
    assert verifier.crl_number is None
    for _ in range(4):
        old.publish()
    verifier.update_crl(old.crl_pem)
    assert verifier.crl_number == 5
    verifier.update_crl(new.crl_pem)
    assert verifier.crl_number == 6
    new.publish()
    assert verifier.update_crl(new.crl_pem)
    assert verifier.crl_number == 7
    assert not verifier.update_crl(old.crl_pem + new.crl_pem)
    assert verifier.crl_number == 7


@pytest.mark.parametrize("mark", ["", None])
def test_lists_of_a_ca_not_trusted_yet_are_passed_over(old, tmp_path, mark):
    """A node that trusts one of two CAs takes that one's list out of what travels, and no other."""
    coming = Authority.init(tmp_path / "coming", "fleet", mark=mark)
    verifier = Verifier(old.ca_pem)
    assert verifier.update_crl(coming.crl_pem + old.crl_pem)
    assert verifier.crl_pem == old.crl_pem
    with pytest.raises(Rejected) as refusal:
        verifier.update_crl(coming.crl_pem)
    assert refusal.value.reason is (Reason.FOREIGN_CA if mark is None else Reason.BAD_SIGNATURE)


def test_the_newest_of_one_cas_lists_counts_in_any_order(old):
    """Two lists of one CA in one message: the older one never wins."""
    first = old.crl_pem
    mallory = signer_of(old, "mallory")
    old.revoke("mallory")
    for pem in (first + old.crl_pem, old.crl_pem + first):
        verifier = Verifier(old.ca_pem, crl_pem=pem)
        assert reason(verifier, mallory) is Reason.REVOKED
        assert verifier.crl_number == 2


def test_a_cas_new_certificate_for_its_key_keeps_leaves_and_lists(tmp_path):
    """A CA renewed with its old key goes on: neither its leaves nor its list have to be made again."""
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    renewed = build_ca(key, "fleet", time.time())
    ended = (
        x509.CertificateBuilder()
        .subject_name(renewed.subject)
        .issuer_name(renewed.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
        .public_bytes(Encoding.PEM)
    )
    (tmp_path / "ca.key").write_bytes(dump_private(key))
    (tmp_path / "ca.key").chmod(0o600)
    (tmp_path / "ca.pem").write_bytes(renewed.public_bytes(Encoding.PEM))
    authority = Authority.open(tmp_path)
    alice, mallory = signer_of(authority, "alice"), signer_of(authority, "mallory")
    authority.revoke("mallory")
    verifier = Verifier(ended + authority.ca_pem, crl_pem=authority.crl_pem)
    assert reason(verifier, alice) is None
    assert reason(verifier, mallory) is Reason.REVOKED


def of_ca(key, issuer_key=None, *, begin, end, leaf=False):
    """A certificate of a CA "fleet", good between two days as from now: its own, one's under it, or a leaf."""
    now = datetime.now(UTC)
    name = build_ca(key, "fleet", time.time()).subject
    return (
        x509.CertificateBuilder()
        .subject_name(build_ca(key, "web1", time.time()).subject if leaf else name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begin))
        .not_valid_after(now + timedelta(days=end))
        .add_extension(x509.BasicConstraints(ca=not leaf, path_length=None), critical=True)
        .sign(issuer_key or key, None)
    )


def test_a_cas_next_certificate_counts_from_its_day_on(old):
    """One for the same key that begins tomorrow may lie in the file today: the present one vouches."""
    key = old.cas[0].key
    tomorrow = of_ca(key, begin=1, end=9000).public_bytes(Encoding.PEM)
    alice = signer_of(old, "alice")
    for pem in (old.ca_pem + tomorrow, tomorrow + old.ca_pem):
        assert reason(Verifier(pem), alice) is None
    assert reason(Verifier(tomorrow), alice) is Reason.CERT_EXPIRED


def test_a_ca_that_is_trusted_no_more_is_believed_about_nothing(old, new):
    """Also not about a certificate that was examined before; the other's list stays in force."""
    verifier = Verifier(old.ca_pem + new.ca_pem, crl_pem=old.crl_pem + new.crl_pem)
    before, after = signer_of(old, "alice"), signer_of(new, "alice")
    assert reason(verifier, before) is reason(verifier, after) is None
    assert verifier.use_cas(new.ca_pem)
    assert (reason(verifier, before), reason(verifier, after)) == (Reason.FOREIGN_CA, None)
    assert verifier.crl_pem == new.crl_pem
    assert not verifier.use_cas(new.ca_pem)
    with pytest.raises(ConfigError):
        verifier.use_cas(b"junk")
    assert reason(verifier, after) is None


def test_a_ca_that_came_meanwhile_is_looked_for_once(old, new):
    """What a newer file says is believed at its first message; strangers do not have it read again."""
    files, asked = [new.ca_pem + old.ca_pem], []

    def newer():
        asked.append(1)
        return files.pop() if files else None

    verifier = Verifier(old.ca_pem, newer_cas=newer)
    assert reason(verifier, signer_of(old, "alice")) is None
    assert asked == []
    assert reason(verifier, signer_of(new, "alice")) is None
    assert asked == [1]
    junk = Verifier(old.ca_pem, newer_cas=lambda: b"junk")
    assert reason(junk, signer_of(new, "bob")) is Reason.FOREIGN_CA
    assert reason(junk, signer_of(old, "bob")) is None


def test_many_threads_miss_no_ca_that_comes(old, new):
    """While one reads the newer file the others wait for it, and believe what it says."""
    files, told = [old.ca_pem + new.ca_pem], []

    def newer():
        time.sleep(0.05)
        return files.pop() if files else None

    verifier = Verifier(old.ca_pem, newer_cas=newer)
    signer = signer_of(new, "alice")
    threads = [
        threading.Thread(target=lambda: told.append(reason(verifier, signer))) for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert told == [None] * 8


def test_a_key_goes_on_under_the_other_ca(old, new):
    """What an ended certificate has signed is good while the key has a certificate of either CA."""
    key = Ed25519PrivateKey.generate()
    began = time.time() - 200
    short = old.certify("web1", "node", key.public_key(), not_before=began, lifetime=100)
    long = new.certify("web1", "node", key.public_key())
    verifier = Verifier(old.ca_pem + new.ca_pem, crl_pem=old.crl_pem)
    ended = Signer.from_pem(short, dump_private(key))
    assert reason(verifier, ended) is Reason.CERT_EXPIRED
    assert reason(verifier, Signer.from_pem(long, dump_private(key))) is None
    assert reason(verifier, ended) is None
    new.revoke("web1")
    verifier.update_crl(new.crl_pem)
    assert reason(verifier, ended) is Reason.CERT_EXPIRED


def taken_back(ca, *serials):
    """A list of a CA with these serials, as PEM."""
    pairs, identifier = [(one, time.time()) for one in serials], key_identifier(ca.certificate)
    crl = build_crl(
        ca.certificate.subject,
        ca.cas[0].key,
        identifier,
        number=9,
        now=time.time(),
        revoked=pairs,
    )
    return crl.public_bytes(Encoding.PEM)


def test_a_ca_under_another_of_its_name_is_no_root(new):
    """One that goes on under a new key has the name of the CA above it, whose list takes it back."""
    below, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    between = of_ca(below, new.cas[0].key, begin=-9, end=9)
    assert between.issuer == between.subject == new.certificate.subject
    signer = Signer(of_ca(key, below, begin=-1, end=1, leaf=True), key)
    pem = new.ca_pem + between.public_bytes(Encoding.PEM)
    assert reason(Verifier(pem, crl_pem=taken_back(new)), signer) is None
    taken = taken_back(new, between.serial_number)
    assert reason(Verifier(pem, crl_pem=taken), signer) is Reason.REVOKED
    assert lacking([between]) == [between]
    assert not lacking([between, new.certificate])


def test_a_ca_stands_as_long_as_one_of_its_certificates_does(new):
    """Of two for one key the list above takes one back: the other vouches, for leaves and brokers; not when both are."""
    below, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    long, short = (of_ca(below, new.cas[0].key, begin=-9, end=end) for end in (900, 9))
    leaf = of_ca(key, below, begin=-1, end=1, leaf=True)
    signer, der = Signer(leaf, key), leaf.public_bytes(Encoding.DER)
    for first, second in ((long, short), (short, long)):
        pem = new.ca_pem + b"".join(one.public_bytes(Encoding.PEM) for one in (first, second))
        for gone in (long, short):
            verifier = Verifier(pem, crl_pem=taken_back(new, gone.serial_number))
            assert reason(verifier, signer) is None
            verifier.refuse_revoked(der)
        both = taken_back(new, long.serial_number, short.serial_number)
        verifier = Verifier(pem, crl_pem=both)
        assert reason(verifier, signer) is Reason.REVOKED
        with pytest.raises(Rejected, match="revoked"):
            verifier.refuse_revoked(der)


@pytest.mark.parametrize("flaw", ["", "revoked", "ended"])
def test_a_key_goes_on_under_no_ca_that_is_not_good(new, flaw):
    """A certificate of an intermediate that is taken back, or over, revives none that has ended."""
    key, below = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    end = -1 if flaw == "ended" else 9
    between = of_ca(below, new.cas[0].key, begin=-9, end=end)
    short = new.certify(
        "web1", "node", key.public_key(), not_before=time.time() - 200, lifetime=100
    )
    ended = Signer.from_pem(short, dump_private(key))
    other = of_ca(key, below, begin=-1, end=1, leaf=True)
    taken = taken_back(new, *([between.serial_number] if flaw == "revoked" else []))
    verifier = Verifier(new.ca_pem + between.public_bytes(Encoding.PEM), crl_pem=taken)
    assert (reason(verifier, Signer(other, key)) is None) is (flaw == "")
    assert reason(verifier, ended) is (Reason.CERT_EXPIRED if flaw else None)


def test_a_key_goes_on_while_any_of_its_certificates_is_good(old):
    """One that is good for longer and taken back does not hide another that is good."""
    key = Ed25519PrivateKey.generate()
    made = [
        old.certify(
            "web1",
            "node",
            key.public_key(),
            renew=True,
            not_before=time.time() - 200,
            lifetime=life,
        )
        for life in (100, 5000, 9000)
    ]
    ended, good, taken = (Signer.from_pem(pem, dump_private(key)) for pem in made)
    verifier = Verifier(old.ca_pem, crl_pem=taken_back(old, taken.identity.serial))
    said = [reason(verifier, one) for one in (good, taken, ended)]
    assert said == [None, Reason.REVOKED, None]


@pytest.mark.parametrize("alone", [True, False])
def test_the_list_beside_a_ca_that_came_meanwhile_counts(old, new, tmp_path, alone):
    """Whoever takes the CAs from their file anew takes the lists from theirs, as a start would."""
    good, mallory = signer_of(new, "alice"), signer_of(new, "mallory")
    new.revoke("mallory")
    files, verifier = trusting(old, tmp_path)
    assert reason(verifier, mallory) is Reason.FOREIGN_CA
    files["crl"].write_bytes(new.crl_pem if alone else old.crl_pem + new.crl_pem)
    files["ca"].write_bytes(old.ca_pem + new.ca_pem)
    assert reason(verifier, mallory) is Reason.REVOKED
    assert reason(verifier, good) is None


@pytest.mark.parametrize("text", [b"", b"junk"])
def test_a_ca_comes_only_with_a_list_that_can_be_used(old, new, tmp_path, caplog, text):
    """As at a start; it is looked at again once one of the files is another."""
    alice, mallory = signer_of(new, "alice"), signer_of(old, "mallory")
    old.revoke("mallory")
    files, verifier = trusting(old, tmp_path)
    files["crl"].write_bytes(text)
    files["ca"].write_bytes(old.ca_pem + new.ca_pem)
    for _ in range(2):
        assert reason(verifier, alice) is Reason.FOREIGN_CA
    assert reason(verifier, mallory) is Reason.REVOKED
    assert caplog.text.count("the CAs stay as they were: ") == 1
    files["crl"].write_bytes(old.crl_pem + new.crl_pem)
    assert reason(verifier, alice) is None
    assert reason(verifier, mallory) is Reason.REVOKED
