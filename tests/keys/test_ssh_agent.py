"""A real ssh-agent signs for a real client and a real node."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mcshell.errors import PluginError
from tests.peers.fleet import ROOT
from tests.peers.processes import wait_until

PING = ("rpc", "rpcutil", "ping", "-I", "web1")
KEYS = {
    "ed25519": Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 3072),
}


@pytest.mark.parametrize("kind", KEYS)
def test_an_agent_signs_what_an_operator_asks(keyring, agent, kind):
    """Requests that it signed are believed, with a key of each of the three algorithms."""
    key = keyring.certify("alice", f"ssh-agent:{agent.socket}", KEYS[kind]())
    agent.add(key)
    keyring.fleet.start()
    done = keyring.fleet.cli(*PING, "--json")
    assert [row["state"] for row in json.loads(done.stdout)["replies"]] == ["ok"], done.stderr
    doctor = {row["check"]: row for row in json.loads(keyring.fleet.cli("doctor", "--json").stdout)}
    assert doctor["identity"]["state"] == "ok"


def test_the_socket_is_that_of_the_session_and_the_key_is_in_no_file(keyring, agent):
    """`ssh-agent:` alone is SSH_AUTH_SOCK's; no file of the fleet holds the key, in any form."""
    key = keyring.certify("alice", "ssh-agent:")
    agent.add(Ed25519PrivateKey.generate())
    agent.add(key)
    keyring.fleet.start()
    where = {"SSH_AUTH_SOCK": str(agent.socket)}
    for words in (PING, (*PING, "--via", "queue"), ("session", "save", "kept")):
        done = keyring.fleet.cli(*words, **where)
        assert done.returncode == 0, done.stderr
    secret = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).splitlines()[1]
    files = [path for path in keyring.fleet.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        for form in (secret, secret.hex().encode(), pem):
            assert form not in content, path


def test_an_agent_signs_for_a_node(keyring, agent):
    """A daemon signs its replies with a key in an agent."""
    agent.add(keyring.certify("web1", f"ssh-agent:{agent.socket}", kind="node"))
    keyring.fleet.start()
    done = keyring.fleet.cli(*PING, "--json")
    assert [row["state"] for row in json.loads(done.stdout)["replies"]] == ["ok"], done.stderr


def test_what_is_wrong_with_the_agent_is_one_line(keyring, agent, tmp_path):
    """No variable, no agent, no such key, a path that is none: said before anything is sent."""
    keyring.certify("alice", "ssh-agent:")
    agent.add(Ed25519PrivateKey.generate())
    missing = tmp_path / "missing.sock"
    for reference, socket, says in (
        ("ssh-agent:", "", "SSH_AUTH_SOCK is not set"),
        ("ssh-agent:", missing, f"no ssh-agent at {missing}: No such file"),
        ("ssh-agent:", agent.socket, "has 1 keys, the certificate's (SHA256:"),
        ("ssh-agent:", agent.socket, "run: ssh-add -c FILE"),
        ("ssh-agent:alice@laptop", agent.socket, "the key is found by the certificate"),
    ):
        where = {"SSH_AUTH_SOCK": str(socket), "MCSHELL_PKI_KEY": reference}
        done = keyring.fleet.cli(*PING, **where)
        assert done.returncode == 64
        (line,) = done.stderr.splitlines()
        assert says in line


def test_who_is_not_confirmed_sends_nothing(keyring, agent):
    """`ssh-add -c` asks for each request: a no is one line, and nothing of it was committed."""
    agent.add(keyring.certify("alice", f"ssh-agent:{agent.socket}"), "-c")
    keyring.fleet.start()
    with keyring.fleet.client() as client:
        assert client.rpc("rpcutil", "ping", nodes=["web1"], via="queue").stats["ok"] == 1
        asked = len(agent.asked.read_text().splitlines())
        assert asked > 0
        agent.confirm(yes=False)
        with pytest.raises(PluginError, match=r"it refused .locked, not confirmed"):
            client.rpc("rpcutil", "ping", nodes=["web1"], via="queue")
        assert len(agent.asked.read_text().splitlines()) == asked + 1
        assert len(client.requests()) == 1
    done = keyring.fleet.cli(*PING, "--via", "queue")
    assert done.returncode == 70
    (line,) = done.stderr.splitlines()
    assert "the ssh-agent at" in line


def test_an_agent_that_goes_in_the_middle_loses_nothing(keyring, agent):
    """What was asked stays and is answered; what comes next is refused before it is committed, and
    works again with an agent that is back.
    """
    key = keyring.certify("alice", f"ssh-agent:{agent.socket}")
    agent.add(key)
    with keyring.fleet.client() as client:
        first = client.rpc("rpcutil", "ping", nodes=["web1"], via="queue", wait=False)
        agent.stop()
        with pytest.raises(PluginError, match="did not sign: No such file"):
            client.rpc("rpcutil", "ping", nodes=["web1"], via="queue", wait=False)
        keyring.fleet.start()
        assert first.wait(60).stats["ok"] == 1
        agent.start()
        agent.add(key)
        again = client.rpc("rpcutil", "ping", nodes=["web1"], via="queue", timeout=60)
        assert again.stats["ok"] == 1
        assert len(client.requests()) == 2


def test_a_node_whose_agent_goes_loses_nothing(keyring, agent):
    """Queued work that it cannot answer for want of its key is answered when the agent is back."""
    key = keyring.certify("web1", f"ssh-agent:{agent.socket}", kind="node")
    agent.add(key)
    keyring.fleet.start()
    with keyring.fleet.client() as client:
        assert client.rpc("rpcutil", "ping", nodes=["web1"], timeout=30).stats["ok"] == 1
        agent.stop()
        replies = client.rpc("rpcutil", "ping", nodes=["web1"], via="queue", wait=False)
        log = keyring.fleet.folder / "web1.log"
        assert wait_until(lambda: "did not sign" in log.read_text(), 30), log.read_text()
        agent.start()
        agent.add(key)
        assert replies.wait(60).stats["ok"] == 1, log.read_text()


def test_an_outcome_that_a_node_cannot_sign_is_kept(keyring, agent, tmp_path):
    """What has run while the agent went is not run again: its outcome is told when it is back."""
    key = keyring.certify("web1", f"ssh-agent:{agent.socket}", kind="node")
    agent.add(key)
    for name, head in (("web1", ""), ("alice", "[node]\n")):
        with (keyring.fleet.folder / f"{name}.toml").open("a") as config:
            config.write(f'{head}agents = ["{ROOT}/tests/agents_for_tests"]\n')
    keyring.fleet.start()
    marks, gate = tmp_path / "marks", tmp_path / "gate"
    told = {"file": str(marks), "text": str(gate)}
    with keyring.fleet.client() as client:
        replies = client.rpc("mark", "hold", nodes=["web1"], via="queue", wait=False, **told)
        assert wait_until(marks.exists, 30)
        agent.stop()
        gate.touch()
        log = keyring.fleet.folder / "web1.log"
        assert wait_until(lambda: "did not sign" in log.read_text(), 30), log.read_text()
        agent.start()
        agent.add(key)
        assert replies.wait(40).stats["ok"] == 1, log.read_text()
    assert len(marks.read_text().splitlines()) == 1


SECRET_PLAN = """\
plan: rotate
steps:
  - step: put
    ask: exec.run
    inputs: {{argv: [sh, -c, "until test -e {go}; do sleep 0.1; done"], stdin: S3CRET}}
    nodes: [web1]
"""


def test_a_signer_that_has_gone_away_does_not_spoil_a_plan_that_ended_well(
    keyring, agent, tmp_path
):
    """It is ok, and says that its secrets are still here; resumed with the key back, it drops them."""
    key = keyring.certify("alice", f"ssh-agent:{agent.socket}")
    agent.add(key)
    folder, go = keyring.fleet.folder, tmp_path / "go"
    policy = "policy default deny\nallow\tcert=alice\trun\t*\t*\n"
    (folder / "policies" / "exec.policy").write_text(policy)
    keyring.fleet.start()
    plan, told = tmp_path / "plan.yaml", []
    plan.write_text(SECRET_PLAN.format(go=go))
    with keyring.fleet.client(session="rotate") as client:
        begun = client.plans.run(plan, timeout=0.5)
        agent.stop()
        go.touch()
        done = client.plans.resume(timeout=60, say=told.append)
        assert (begun.state, done.state, done.count("ok")) == ("open", "ok", 1)
        (line,) = told
        assert line.startswith("rotate: its secret inputs stay in the session file, since ")
        assert b"S3CRET" in client.session.store.plans.find().body
        agent.start()
        agent.add(key)
        assert client.plans.resume(say=told.append).state == "ok"
        assert len(told) == 1
        assert b"S3CRET" not in client.session.store.plans.find().body
