"""A client that knows the protocol only from its text asks a real fleet, and believes no forgery."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from mcshell.message import Reply, State
from mcshell.pki import Authority
from mcshell.pki.keys import checking, signing
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import digest_of, seal_reply
from mcshell.wire.documents.signatures import Signer
from tests.peers.fleet import Fleet, Node

CLIENT = Path(__file__).with_name("client.py")


def _load():
    spec = importlib.util.spec_from_file_location("protocol_client", CLIENT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


client = _load()


def test_it_is_short_and_stands_alone():
    """At most 100 lines of code; imports the standard library, stomp and cryptography, nothing of ours."""
    text = CLIENT.read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 100
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {one.name.split(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"stomp", "cryptography"}


@pytest.fixture(scope="module")
def fleet(broker, tmp_path_factory):
    """Two nodes on each broker."""
    with Fleet(broker, tmp_path_factory.mktemp("protocol"), {"n1": Node(), "n2": Node()}) as fleet:
        fleet.start()
        yield fleet


def ask(fleet, agent, action, caller="cert=alice"):
    """Run the client, where mcshell cannot be imported; returns the replies and what it refused."""
    place = fleet.broker.url.removeprefix("stomp://")
    keys = [str(fleet.folder / name) for name in ("pki/ca.pem", "alice.pem", "alice.key")]
    login = [place, fleet.broker.user, fleet.broker.passcode]
    what = [*keys, fleet.collective, caller, agent, action, "3"]
    code = (
        "import sys, runpy; sys.modules['mcshell'] = None;"
        " del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(CLIENT), *login, *what],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=fleet.folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    *words, last = map(json.loads, run.stdout.splitlines())
    return words, last["refused"]


def test_it_asks_a_fleet_and_verifies_the_answers(fleet):
    """`rpcutil ping` of all: one verified final reply of each node, and nothing refused."""
    words, refused = ask(fleet, "rpcutil", "ping")
    assert refused == {}
    assert sorted(word["sender"] for word in words) == ["n1", "n2"]
    for word in words:
        assert (word["sequence"], word["state"], word["statuscode"]) == (2, "ok", 0)
        assert abs(word["data"]["pong"] - time.time()) < 60


def test_it_is_refused_as_we_are(fleet):
    """Policy and DDL answer it as they answer us; what it signs in another's name gets no reply."""
    words, _refused = ask(fleet, "exec", "run")
    assert [word["state"] for word in words] == ["denied", "denied"]
    words, _refused = ask(fleet, "rpcutil", "nothing")
    assert [word["statuscode"] for word in words] == [2, 2]
    assert ask(fleet, "rpcutil", "ping", caller="cert=bob") == ([], {})


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["ed25519", "p256", "p384", "rsa"],
)
def test_every_kind_of_key_is_used_as_ours_are(key):
    """What we sign with each kind of key the client verifies, and the other way round."""
    message = client.message
    body = b"any bytes"
    covered, *_ = message(key, body)
    key.public_key().verify(signing(key)(covered), *message(key.public_key(), body))
    checking(key.public_key())(key.sign(*message(key, body)), covered)


@given(name=st.text())
def test_it_quotes_as_we_do(name):
    """Any name becomes the same segment of a destination."""
    assert client.quote(name) == destinations.quote(name)


def test_it_believes_no_forgery(tmp_path):
    """Another's name, a foreign CA, a changed byte, an operator's signature: each is an error."""
    ours = Authority.init(tmp_path / "ours")
    theirs = Authority.init(tmp_path / "theirs")
    ca = x509.load_pem_x509_certificate(ours.ca_pem)
    asked = json.dumps({"id": "0" * 32}).encode()
    word = Reply(
        requestid="0" * 32,
        sender="web1",
        sequence=2,
        statuscode=0,
        statusmsg="OK",
        data={"pong": 1},
        created=time.time(),
        state=State.OK,
        digest=digest_of(asked),
    )
    open_reply = client.open_reply

    def refusal(sealed, body=None):
        with pytest.raises(ValueError, match=r"^[a-z_]+$") as refused:
            open_reply(body or sealed.body, sealed.headers, ca, asked)
        return str(refused.value)

    web1 = Signer.from_pem(*ours.issue_pem("web1", "node"))
    sealed = seal_reply(word, web1)
    assert open_reply(sealed.body, sealed.headers, ca, asked)["data"] == {"pong": 1}
    assert refusal(seal_reply(replace(word, digest=digest_of(b"other")), web1)) == "unbound"
    assert refusal(sealed, sealed.body.replace(b'"pong":1', b'"pong":2')) == "bad_signature"
    others = [
        (ours, "web2", "node", "wrong_sender"),
        (ours, "alice", "operator", "wrong_sender"),
        (theirs, "web1", "node", "bad_signature"),
    ]
    for authority, name, role, reason in others:
        signer = Signer.from_pem(*authority.issue_pem(name, role, renew=True))
        said = replace(word, sender="alice") if name == "alice" else word
        assert refusal(seal_reply(said, signer)) == reason
