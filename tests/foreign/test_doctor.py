"""What `doctor` says of a chain that another CA made, and what a verifier makes of its lists."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mcshell.commands.context import Context
from mcshell.commands.run import run_words
from mcshell.errors import Reason, Rejected
from mcshell.wire.documents.signatures import Signer, Verifier
from tests.foreign.cas import HOSTS, OpenSSLChain, Step, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DNS = x509.DNSName
CONFIG = """\
[broker]
urls = ["stomp://127.0.0.1:9"]
[pki]
ca = "ca.pem"
crl = "crl.pem"
cert = "web1.pem"
key = "web1.key"
"""


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """A CA of step-ca's form; beside it, a machine's files and configuration."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    made = Step(tmp_path / "step")
    made.issue("web1", tmp_path)
    for name in ("ca.pem", "crl.pem"):
        (tmp_path / name).write_bytes((made.folder / name).read_bytes())
    (tmp_path / "c.toml").write_text(CONFIG)
    return made


def chain(folder: Path, check: str = "chain") -> tuple[str, str]:
    """What doctor says of it."""
    _, table = run_words(["doctor", "--config", str(folder / "c.toml")], Context())
    assert table is not None
    (row,) = [row for row in table.rows if row[0] == check]
    return row[1], row[2]


def test_a_whole_chain_is_shown(step: Step, tmp_path: Path) -> None:
    """From the leaf up to the root; a certificate of a day is no warning while it is young."""
    whole = "CN=web1 < CN=Example Intermediate CA < CN=Example Root CA"
    assert chain(tmp_path) == ("ok", whole)
    assert chain(tmp_path, "cert")[0] == "ok"


def parts(path: Path) -> list[bytes]:
    """The certificates of a file."""
    certificates = x509.load_pem_x509_certificates(path.read_bytes())
    return [one.public_bytes(Encoding.PEM) for one in certificates]


def no_intermediate(step: Step, folder: Path) -> None:
    """The root alone, as people put it there."""
    (folder / "ca.pem").write_bytes(parts(folder / "ca.pem")[1])
    (folder / "c.toml").write_text(CONFIG.replace('crl = "crl.pem"\n', ""))


def another_ca(step: Step, folder: Path) -> None:
    """The root of somebody else's, and a certificate that does not bring its own CAs."""
    (folder / "web1.pem").write_bytes(parts(folder / "web1.pem")[0])
    (folder / "ca.pem").write_bytes(parts(Step(folder / "other").folder / "ca.pem")[1])
    (folder / "c.toml").write_text(CONFIG.replace('crl = "crl.pem"\n', ""))


def no_root(step: Step, folder: Path) -> None:
    """The intermediate alone."""
    (folder / "ca.pem").write_bytes(parts(folder / "ca.pem")[0])


def no_list(step: Step, folder: Path) -> None:
    """Nothing is said of revocation."""
    (folder / "c.toml").write_text(CONFIG.replace('crl = "crl.pem"\n', ""))


def ended_list(step: Step, folder: Path) -> None:
    """A list of openssl's, good for a second."""
    ca = OpenSSLChain(folder / "openssl")
    ca.issue("web1", folder)
    words = ["openssl", "ca", "-config", "intermediate.conf", "-gencrl", "-out", "crl.pem"]
    run([*words, "-crlsec", "1"], ca.folder)
    while x509.load_pem_x509_crl(ca.crl.read_bytes()).next_update_utc > dt.datetime.now(dt.UTC):
        time.sleep(0.05)
    for name in ("ca.pem", "crl.pem"):
        (folder / name).write_bytes((ca.folder / name).read_bytes())


def named(common: str, *names: x509.GeneralName) -> Callable[[Step, Path], None]:
    """A certificate of these names."""

    def put(step: Step, folder: Path) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        cert, key = step.leaf(subject, names)
        (folder / "web1.pem").write_bytes(cert)
        (folder / "web1.key").write_bytes(key)

    return put


def old_hash(step: Step, folder: Path) -> None:
    """Signed by a CA of openssl's that nobody has told of SHA-256."""
    for words in (
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=old -keyout old.key -out ca.pem",
        "req -new -key web1.key -subj /CN=web1 -out web1.csr",
        "x509 -req -sha1 -in web1.csr -CA ca.pem -CAkey old.key -set_serial 7 -out web1.pem",
    ):
        run(["openssl", *words.split()], folder)
    (folder / "c.toml").write_text(CONFIG.replace('crl = "crl.pem"\n', ""))


FLAWS: dict[str, tuple[Any, str, str]] = {
    "no intermediate": (no_intermediate, "fail", "an intermediate is missing in"),
    "another CA": (another_ca, "fail", ", or it is another CA's: "),
    "no root": (no_root, "warn", "but not 'CN=Example Root CA' above it"),
    "no list": (no_list, "warn", "no list of 'CN=Example Intermediate CA'"),
    "a list that ended": (ended_list, "warn", "in pki.crl ended on"),
    "capitals": (named("Web1", DNS("Web1")), "warn", "'Web1' has capitals: here it is 'web1'"),
    "two names": (named("web1", DNS("puppet"), DNS("web1")), "warn", "brokers know it as 'web1'"),
    "an old hash": (old_hash, "fail", "web1.pem is signed with sha1, which nobody takes"),
    "a wildcard": (named("*.example.com"), "fail", "a wildcard certificate, which names nobody"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_what_is_wrong_with_a_chain_is_named(step: Step, tmp_path: Path, flaw: str) -> None:
    """Each flaw that other CAs are known for has its words."""
    put, state, text = FLAWS[flaw]
    put(step, tmp_path)
    found, said = chain(tmp_path)
    assert (found, text in said) == (state, True), said


def test_a_broker_whose_fleet_has_changed_is_named(step: Step, tmp_path: Path) -> None:
    """Who has a certificate since, and who lost it, until `broker config` is run again."""
    step.issue("mq", tmp_path, HOSTS)
    words = ["broker", "config", "activemq", "--dir", str(tmp_path / "conf"), "--host", "localhost"]
    for name, path in (("ca", step.ca), ("crl", step.crl), ("identities", step.signed)):
        words += [f"--{name}", str(path)]
    words += ["--cert", str(tmp_path / "mq.pem"), "--key", str(tmp_path / "mq.key")]
    config = ["--config", str(tmp_path / "c.toml")]
    run_words([*words, *config], Context())
    assert broker(tmp_path)[0] == "ok"
    step.issue("web2", tmp_path)
    step.revoke("web1")
    state, said = broker(tmp_path)
    assert state == "warn"
    assert "node:web2 has no rights yet, node:web1 has rights still: run" in said


def broker(folder: Path) -> tuple[str, str]:
    """What doctor says of the broker's configuration."""
    words = ["doctor", "--config", str(folder / "c.toml"), "--broker", str(folder / "conf")]
    _, table = run_words(words, Context())
    assert table is not None
    (row,) = [row for row in table.rows if row[0].startswith("broker config")]
    return row[1], row[2]


def verdict(verifier: Verifier, signer: Signer) -> Reason | None:
    """Why a signature is not believed."""
    try:
        verifier.verify(b"x", signer.sign(b"x"), signer.certificate, now=time.time())
    except Rejected as refused:
        return refused.reason
    return None


def test_a_list_for_one_place_counts_where_the_administrator_has_put_it(
    step: Step, tmp_path: Path
) -> None:
    """His file says which place; then newer ones of it are taken from anybody, and no other's."""
    signer = Signer.load(tmp_path / "web1.pem", tmp_path / "web1.key")
    ca, first = step.ca.read_bytes(), step.crl.read_bytes()
    step.revoke("web1")
    second = step.crl.read_bytes()
    bare, told = Verifier(ca), Verifier(ca, crl_pem=first)
    with pytest.raises(Rejected) as refused:
        bare.update_crl(second)
    assert refused.value.reason is Reason.BAD_CERTIFICATE
    assert verdict(told, signer) is None
    assert told.update_crl(second)
    assert verdict(told, signer) is Reason.REVOKED
    step.place = "http://ca.example.com/2"
    step.revoked.clear()
    step.revoke("web1")
    with pytest.raises(Rejected) as refused:
        told.update_crl(step.crl.read_bytes())
    assert refused.value.reason is Reason.BAD_CERTIFICATE
    assert verdict(told, signer) is Reason.REVOKED


def test_what_a_revoked_intermediate_issued_is_not_believed(tmp_path: Path) -> None:
    """The root's list takes a whole intermediate back: its leaves, and a broker's certificate."""
    ca = OpenSSLChain(tmp_path / "openssl")
    ca.issue("web1", tmp_path)
    signer = Signer.load(tmp_path / "web1.pem", tmp_path / "web1.key")
    verifier = Verifier(ca.ca.read_bytes(), crl_pem=ca.crl.read_bytes())
    assert verdict(verifier, signer) is None
    run(["openssl", "ca", "-config", "root.conf", "-revoke", "intermediate.pem"], ca.folder)
    run(["openssl", "ca", "-config", "root.conf", "-gencrl", "-out", "root-crl.pem"], ca.folder)
    assert verifier.update_crl((ca.folder / "root-crl.pem").read_bytes())
    assert verdict(verifier, signer) is Reason.REVOKED
    leaf = x509.load_pem_x509_certificate((tmp_path / "web1.pem").read_bytes())
    with pytest.raises(Rejected, match=r"revoked"):
        verifier.refuse_revoked(leaf.public_bytes(Encoding.DER))


def test_a_file_that_is_not_there_is_named_as_everywhere(step: Step, tmp_path: Path) -> None:
    """Its path and the system's words, as any other line says it."""
    (tmp_path / "ca.pem").unlink()
    path = tmp_path / "ca.pem"
    for check in ("ca", "chain"):
        assert chain(tmp_path, check) == ("fail", f"{path}: No such file or directory")
