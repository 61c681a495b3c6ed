"""`pki issue` for keys that are elsewhere, and logins, as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_public_key,
)

CA = ("--pki", "pki")


def test_the_readmes_lines_make_a_key_that_is_in_no_file(keyring, agent):
    """ssh-keygen's key is certified, kept by the agent and signs; no key file of ours is written."""
    folder = keyring.fleet.folder
    keyring.fleet.start()
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "made")]
    subprocess.run(words, check=True, timeout=30)
    issued = keyring.fleet.cli(
        *("pki", "issue", "alice", "--kind", "operator", "--public", "made.pub"),
        *("--out", "away", "--renew", "--json", *CA),
    )
    (row,) = json.loads(issued.stdout)
    assert (row["cert"], row["key"]) == ("away/alice.pem", None)
    assert [path.name for path in (folder / "away").iterdir()] == ["alice.pem"]
    certificate = x509.load_pem_x509_certificate((folder / "away/alice.pem").read_bytes())
    assert certificate.public_key() == load_ssh_public_key((folder / "made.pub").read_bytes())
    agent.run(str(folder / "made"))
    (folder / "made").unlink()
    where = {"MCSHELL_PKI_CERT": "away/alice.pem", "MCSHELL_PKI_KEY": f"ssh-agent:{agent.socket}"}
    done = keyring.fleet.cli("rpc", "rpcutil", "ping", "-I", "web1", "--json", **where)
    assert [row["state"] for row in json.loads(done.stdout)["replies"]] == ["ok"], done.stderr


def test_a_public_key_that_does_not_serve_is_refused(keyring):
    """No file, a private key, a short RSA key: one line, and nothing in the CA's journal."""
    folder = keyring.fleet.folder
    weak = rsa.generate_private_key(65537, 1024).public_key()
    (folder / "weak.pub").write_bytes(
        weak.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    before = (folder / "pki/issued.jsonl").read_bytes()
    for name, says in (
        ("gone.pub", "No such file"),
        ("alice.key", "no public key"),
        ("weak.pub", "1024 bits"),
    ):
        words = ("pki", "issue", "carol", "--kind", "operator", "--public", name, *CA)
        done = keyring.fleet.cli(*words)
        assert done.returncode == 64
        (line,) = done.stderr.splitlines()
        assert says in line
    assert (folder / "pki/issued.jsonl").read_bytes() == before


def test_a_login_is_issued_beside_its_identity_and_revoked_alone(keyring):
    """NAME.login.pem and .key lie beside NAME's, which stay valid when the login is revoked."""
    folder = keyring.fleet.folder
    done = keyring.fleet.cli("pki", "issue", "alice", "--kind", "login", *CA)
    assert done.returncode == 0, done.stderr
    pem = (folder / "alice.login.pem").read_bytes()
    key = load_pem_private_key((folder / "alice.login.key").read_bytes(), None)
    assert x509.load_pem_x509_certificate(pem).public_key() == key.public_key()
    assert (folder / "alice.login.key").stat().st_mode & 0o777 == 0o600
    done = keyring.fleet.cli("pki", "revoke", "alice", "--kind", "login", *CA)
    assert done.returncode == 0, done.stderr
    listed = json.loads(keyring.fleet.cli("pki", "list", "--json", *CA).stdout)
    status = {row["kind"]: row["status"] for row in listed if row["name"] == "alice"}
    assert status == {"operator": "valid", "login": "revoked"}


@pytest.mark.parametrize("given", ["cert", "key"])
def test_half_a_login_and_one_that_others_can_read_are_refused(keyring, given):
    """`[broker] cert` goes with `key`; a key of mode 0644 is refused by name, as every key is."""
    folder = keyring.fleet.folder
    keyring.fleet.authority.issue("alice", "login", folder)
    suffix = {"cert": "pem", "key": "key"}
    tls = {"MCSHELL_BROKER_URLS": "stomp+ssl://127.0.0.1:1"}
    half = {f"MCSHELL_BROKER_{given.upper()}": f"alice.login.{suffix[given]}"}
    done = keyring.fleet.cli("ping", **tls, **half)
    assert done.returncode == 64
    other = {"cert": "key", "key": "cert"}[given]
    assert f"broker.{other} is not set" in done.stderr
    (folder / "alice.login.key").chmod(0o644)
    whole = {f"MCSHELL_BROKER_{k.upper()}": f"alice.login.{v}" for k, v in suffix.items()}
    done = keyring.fleet.cli("ping", **tls, **whole)
    assert done.returncode == 64
    assert "others can read this secret" in done.stderr


def test_nothing_of_it_is_loaded_without_such_a_key():
    """A daemon and a client with a key file import neither the agent's protocol nor a token's."""
    code = (
        "import sys, mcshell.node.daemon, mcshell.client.client\n"
        "print([name for name in sys.modules if 'ssh_agent' in name or 'pkcs11' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
