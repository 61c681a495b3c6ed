"""Keys on a token (SoftHSM) sign for a real client and a real node."""

from __future__ import annotations

import json
import sys

import pytest

from tests.peers.terminal import Terminal
from tests.peers.tokens import PIN

pytestmark = pytest.mark.softhsm
PING = ("rpc", "rpcutil", "ping", "-I", "web1")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_token_signs_what_an_operator_asks(keyring, softhsm, kind):
    """Requests that it signed are believed, with a key of each of the three algorithms; the PIN is
    in no file of ours, and the key never leaves the token.
    """
    keyring.fleet.environ.update(softhsm.environ)
    keyring.certify_for("alice", softhsm.uri("alice"), softhsm.generate("alice", kind))
    keyring.fleet.start()
    done = keyring.fleet.cli(*PING, "--json")
    assert [row["state"] for row in json.loads(done.stdout)["replies"]] == ["ok"], done.stderr
    assert done.stderr == ""
    for path in keyring.fleet.folder.rglob("*"):
        assert path.is_dir() or PIN.encode() not in path.read_bytes(), path


def test_a_token_signs_for_a_node(keyring, softhsm):
    """A daemon, whose threads sign at the same time, signs its replies on a token."""
    keyring.fleet.environ.update(softhsm.environ)
    public = softhsm.generate("web1", "ed25519")
    keyring.certify_for("web1", softhsm.uri("web1"), public, "node")
    keyring.fleet.start()
    with keyring.fleet.client() as client:
        asked = [
            client.rpc("rpcutil", "ping", nodes=["web1"], via=via, wait=False)
            for via in ("direct", "queue") * 10
        ]
        assert [one.wait(60).stats["ok"] for one in asked] == [1] * 20


def test_what_is_wrong_with_the_token_is_one_line(keyring, softhsm):
    """No key, another's, two; another PIN, one that others can read; a driver that is not safe or
    not there: said before anything is sent.
    """
    keyring.fleet.environ.update(softhsm.environ)
    public = softhsm.generate("alice", "ed25519")
    keyring.certify_for("alice", softhsm.uri("alice"), public)
    for label in ("other", "twice", "twice"):
        softhsm.generate(label, "ed25519")
    driver = softhsm.folder / "driver.so"
    driver.write_bytes(softhsm.module.read_bytes())
    driver.chmod(0o666)
    wrong = softhsm.folder / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("1234")
    readable = softhsm.folder / "readable"
    readable.write_text(PIN)
    readable.chmod(0o644)
    good = softhsm.uri("alice")
    for reference, code, says in (
        (softhsm.uri("nobody"), 64, "no private key on the token 'fleet' fits"),
        (softhsm.uri("twice"), 64, "2 private key on the token 'fleet' fit"),
        (good.replace("token=fleet", "token=navy"), 64, f"no token in {softhsm.module} fits"),
        (good.replace(str(softhsm.pin), str(wrong)), 64, "PinIncorrect"),
        (good.replace(str(softhsm.pin), str(readable)), 64, "others can read this secret"),
        (good.replace(str(softhsm.module), str(driver)), 64, "anyone can write it"),
        (good.replace(str(softhsm.module), "/nowhere.so"), 64, "No such file"),
        (softhsm.uri("alice", pin=False), 64, "there is no terminal to ask at"),
        (softhsm.uri("other"), 70, "it does not sign with the certificate's key"),
    ):
        done = keyring.fleet.cli(*PING, MCSHELL_PKI_KEY=reference)
        assert done.returncode == code, (says, done.stderr)
        (line,) = done.stderr.splitlines()
        assert says in line


@pytest.mark.tmux
def test_the_pin_is_asked_for_at_a_terminal(keyring, softhsm):
    """Without a pin-source whoever sits there is asked, once for a whole prompt, without an echo."""
    keyring.fleet.environ.update(softhsm.environ)
    public = softhsm.generate("alice", "ed25519")
    keyring.certify_for("alice", softhsm.uri("alice", pin=False), public)
    keyring.fleet.start()
    argv = [sys.executable, "-m", "mcshell", *PING]
    with Terminal(keyring.fleet.folder, argv, keyring.fleet.environ) as terminal:
        terminal.wait_for("the PIN of the token fleet:")
        terminal.type(PIN)
        terminal.press("Enter")
        screen = terminal.wait(lambda _: terminal.ended())
    assert "1 ok" in screen
    assert screen.count("PIN") == 1
    assert PIN not in screen
