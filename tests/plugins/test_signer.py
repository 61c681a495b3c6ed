"""Signers: plugins that have the key which `[pki] key` names, in a real client and a real node."""

from __future__ import annotations

import json

import pytest

from tests.plugins.distributions import install

VAULT = """
from cryptography.hazmat.primitives.serialization import load_pem_private_key

def vault(reference, public):
    with open(reference, "rb") as file:
        return load_pem_private_key(file.read(), None).sign
"""


@pytest.fixture
def vault(fleet, site):
    """Install the signer `vault`; the function that puts a key into one's configuration."""
    install(site, "vault", {"signer": {"vault": "vault:vault"}}, VAULT)

    def keep(name, reference):
        path = fleet.folder / f"{name}.toml"
        path.write_text(path.read_text().replace(f'key = "{name}.key"', f'key = "{reference}"'))

    return keep


def test_a_signer_signs_for_a_client_and_a_node(fleet, vault, tmp_path):
    """Requests and replies that it signed are believed, where neither has a key file."""
    for name in ("alice", "web1"):
        key = (fleet.folder / f"{name}.key").rename(tmp_path / f"{name}.secret")
        vault(name, f"vault:{key}")
    fleet.start()
    done = fleet.cli("rpc", "rpcutil", "ping", "-I", "web1", "--json")
    assert [row["state"] for row in json.loads(done.stdout)["replies"]] == ["ok"], done.stderr
    doctor = json.loads(fleet.cli("doctor", "--json").stdout)
    said = {row["check"]: (row["state"], row["detail"]) for row in doctor}
    assert said["key"] == ("ok", f"vault:{tmp_path}/alice.secret: the signer vault has it")
    assert said["identity"][0] == "ok"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("valt:{}/alice.key", "no signer 'valt' (did you mean vault?)"),
        ("vault:{}/nothing", "nothing: FileNotFoundError"),
        ("vault:{}/web1.key", "web1.key: it does not sign with the certificate's key"),
    ],
)
def test_a_key_that_a_signer_has_not_is_one_line(fleet, vault, reference, says):
    """What is wrong with the key is said before anything is sent; a wrong key signs nothing."""
    vault("alice", reference.format(fleet.folder))
    done = fleet.cli("rpc", "rpcutil", "ping", "-I", "web1")
    assert done.returncode == 70
    (line,) = done.stderr.splitlines()
    assert says in line


def test_tls_wants_a_key_file(fleet, vault):
    """Where a broker is reached by TLS the line says that a signer cannot serve it."""
    vault("alice", f"vault:{fleet.folder}/alice.key")
    done = fleet.cli("ping", MCSHELL_BROKER_URLS="stomp+ssl://127.0.0.1:1")
    assert done.returncode == 64
    assert "TLS to the broker needs a key file" in done.stderr
