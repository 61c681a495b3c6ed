"""The CA, the names in certificates, and the care for private keys."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import ConfigError, Reason, Rejected, UsageError
from mcshell.pki import Authority, check_name, identity_of, load_private, read_private
from mcshell.pki import authority as authority_module
from mcshell.pki.certificates import build_ca
from mcshell.pki.keys import certificate_der, der_of, dump_private
from mcshell.shell.cli import main
from tests.peers.small_disk import small_disk

RENEW = {"renew": True}


@pytest.fixture
def authority(tmp_path):
    """A new CA."""
    return Authority.init(tmp_path / "ca")


def certificate(common_name="", *, dns=(), uris=()):
    """A self-signed certificate with these names in it."""
    key = ed25519.Ed25519PrivateKey.generate()
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    name = x509.Name(attributes)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    names = [*map(x509.DNSName, dns), *map(x509.UniformResourceIdentifier, uris)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, None)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"uris": ["mcshell:operator:alice"], "dns": ["web1"]}, ("operator", "alice")),
        ({"uris": ["mcshell:node:Web1.Example.COM"]}, ("node", "web1.example.com")),
        ({"uris": ["https://example.com/x"], "dns": ["A.example", "b"]}, ("node", "a.example")),
        ({"common_name": "Admin-Alice"}, ("operator", "admin-alice")),
        ({"common_name": "db1.example.com"}, ("node", "db1.example.com")),
    ],
)
def test_a_name_is_the_uri_else_the_first_dns_san_else_the_cn(names, expected):
    """The order of §6 holds; patterns make operators of a foreign CA's names."""
    identity = identity_of(certificate(**names), operators=["ADMIN-*"])
    assert (identity.kind, identity.name) == expected
    assert identity.callerid == f"cert={expected[1]}"
    assert identity.serial == 7


def test_patterns_have_no_say_over_our_uri():
    """A node's URI stays a node's, whatever the patterns for a foreign CA say."""
    assert identity_of(certificate(uris=["mcshell:node:alice"]), ["*"]).kind == "node"


@pytest.mark.parametrize(
    "names",
    [
        {"uris": ["mcshell:robot:r2"]},
        {"uris": ["mcshell:node:"]},
        {"uris": ["mcshell:node:a", "mcshell:operator:a"]},
        {"common_name": "Alice Smith"},
        {"common_name": "alice\n"},
        {"dns": ["*.example.com"]},
        {"common_name": "web[1-9]"},
        {},
    ],
)
def test_a_certificate_that_names_nobody_or_two_is_bad(names):
    """An unknown kind, no name, two names, white space or a pattern speak for nobody."""
    with pytest.raises(Rejected) as refusal:
        identity_of(certificate(**names))
    assert refusal.value.reason is Reason.BAD_CERTIFICATE


def test_lower_casing_keeps_other_letters_apart():
    """The Kelvin sign, which str.lower makes a k, gets nobody k's name: it speaks for nobody."""
    with pytest.raises(Rejected, match=r"'\\u212aelvin' is written in another form than NFKC"):
        identity_of(certificate("\u212aelvin"))


@settings(deadline=None)
@given(st.text(max_size=210))
def test_names_to_issue_are_plain_words(name):
    """What check_name returns is lower case, short and safe as a file name; the rest is refused."""
    try:
        checked = check_name(name, "operator")
    except UsageError:
        return
    assert checked == checked.lower()
    assert "/" not in checked
    assert 0 < len(checked) <= 200
    assert not checked.startswith(".")


def test_issuing_writes_a_certificate_and_a_private_key(authority, tmp_path):
    """NAME.pem and NAME.key land in the folder that was asked for, the key for its owner only."""
    cert, key = authority.issue("Alice", "operator", tmp_path / "out")
    assert (cert.name, key.name) == ("alice.pem", "alice.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    leaf = x509.load_pem_x509_certificate(cert.read_bytes())
    leaf.verify_directly_issued_by(authority.certificate)
    identity = identity_of(leaf)
    assert (identity.kind, identity.name) == ("operator", "alice")
    assert 364 * 86_400 < identity.not_after - time.time() < 366 * 86_400
    assert load_private(read_private(key)).public_key() == leaf.public_key()


def test_a_second_certificate_for_a_name_is_refused(authority):
    """One name has one valid certificate, unless it is renewed or the first one is revoked."""
    authority.issue_pem("web1", "node")
    with pytest.raises(UsageError, match=r"'web1' has a certificate, valid until 20\d\d"):
        authority.issue_pem("WEB1", "node")
    with pytest.raises(UsageError, match="valid node's name"):
        authority.issue_pem("web1", "operator", renew=True)
    authority.issue_pem("web1", "node", renew=True)
    authority.revoke("web1")
    authority.issue_pem("web1", "node")
    assert [e["status"] for e in authority.listing()] == ["revoked", "revoked", "valid"]


def test_a_certificate_near_its_end_may_be_issued_again(authority):
    """In the last 30 days a name gets its next certificate without more ado."""
    authority.issue_pem("web1", "node", lifetime=29 * 86_400)
    authority.issue_pem("web1", "node")


def test_nothing_is_overwritten_by_issuing(authority, tmp_path):
    """Neither a file in the way nor the CA's own certificate is replaced."""
    (tmp_path / "alice.key").touch()
    with pytest.raises(UsageError, match=r"alice\.key is there already"):
        authority.issue("alice", "operator", tmp_path)
    with pytest.raises(UsageError, match="there already"):
        authority.issue("ca", "node")
    with pytest.raises(UsageError, match=r"own ca\.pem"):
        authority.issue("ca", "node", renew=True)
    assert authority.listing() == []


def test_revoking_grows_the_number_and_names_the_serial(authority):
    """A revocation signs the next CRL, in which the serial stands."""
    pem, _ = authority.issue_pem("web1", "node")
    before = x509.load_pem_x509_crl(authority.crl_pem)
    assert authority.revoke("web1") == 2
    crl = x509.load_pem_x509_crl(authority.crl_pem)
    assert crl.is_signature_valid(authority.certificate.public_key())
    serial = x509.load_pem_x509_certificate(pem).serial_number
    assert before.get_revoked_certificate_by_serial_number(serial) is None
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None
    with pytest.raises(UsageError, match="revoked already"):
        authority.revoke("web1")
    assert authority.publish() == 3


def test_an_unknown_name_gets_a_hint(authority):
    """Revoking a misspelt name says which one was meant."""
    authority.issue_pem("alice", "operator")
    with pytest.raises(UsageError, match=r"'alcie' \(did you mean alice\?\)"):
        authority.revoke("alcie")
    with pytest.raises(UsageError, match="no operator's name"):
        authority.issue_pem("../alice", "operator")


def test_a_ca_is_made_once_and_opened_again(authority):
    """The journal is read again, and a directory that holds a CA is left as it is."""
    authority.issue_pem("web1", "node")
    again = Authority.open(authority.directory)
    assert [entry["name"] for entry in again.listing()] == ["web1"]
    with pytest.raises(ConfigError, match="holds a CA"):
        Authority.init(authority.directory)
    with pytest.raises(ConfigError, match="pki init"):
        Authority.open(authority.directory / "nowhere")


def test_two_processes_see_each_others_certificates(authority):
    """What another opener of the same directory issued or revoked is known at the next call."""
    other = Authority.open(authority.directory)
    other.issue_pem("web1", "node")
    with pytest.raises(UsageError, match="has a certificate"):
        authority.issue_pem("web1", "node")
    authority.revoke("web1")
    assert other.listing()[0]["status"] == "revoked"


def test_a_key_that_others_can_read_is_refused(authority):
    """The error is one line with the command that repairs it."""
    key = authority.directory / "ca.key"
    key.chmod(0o640)
    with pytest.raises(ConfigError, match=rf"others can read .*run: chmod 600 {key}"):
        Authority.open(authority.directory)
    with pytest.raises(ConfigError, match="No such file"):
        read_private(authority.directory / "none.key")


def test_a_key_of_another_user_is_refused(authority, monkeypatch):
    """Who owns the file can read it, whatever its mode."""
    key = authority.directory / "ca.key"
    if os.geteuid() == 0:
        os.chown(key, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigError, match=f"run: chown {os.geteuid()} "):
        read_private(key)


def test_a_full_disk_issues_nothing(authority, monkeypatch):
    """A line of the journal that the disk took only in part is taken back, and nothing is issued."""
    authority.issue_pem("web1", "node")
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, line: write(file, line[:10]))
        with pytest.raises(ConfigError, match="No space left on device; nothing was issued"):
            authority.issue_pem("web2", "node")
    authority.issue_pem("web3", "node")
    again = Authority.open(authority.directory)
    assert [entry["name"] for entry in again.listing()] == ["web1", "web3"]


def test_a_ca_on_a_read_only_disk_is_looked_at(tmp_path, capsys):
    """What it has issued is listed, also when a power cut has left half a line; it issues nothing."""
    with small_disk(tmp_path / "disk") as disk:
        home = str(disk.path / "ca")
        Authority.init(home).issue("alice", "operator", out=tmp_path)
        with (disk.path / "ca" / "issued.jsonl").open("a") as journal:
            journal.write('{"half')
        disk.remount("ro")
        assert main(["pki", "list", "--pki", home, "--json"]) == 0
        (listed,) = json.loads(capsys.readouterr().out)
        assert listed["name"] == "alice"
        (entry,) = Authority.open(home).ending(400 * 86_400.0)
        assert (entry["name"], entry["status"]) == ("alice", "valid")
        for words in (["issue", "bob", "--kind", "node"], ["revoke", "alice"]):
            out = ["--out", str(tmp_path)] if words[0] == "issue" else []
            assert main(["pki", *words, "--pki", home, *out]) == 64
            assert "issued.jsonl: Read-only file system" in capsys.readouterr().err
        assert not (tmp_path / "bob.pem").exists()


def test_a_journal_that_was_damaged_says_where(authority):
    """A line that is no entry is an error with the file and the line."""
    authority.issue_pem("web1", "node")
    with (authority.directory / "issued.jsonl").open("a") as journal:
        journal.write("{}\n")
    with pytest.raises(ConfigError, match=r"issued\.jsonl: line 2 is no journal entry"):
        Authority.open(authority.directory)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
def test_an_authority_of_another_algorithm_serves(tmp_path, kind):
    """An RSA or ECDSA CA that is there already issues and revokes like ours."""
    key = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }[kind]()
    (tmp_path / "ca.key").write_bytes(dump_private(key))
    (tmp_path / "ca.key").chmod(0o600)
    ca = build_ca(key, "Other", time.time())
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    authority = Authority.open(tmp_path)
    pem, _ = authority.issue_pem("web1", "node")
    x509.load_pem_x509_certificate(pem).verify_directly_issued_by(ca)
    assert authority.revoke("web1") == 2


def test_a_key_that_is_not_the_cas_is_refused(tmp_path):
    """A CA whose two files do not belong together cannot be opened."""
    one, two = Authority.init(tmp_path / "1"), Authority.init(tmp_path / "2")
    (one.directory / "ca.pem").write_bytes(two.ca_pem)
    with pytest.raises(ConfigError, match=r"ca\.key is not the key of ca\.pem"):
        Authority.open(one.directory)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 1024), id="RSA 1024"),
        pytest.param(ec.generate_private_key(ec.SECP521R1()), id="P-521"),
    ],
)
def test_weak_and_unknown_keys_are_refused(key):
    """Keys that a verifier would not take cannot be loaded in the first place."""
    with pytest.raises(ConfigError):
        load_private(dump_private(key))


def test_what_is_no_key_is_refused():
    """Text that is no PEM key is a configuration error that names the file."""
    with pytest.raises(ConfigError, match=r"^x\.key: no PEM private key"):
        load_private(b"hello", "x.key")


def test_certificates_serve_tls_on_both_ends(authority, tmp_path):
    """A service's certificate and an operator's complete a mutual TLS handshake by name."""
    server = authority.issue("broker", "node", tmp_path, dns=["localhost"], ip=["127.0.0.1"])
    client = authority.issue("alice", "operator", tmp_path)
    ca = authority.ca_pem.decode()
    accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ca)
    accepting.load_cert_chain(*server)
    accepting.verify_mode = ssl.CERT_REQUIRED
    for name in ("localhost", "127.0.0.1", "broker"):
        calling = ssl.create_default_context(cadata=ca)
        calling.load_cert_chain(*client)
        a, b, c, d = (ssl.MemoryBIO() for _ in range(4))
        ends = (
            accepting.wrap_bio(a, b, server_side=True),
            calling.wrap_bio(c, d, server_hostname=name),
        )
        for _ in range(4):
            for end, out, into in ((ends[1], d, a), (ends[0], b, c)):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                into.write(out.read())
        assert ends[0].getpeercert()["subject"] == ((("commonName", "alice"),),)


def test_openssl_takes_what_we_issue(authority, tmp_path):
    """OpenSSL's strict check passes certificate and CRL, and names a revoked one."""
    cert, _ = authority.issue("web1", "node", tmp_path)
    argv = ["openssl", "verify", "-x509_strict", "-crl_check"]
    argv += ["-CAfile", str(authority.directory / "ca.pem")]
    argv += ["-CRLfile", str(authority.directory / "crl.pem"), str(cert)]
    good = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    authority.revoke("web1")
    bad = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "revoked" in bad.stdout + bad.stderr


def test_threads_of_two_openers_keep_one_journal(authority):
    """Certificates issued at the same time by two openers are all in the journal, whole."""
    other = Authority.open(authority.directory)

    def issue(ca, prefix):
        for number in range(20):
            ca.issue_pem(f"{prefix}{number}", "node")

    threads = [
        threading.Thread(target=issue, args=(authority, "a")),
        threading.Thread(target=issue, args=(other, "b")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(authority.listing()) == len(other.listing()) == 40


def test_two_renewals_at_once_leave_a_pair(authority, tmp_path, monkeypatch):
    """The key is that of the certificate beside it, though another renews the name in between."""
    authority.issue("bob", "operator", tmp_path)
    other = Authority.open(authority.directory)
    again = threading.Thread(target=other.issue, args=("bob", "operator", tmp_path), kwargs=RENEW)
    write = authority_module.replace_file

    def overtaken(path, content, mode):
        write(path, content, mode)
        if path.suffix == ".key" and threading.current_thread() is threading.main_thread():
            again.start()
            again.join(1.0)  # it goes on where nobody keeps it out

    monkeypatch.setattr(authority_module, "replace_file", overtaken)
    cert, key = authority.issue("bob", "operator", tmp_path, renew=True)
    again.join()
    assert len(authority.listing()) == 3
    public = load_private(key.read_bytes(), str(key)).public_key()
    assert x509.load_pem_x509_certificate(cert.read_bytes()).public_key() == public


def test_a_certificate_is_revoked_by_its_serial(authority):
    """As openssl, step and `pki list` print it; the name's other ones stay good."""
    pems = [authority.issue_pem("web1", "node", renew=True)[0] for _ in range(5)]
    serials = [x509.load_pem_x509_certificate(pem).serial_number for pem in pems]
    digits = f"{serials[2]:X}"
    pairs = ":".join(f"{serials[3]:040x}"[at : at + 2] for at in range(0, 40, 2))
    spelt = [f"{serials[0]:x}", str(serials[1]), f"serial={digits}", pairs]
    for text, serial in zip(spelt, serials, strict=False):
        found = authority.of_serial(text)
        assert (found.name, found.serial) == ("web1", serial)
        authority.revoke(found.name, found.kind, serial=serial)
    crl = x509.load_pem_x509_crl(authority.crl_pem)
    assert {one.serial_number for one in crl} == set(serials[:4])
    for text in ("7", "no serial", "", "-1"):
        with pytest.raises(UsageError, match="no certificate of the serial"):
            authority.of_serial(text)


def test_who_only_looks_at_a_ca_signs_nothing(authority, tmp_path, capsys):
    """`doctor` says that a list is missing, and leaves it to who is to make it."""
    authority.issue("alice", "operator", tmp_path)
    (tmp_path / "alice.toml").write_text(
        f'state = "state"\n[pki]\nca = "{authority.directory}/ca.pem"\ncert = "alice.pem"\nkey = "alice.key"\n'
    )
    (authority.directory / "crl.pem").unlink()
    main(["--config", str(tmp_path / "alice.toml"), "doctor", "--jsonl"])
    rows = {row["check"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["certificates"]["state"] == "warn"
    assert rows["certificates"]["detail"].startswith("crl.pem is missing")
    assert not (authority.directory / "crl.pem").exists()
    assert not Authority.open(authority.directory).list_due


def test_the_pki_needs_nothing_heavy():
    """Loading it takes neither pandas nor IPython nor a YAML reader."""
    heavy = "{'pandas', 'IPython', 'yaml', 'lark', 'jsonschema'}"
    code = f"import sys, mcshell.pki; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_node_holds_no_more_than_its_own_key_needs(authority, tmp_path):
    """What reads and writes keys of all kinds is a megabyte, which every machine would have in memory."""
    code = (
        "import sys; import mcshell.node.daemon; from mcshell.wire.documents.signatures import Signer;"
        "from mcshell.wire.documents.signatures import Verifier;"
        "cert, key, ca = (open(name, 'rb').read() for name in sys.argv[1:]);"
        "Verifier(ca); Signer.from_pem(cert, key).sign(b'x');"
        "print(*{'cryptography.hazmat.primitives.serialization.ssh', 'inspect'} & set(sys.modules))"
    )
    names = [tmp_path / name for name in ("web1.pem", "web1.key", "ca/ca.pem")]
    authority.issue("web1", "node", out=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True
    )
    # From 3.12 on `dataclasses` itself asks it for each class.
    assert done.stdout.split() == (["inspect"] if sys.version_info >= (3, 12) else [])


@given(st.binary(min_size=32, max_size=32))
def test_ed25519_is_read_and_written_as_the_library_does(seed):
    """Though what does it for all kinds of keys is not loaded for this one."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    spki = PublicFormat.SubjectPublicKeyInfo
    assert der_of(key.public_key()) == key.public_key().public_bytes(Encoding.DER, spki)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in (pem, pem.replace(b"\n", b"\r\n"), b"# mine\n" + pem, pem.rstrip()):
        assert load_private(text).private_bytes_raw() == seed


def test_a_pem_that_is_nearly_such_a_key_is_none():
    """It is for the library to say what it is."""
    pem = dump_private(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
    for other in (
        pem.replace(b"MC4", b"MC5"),
        pem.replace(b"AA\n", b"\n"),
        pem.replace(b"AAA\n", b"A=\n"),
    ):
        assert other != pem
        with pytest.raises(ConfigError):
            load_private(other)


def test_the_bytes_of_a_certificate_are_its_own(authority):
    """Whatever else stands in the file that it was read from: another before it, or words."""
    one, other = (authority.issue_pem(name, "node")[0] for name in ("web1", "web2"))
    found = x509.load_pem_x509_certificate(one)
    der = found.public_bytes(Encoding.DER)
    words = b"subject=CN = web1\n\n" + one.replace(b"\n", b"\r\n")
    for pem in (
        b"",
        one,
        words,
        one + other,
        other + one,
        b"-----BEGIN CERTIFICATE-----\nAA\n" + one,
    ):
        assert certificate_der(found, pem) == der
