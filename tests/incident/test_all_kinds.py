"""A session of all kinds of requests: jobs, a pool, a plan, secrets, large replies, a node that is down."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mcshell.client.session.evidence import examine
from mcshell.client.session.transfer import export_session
from mcshell.client.store.bodies import BESIDE
from mcshell.wire.documents.signatures import Verifier
from tests.incident.conftest import PATIENCE, POLICY
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)
POOLS = '[pools.sms]\nmembers = ["web*"]\n'
PLAN = """\
plan: ping
steps:
  - step: first
    ask: rpcutil.ping
    nodes: [web1, web2]
    waves: [1, rest]
"""


def ask(client: Client, folder: Path) -> None:
    """One of each kind; what takes its time is waited for."""
    client.rpc("echo", "say", text="x" * 200_000, via="queue", nodes=["web1"]).wait(PATIENCE)
    client.rpc("echo", "say", text="x" * 200_000, nodes=["web2"])
    client.rpc("rpcutil", "ping", pool="sms", via="pool").wait(PATIENCE)
    secret = {"argv": ["cat"], "environment": {"PASSWORD": "sesame"}}
    client.rpc("exec", "run", **secret, nodes=["web1"])
    client.rpc("exec", "run", **secret, nodes=["web1", "web2"], via="queue").wait(PATIENCE)
    client.rpc("rpcutil", "ping", nodes=["gone"], via="queue", ttl=1, wait=False)
    client.rpc("rpcutil", "ping", nodes=["web1", "web2"], batch=1)
    job = client.jobs.submit("rpcutil", "ping", nodes=["web1", "web2"], every=1, name="often")
    name = job.requestid
    assert wait_until(lambda: len(client.session.store.jobs.runs(name)) > 1, PATIENCE)
    client.jobs.edit(name, every=3600)
    client.jobs.cancel(name)
    (folder / "plan.yaml").write_text(PLAN)
    assert client.plans.run(folder / "plan.yaml", timeout=PATIENCE).state == "ok"


def test_a_session_of_all_kinds_is_as_it_was_written(embedded: Broker, tmp_path: Path) -> None:
    """None of them is called changed: neither the session, its large bodies beside it, nor its export."""
    agents = f'agents = ["{ROOT}/tests/agents_for_tests"]\n'
    policies = {"default": POLICY, "exec": POLICY}
    nodes = {"web1": Node(), "web2": Node()}
    more = f'{agents}serve = ["sms"]\n{POOLS}'
    with Fleet(embedded, tmp_path, nodes, policies=policies, more=more) as fleet:
        with fleet.config.open("a") as file:
            file.write(f"[node]\n{agents}{POOLS}")
        fleet.start()
        with fleet.client(session="all") as client:
            ask(client, tmp_path)
    path = tmp_path / "state-alice" / "sessions" / "all.sqlite"
    verifier = Verifier((tmp_path / "pki" / "ca.pem").read_bytes())
    assert path.with_name(path.name + BESIDE).exists()
    found = examine(path, verifier)
    assert found.findings == []
    assert {one.proof for one in found.requests} >= {"signed", "run", "secret"}
    copy = export_session(tmp_path / "state-alice", "all", tmp_path / "all.mcs")
    assert examine(copy, verifier).findings == []
    large = path.with_name(path.name + BESIDE)
    raw = bytearray(large.read_bytes())
    raw[1000] ^= 1
    large.write_bytes(raw)
    assert "bad_signature" in examine(path, verifier).findings[0].what
    with closing(sqlite3.connect(copy)) as db:
        db.executescript("UPDATE plans SET waves=replace(waves, 'web1', 'web3')")
    (found,) = examine(copy, verifier).findings
    assert "its nodes are not those that were signed" in found.what
    with closing(sqlite3.connect(copy)) as db:
        db.executescript("UPDATE plans SET body=replace(body, 'web1', 'web3')")
    assert examine(copy, verifier).findings
