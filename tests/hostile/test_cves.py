"""The classes of historic CVEs of MCollective, Salt, Ansible and Puppet, ported to this wire.

Each test is named after one, and its docstring says what the class is here. The daemons, the
broker and the command line are real ones.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.ddl.ddl_library import shipped_dir
from mcshell.errors import Reason, Rejected, UsageError
from mcshell.message import Duty, Filter, Reply, Request, Rule, State, Via, new_request_id
from mcshell.pki import Authority
from mcshell.pki.certificates import Leaf, build_leaf, key_identifier
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import seal_reply, seal_request
from mcshell.wire.documents.registration import Registration, seal_registration
from mcshell.wire.documents.rule import seal_rule
from mcshell.wire.documents.signatures import Signer, Verifier
from tests.hostile.forge import signed
from tests.hostile.receiver import arena
from tests.peers.bare import Bare
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.wire.documents.envelope import SealedMessage
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)

PATIENCE = 60.0
SHELL = ("$(touch PWNED)", "`touch PWNED`", "; touch PWNED", "| touch PWNED", "\ntouch PWNED\n")
TEMPLATES = ("{{ lookup('pipe', 'touch PWNED') }}", "{% raw %}", "${jndi:x}", "#{`touch PWNED`}")
ALL = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
POLICIES = {
    "default": ALL,
    "exec": ALL,
    "file": ALL,
    "converse": ALL,
    "rpcutil": f"{ALL}allow\tcert=eve\t*\trole=web\t*\n",
}


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Alice may all, eve look at web servers, bob nothing; facts that a hostile node would have."""
    folder = tmp_path_factory.mktemp("cves")
    facts = {"role": "web", "notes": [*SHELL, *TEMPLATES], "motd": TEMPLATES[0]}
    nodes = {"web1": Node(facts), "db1": Node({"role": "db"})}
    people = ("alice", "bob", "eve")
    with Fleet(embedded, folder, nodes, policies=POLICIES, operators=people) as one:
        one.start()
        yield one


def signer(fleet: Fleet, name: str) -> Signer:
    """Anyone of the fleet."""
    return Signer.load(fleet.folder / f"{name}.pem", fleet.folder / f"{name}.key")


def request(fleet: Fleet, caller: str, via: Via = Via.DIRECT, **other: Any) -> Request:
    """An rpcutil.ping of web1, unless it is to be something else."""
    now = time.time()
    made, nonce = new_request_id(f"cert={caller}")
    fields: dict[str, Any] = {
        "id": made,
        "nonce": nonce,
        "agent": "rpcutil",
        "action": "ping",
        "caller": f"cert={caller}",
        "collective": fleet.collective,
        "via": via,
        "session": "cves",
        "created": now,
        "expires": now + 600,
        "identity": None if via is Via.BROADCAST else "web1",
    }
    return Request(**{**fields, **other})


def put(fleet: Fleet, sealed: SealedMessage, via: Via = Via.DIRECT) -> None:
    """Put a message on web1's way."""
    places = {
        Via.DIRECT: destinations.node(fleet.collective, "web1"),
        Via.QUEUE: destinations.work(fleet.collective, "web1"),
        Via.BROADCAST: destinations.broadcast(fleet.collective),
    }
    with Bare(fleet.broker).connect() as bare:
        bare.send(places[via], sealed.body, sealed.headers)


def events(fleet: Fleet, requestid: str, name: str = "web1") -> list[dict[str, Any]]:
    """What a node has audited of a request, once it has."""
    assert wait_until(lambda: bool(_events(fleet, requestid, name)), PATIENCE)
    return _events(fleet, requestid, name)


def _events(fleet: Fleet, requestid: str, name: str) -> list[dict[str, Any]]:
    return [one for one in fleet.audit(name) if one.get("requestid") == requestid]


def ran(fleet: Fleet, agent: str) -> list[dict[str, Any]]:
    """What was accepted or started of an agent, anywhere."""
    happened = [one for name in fleet.names for one in fleet.audit(name)]
    return [
        e for e in happened if e.get("agent") == agent and e["event"] in ("accepted", "started")
    ]


def untouched(fleet: Fleet) -> bool:
    """Whether nothing that was smuggled in has run."""
    return not list(fleet.folder.rglob("PWNED"))


# --- MCollective ---------------------------------------------------------------------------------


def test_cve_2014_3248(fleet: Fleet, tmp_path: Path) -> None:
    """Code from the current folder: neither the command line nor a daemon started there loads any."""
    for name in ("json", "yaml", "mcshell", "sitecustomize", "encodings", "stomp"):
        mark = f"open({str(tmp_path)!r} + '/PWNED', 'w').close()\n"
        (tmp_path / f"{name}.py").write_text(mark)
    words = ["node", "--config", str(fleet.folder / "web1.toml"), "--help"]
    for argv in (["config", "show"], ["rpc", "rpcutil", "ping", "-I", "web1"], words):
        subprocess.run(
            [Path(sys.executable).with_name("mcshell"), *argv],
            cwd=tmp_path,
            env={name: one for name, one in fleet.environ.items() if name != "PYTHONPATH"},
            check=True,
            capture_output=True,
            timeout=60,
        )
    assert not (tmp_path / "PWNED").exists()


def test_cve_2014_3251(fleet: Fleet, tmp_path: Path) -> None:
    """A certificate is believed for its CA's signature alone: not by use, not for being first or often."""
    stranger = Authority.init(tmp_path / "ca", "stranger")
    alice = Signer.from_pem(*stranger.issue_pem("alice", "operator"))
    for _ in range(5):
        asked = request(fleet, "alice")
        put(fleet, seal_request(asked, alice))
        assert [one["reason"] for one in events(fleet, asked.id)] == ["foreign_ca"]


@pytest.mark.parametrize(
    "name", ["--root=/tmp/x", "-oDebug::NoLocking=1", "--help", "a --server=x"]
)
def test_cve_2015_7331(fleet: Fleet, name: str) -> None:
    """An input does not become an option of the command that an agent runs: it is invalid data."""
    for agent, data in (("package", {"name": name}), ("service", {"name": name})):
        asked = request(fleet, "alice", agent=agent, action="status", data=data)
        put(fleet, seal_request(asked, signer(fleet, "alice")))
        (event,) = events(fleet, asked.id)
        assert (event["event"], event["statuscode"]) == ("refused", 4), event


def test_cve_2016_2788(fleet: Fleet) -> None:
    """Ping, which everybody may, is nothing but ping: none of its fields opens another door."""
    bob = signer(fleet, "bob")
    for other in (
        {"action": "instance_eval", "data": {"code": "touch PWNED"}},
        {"agent": "exec"},
        {"action": "ping.run"},
        {"data": {"agent": "exec", "action": "run", "argv": ["touch", "PWNED"]}},
        {"data": {"$base64": "AA=="}},
        {"filter": Filter(compound=("__import__('os').system('touch PWNED')",))},
    ):
        via = Via.BROADCAST if "filter" in other else Via.DIRECT
        asked = request(fleet, "bob", via, **{"agent": "discovery", **other})
        put(fleet, seal_request(asked, bob), via)
        assert {one["event"] for one in events(fleet, asked.id)} <= {"refused", "denied"}, other
    assert untouched(fleet)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
def test_cve_2017_2290(embedded: Broker, tmp_path: Path) -> None:
    """A program where another user can write is not run by the daemon, which is root."""
    site = tmp_path / "site"
    site.mkdir()
    schema = json.loads((shipped_dir() / "rpcutil.json").read_text())
    schema["metadata"]["name"] = "helper"
    (site / "helper.json").write_text(json.dumps(schema))
    (site / "helper").write_text("#!/bin/sh\ntouch PWNED\n")
    (site / "helper").chmod(0o777)
    with Fleet(embedded, tmp_path, {"n1": Node()}, more='agents = ["site"]\n') as one:
        with one.config.open("a") as file:
            file.write('[node]\nagents = ["site"]\n')
        one.start()
        with one.client() as alice:
            (row,) = alice.rpc("helper", "ping", nodes="n1", timeout=20).rows()
        assert row.statuscode == 2, row
        assert untouched(one)


@pytest.mark.parametrize(
    "body",
    [
        b"--- !ruby/object:Gem::Installer\ni: x\n",
        b"!!python/object/apply:os.system ['touch PWNED']\n",
        b"--- \n:callerid: cert=alice\n:agent: exec\n",
        b"\x04\x08o:\x0bObject\x00",
        b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    ],
)
def test_cve_2017_2292(fleet: Fleet, body: bytes) -> None:
    """What makes objects when it is read (YAML, Marshal, pickle) is no document, whoever signs it."""
    before = len([one for one in fleet.audit("web1") if one.get("reason") == "not_json"])
    put(fleet, signed(body, signer(fleet, "alice")))
    assert wait_until(
        lambda: len([e for e in fleet.audit("web1") if e.get("reason") == "not_json"]) > before,
        PATIENCE,
    )
    topic = destinations.registration(fleet.collective)
    with fleet.client() as alice, Bare(fleet.broker).connect() as bare:
        sealed = signed(body, signer(fleet, "web1"))
        bare.send(topic, sealed.body, sealed.headers)
        asked = alice.rpc("rpcutil", "ping", nodes="web1", timeout=20)
        place = destinations.reply(fleet.collective, alice.caller, alice.session.address)
        bare.send(place, sealed.body, sealed.headers)
        assert wait_until(lambda: alice.junk["not_json"] == 1, PATIENCE)
        assert asked.stats["ok"] == 1
    assert untouched(fleet)


@pytest.mark.parametrize("name", ["../../PWNED", "/tmp/PWNED", "a/b", "..", "x\x00y", "a\nb"])
def test_cve_2017_2298(fleet: Fleet, name: str) -> None:
    """What a node calls itself is no path: no certificate speaks for such a name, and no file has it."""
    authority = fleet.authority
    with pytest.raises(UsageError):
        authority.issue_pem(name, "node")
    certificate = leaf_of(authority, name)
    verifier = Verifier(authority.ca_pem)
    with pytest.raises(Rejected) as refused:
        verifier.verify(b"{}", "QUJD", certificate, now=time.time())
    assert refused.value.reason in (Reason.BAD_CERTIFICATE, Reason.BAD_SIGNATURE)
    body = json.dumps(
        {
            **json.loads(
                seal_registration(
                    Registration(identity="web1", created=time.time(), interval=300.0),
                    signer(fleet, "web1"),
                ).body
            ),
            "identity": name,
            "collectives": [fleet.collective],
        }
    ).encode()
    sealed = signed(body, signer(fleet, "web1"))
    with fleet.client() as alice, Bare(fleet.broker).connect() as bare:
        bare.send(destinations.registration(fleet.collective), sealed.body, sealed.headers)
        assert set(alice.discover(known=False).sender) == {"web1", "db1"}
    assert untouched(fleet)


def leaf_of(authority: Authority, name: str) -> str:
    """A node's certificate (base64) that our own tools would not make."""
    key = Ed25519PrivateKey.generate()
    now = time.time()
    leaf = Leaf(name=name, kind="node", serial=7, start=now, end=now + 900, dns=(), ip=())
    made = build_leaf(
        leaf,
        key.public_key(),
        authority.certificate.subject,
        authority.cas[0].key,
        key_identifier(authority.certificate),
    )
    return base64.b64encode(made.public_bytes(Encoding.DER)).decode()


# --- Salt ----------------------------------------------------------------------------------------


def test_cve_2020_11651(fleet: Fleet) -> None:
    """Nothing is reachable without authentication, and nothing but a DDL's actions at all."""
    alice = signer(fleet, "alice")
    agents = [("discovery", "ping"), ("discovery", "crl"), ("job", "list"), ("exec", "run")]
    for agent, action in [*agents, ("rpcutil", "ping"), ("discovery", "probe")]:
        asked = request(fleet, "alice", agent=agent, action=action)
        sealed = seal_request(asked, alice)
        put(fleet, replace(sealed, headers={}))
        assert [event["reason"] for event in events(fleet, asked.id)] == ["unsigned"]
    for action in ("_private", "activate", "setup", "__class__", "handle", "run_command"):
        try:
            sealed = seal_request(request(fleet, "alice", action=action), alice)
        except UsageError:
            continue  # it is no name of an action
        put(fleet, sealed)
        (event,) = events(fleet, json.loads(sealed.body)["id"])
        assert (event["event"], event["statuscode"]) == ("refused", 2), event


def test_cve_2020_11652(fleet: Fleet) -> None:
    """No name in a request leaves its folder: agents, protocols, sessions, runs of a job."""
    alice, up = signer(fleet, "alice"), "../../../../etc/shadow"
    for fields in ({"agent": up}, {"session": up}, {"pool": up}, {"agent": "rpcutil/../exec"}):
        honest = seal_request(request(fleet, "alice"), alice)
        body = json.dumps({**json.loads(honest.body), **fields}).encode()
        put(fleet, signed(body, alice))
        (event,) = events(fleet, json.loads(body)["id"])
        assert (event["event"], event["reason"]) == ("refused", "malformed")
    with fleet.client() as client:
        job = client.jobs.submit("rpcutil", "ping", at="+1h", nodes="web1")
        assert job.wait_accepted(PATIENCE)
        for start in (up, "/etc/shadow", ".."):
            data = {"job": job.job, "start": start}
            asked = request(fleet, "alice", agent="job", action="log", data=data)
            put(fleet, seal_request(asked, alice))
            assert "root:" not in str(events(fleet, asked.id))
        (row,) = client.rpc("job", "log", job=job.job, nodes="web1", timeout=20).rows()
        assert "root:" not in str(row)


@pytest.mark.parametrize("text", SHELL)
def test_cve_2020_16846(fleet: Fleet, text: str) -> None:
    """No input and no word of a command line goes through a shell."""
    with fleet.client() as alice:
        (row,) = alice.rpc("exec", "run", argv=["echo", text], nodes="web1", timeout=20).rows()
        assert row.data["stdout"].strip() == text.strip()
    for agent, data in (("package", {"name": text}), ("service", {"name": text})):
        asked = request(fleet, "alice", agent=agent, action="status", data=data)
        put(fleet, seal_request(asked, signer(fleet, "alice")))
        assert [one["event"] for one in events(fleet, asked.id)] == ["refused"]
    fleet.cli("rpc", "rpcutil", "get_fact", f"fact={text}", "-I", "web1")
    fleet.cli("rpc", "rpcutil", "ping", "-I", text)
    fleet.cli("discover", "-F", f"role={text}")
    assert untouched(fleet)


def test_cve_2021_25281(fleet: Fleet) -> None:
    """What one may not by one way one may not by another: all ask the same policy."""
    bob, argv = signer(fleet, "bob"), {"argv": ["touch", "PWNED"]}
    for via in (Via.DIRECT, Via.BROADCAST, Via.QUEUE):
        asked = request(fleet, "bob", via, agent="exec", action="run", data=argv)
        put(fleet, seal_request(asked, bob), via)
        assert "denied" in {one["event"] for one in events(fleet, asked.id)}, via
    duty = Duty(name="x", agent="exec", action="run", data=argv)
    now = time.time()
    rule = Rule(
        name="door",
        revision=1,
        author="cert=bob",
        collective=fleet.collective,
        created=now,
        expires=now + 600,
        filter=Filter(),
        duties=(duty,),
    )
    put(fleet, seal_rule(rule, bob))
    with fleet.client("bob", state="state-bob") as client:
        job = client.jobs.submit("exec", "run", inputs=argv, nodes="web1")
        assert wait_until(lambda: job.stats["denied"] == 1, PATIENCE)
        assert wait_until(
            lambda: any(
                "job.rule" in str(e) or "rule" in str(e.get("action")) for e in denied(fleet)
            ),
            PATIENCE,
        )
    assert not ran(fleet, "exec") or all(
        one["caller"] == "cert=alice" for one in ran(fleet, "exec")
    )
    assert untouched(fleet)


def denied(fleet: Fleet) -> list[dict[str, Any]]:
    """What bob was denied on web1."""
    return [e for e in fleet.audit("web1") if e["event"] == "denied" and e["caller"] == "cert=bob"]


def test_cve_2021_25284(fleet: Fleet) -> None:
    """The passcode is in no log and no audit, also where it does not serve; nor is any private key."""
    wrong = fleet.folder / "wrong.toml"
    (fleet.folder / "wrong.pass").write_text("not-the-passcode-7319\n")
    (fleet.folder / "wrong.pass").chmod(0o600)
    wrong.write_text(fleet.config.read_text().replace("broker.pass", "wrong.pass"))
    said = fleet.cli("rpc", "rpcutil", "ping", MCSHELL_CONFIG=str(wrong))
    assert said.returncode != 0
    assert "7319" not in said.stdout + said.stderr
    secrets = [fleet.broker.passcode, *(_key(fleet, name) for name in ("web1", "alice"))]
    files = [*fleet.folder.glob("*.log"), *fleet.folder.rglob("audit.jsonl*")]
    assert files
    for path in files:
        text = path.read_text(errors="replace")
        assert not [one for one in secrets if one in text], path


def _key(fleet: Fleet, name: str) -> str:
    return (fleet.folder / f"{name}.key").read_text().splitlines()[1]


def test_cve_2022_22936(fleet: Fleet, tmp_path: Path) -> None:
    """What was published once is not taken again: not by the same node, not by another, not later."""
    alice = signer(fleet, "alice")
    for via in (Via.DIRECT, Via.BROADCAST, Via.QUEUE):
        asked = request(fleet, "alice", via)
        sealed = seal_request(asked, alice)
        put(fleet, sealed, via)
        assert wait_until(
            lambda a=asked: any(_ok(e) for e in _events(fleet, a.id, "web1")), PATIENCE
        )
        fleet.kill9("web1")
        fleet.start("web1")
        put(fleet, sealed, via)
        assert wait_until(lambda a=asked: len(_events(fleet, a.id, "web1")) > 1, PATIENCE)
        assert sum(map(_ok, _events(fleet, asked.id, "web1"))) == 1
    direct = seal_request(request(fleet, "alice"), alice)
    with Bare(fleet.broker).connect() as bare:
        where = destinations.node(fleet.collective, "db1")
        bare.send(where, direct.body, direct.headers)
    (event,) = events(fleet, json.loads(direct.body)["id"], "db1")
    assert event["reason"] == "misrouted"
    receiver, cases = arena(tmp_path)
    replayed = [one for one in cases if one.reason is Reason.REPLAYED]
    assert replayed
    receiver.replay_guard.close()


def _ok(event: dict[str, Any]) -> bool:
    return event["event"] == "accepted"


def test_cve_2022_22941(fleet: Fleet) -> None:
    """A right for some nodes is none for others, also where the targets that were named are none."""
    with fleet.client("eve", state="state-eve") as eve:
        answers = eve.rpc("rpcutil", "ping", nodes=["web1", "db1"], timeout=20)
        states = {row.sender: row.state for row in answers.rows()}
    assert states == {"web1": State.OK, "db1": State.DENIED}
    for wanted in (Filter(), Filter(fact=("role=nothing",)), Filter(identity=("nobody", "db1"))):
        asked = request(fleet, "eve", Via.BROADCAST, filter=wanted)
        put(fleet, seal_request(asked, signer(fleet, "eve")), Via.BROADCAST)
        marker = request(fleet, "alice", Via.BROADCAST)
        put(fleet, seal_request(marker, signer(fleet, "alice")), Via.BROADCAST)
        events(fleet, marker.id, "db1")  # what came before it has been judged
        assert not [one for one in _events(fleet, asked.id, "db1") if _ok(one)]


# --- Ansible -------------------------------------------------------------------------------------


def test_cve_2016_9587(fleet: Fleet) -> None:
    """What a node says of itself is never run by who reads it, in any form that it is shown."""
    for words in (
        ("discover",),
        ("facts", "notes"),
        ("facts", "motd"),
        ("rpc", "rpcutil", "get_fact", "fact=notes"),
        ("rpc", "rpcutil", "get_fact", "fact=motd", "--json"),
        ("inventory", "web1"),
    ):
        done = fleet.cli(*words)
        assert "Traceback" not in done.stderr, words
    with fleet.client() as alice:
        (row,) = alice.rpc("rpcutil", "get_fact", fact="motd", nodes="web1", timeout=20).rows()
        assert row.data["value"] == TEMPLATES[0]
    assert untouched(fleet)


@pytest.mark.parametrize("text", [*TEMPLATES, *SHELL, "-I db1", "{file}", "@/etc/shadow"])
def test_cve_2023_5764(fleet: Fleet, text: str) -> None:
    """What came out of one request goes into the next as it is: data is not made into code on its way."""
    with fleet.client() as alice:
        first = alice.rpc("exec", "run", argv=["printf", "%s", text], nodes="web1", timeout=20)
        (row,) = first.rows()
        said = row.data["stdout"]
        again = alice.rpc("exec", "run", argv=["printf", "%s", said], nodes="db1", timeout=20)
        (second,) = again.rows()
    assert second.data["stdout"] == said == text
    assert untouched(fleet)


# --- Puppet --------------------------------------------------------------------------------------


def test_cve_2011_3872(fleet: Fleet) -> None:
    """More names in a node's certificate make it nobody else: neither an operator nor another node."""
    pem = fleet.authority.issue_pem("named", "node", dns=["alice", "db1"])
    named = Signer.from_pem(*pem)
    assert (named.identity.kind, named.identity.name) == ("node", "named")
    asked = request(fleet, "alice")
    put(fleet, signed(seal_request(asked, signer(fleet, "alice")).body, named))
    (event,) = events(fleet, asked.id)
    assert event["reason"] == "wrong_kind"
    with fleet.client() as alice, Bare(fleet.broker).connect() as bare:
        replies = alice.rpc("rpcutil", "ping", nodes=["db1"], timeout=20)
        place = destinations.reply(fleet.collective, alice.caller, alice.session.address)
        reply = Reply(
            requestid=replies.requestid,
            sender="db1",
            sequence=2,
            statuscode=0,
            statusmsg="FORGED",
            data={},
            created=time.time(),
            state=State.OK,
        )
        sealed = signed(seal_reply(reply, signer(fleet, "db1")).body, named)
        bare.send(place, sealed.body, sealed.headers)
        assert wait_until(lambda: alice.junk["wrong_sender"] == 1, PATIENCE)
        assert "FORGED" not in str(replies.rows())
