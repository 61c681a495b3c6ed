"""Inputs that a DDL marks as sensitive are in no file once they are needed no more."""

from __future__ import annotations

import json
import secrets
import textwrap
from contextlib import contextmanager

import pytest

from mcshell.client.session.evidence import examine
from mcshell.client.session.transfer import export_session
from mcshell.errors import UsageError
from mcshell.message import State
from mcshell.wire.documents.signatures import Verifier
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

pytestmark = pytest.mark.timeout(300)
PATIENCE = 150.0
"""Seconds: a node looks each minute."""
VAULT = """
from mcshell.node.agent import Agent, AgentError
class Vault(Agent):
    name = "vault"
    def put(self, call):
        if call.get("end") == "crash":
            raise ValueError("boom")
        if call.get("end") == "fail":
            raise AgentError("no")
        return {"who": "x"}
"""


def _ddl():
    about = dict.fromkeys(("description", "author", "license", "url"), "x")
    text = {"prompt": "t", "description": "t", "type": "string", "validation": ".*"}
    inputs = {
        "token": {**text, "maxlength": 100, "optional": False},
        "end": {**text, "maxlength": 100, "optional": True},
    }
    action = {
        "action": "put",
        "description": "d",
        "display": "always",
        "input": inputs,
        "output": {"who": {"description": "w", "display_as": "W"}},
        "mcshell": {"sensitive": ["token"]},
    }
    metadata = {**about, "name": "vault", "version": "1.0.0", "timeout": 5}
    return json.dumps({"metadata": metadata, "actions": [action]})


@pytest.fixture
def fleet(embedded, tmp_path):
    """A node that has the agent, and whose clients have its DDL; it serves a pool."""
    with serving(embedded, tmp_path, "web1") as one:
        yield one


@contextmanager
def serving(embedded, tmp_path, *names):
    """Such nodes."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "vault.json").write_text(_ddl())
    (site / "vault.py").write_text(textwrap.dedent(VAULT))
    pools = '[pools.safe]\nmembers = ["web*"]\n'
    more = 'agents = ["site"]\nserve = ["safe"]\n' + pools
    with Fleet(embedded, tmp_path, {name: Node() for name in names}, more=more) as one:
        with one.config.open("a") as config:
            config.write('[node]\nagents = ["site"]\n' + pools)
        one.start()
        yield one


def _holding(fleet, secret, state="state-web1"):
    """The files below a state folder, and the node's own, that hold the bytes of a secret."""
    found = []
    for path in [*(fleet.folder / state).rglob("*"), *fleet.folder.glob("web1*")]:
        try:
            if path.is_file() and secret.encode() in path.read_bytes():
                found.append(str(path.relative_to(fleet.folder)))
        except FileNotFoundError:
            continue
    return found


def _runs(client, job):
    (row,) = client.jobs.show(job, nodes=["web1"]).rows()
    return len(row.data["history"])


def test_nothing_of_a_secret_stays_on_a_node(fleet):
    """By each way, whatever the end, with several runs of a job, too: no raw byte of it is left."""
    kept = {}
    with fleet.client(session="s1") as client:

        def ask(name, **more):
            kept[name] = f"S3CRET{secrets.token_hex(8)}"
            inputs = {"token": kept[name], **more.pop("inputs", {})}
            return client.rpc("vault", "put", inputs=inputs, **more).rows()[0]

        assert ask("broadcast").state is State.OK
        assert ask("direct", nodes=["web1"]).state is State.OK
        assert ask("queue", nodes=["web1"], via="queue").state is State.OK
        assert ask("pool", pool="safe", via="pool").state is State.OK
        for end in ("fail", "crash"):
            row = ask(end, nodes=["web1"], via="queue", inputs={"end": end})
            assert row.state is State.FAILED
        kept["job"] = f"S3CRET{secrets.token_hex(8)}"
        job = client.jobs.submit(
            "vault", "put", inputs={"token": kept["job"]}, nodes=["web1"], every="1s", name="j"
        )
        assert job.wait_accepted(30)
        assert wait_until(lambda: _runs(client, job) >= 3, 30)
        assert _holding(fleet, kept["job"])  # it is needed: the test can see a secret
        client.jobs.cancel(job).wait(20)
    left = list(kept)
    assert wait_until(lambda: not any(_holding(fleet, kept[name]) for name in left), PATIENCE), {
        name: _holding(fleet, kept[name]) for name in left
    }


def _kept_by_alice(fleet, secret):
    return _holding(fleet, secret, "state-alice")


PLAN = """
plan: rotate
revision: 1
steps:
  - step: put
    ask: vault.put
    inputs: {{token: {secret}}}
    nodes: [web1]
    ttl: 60
"""


def test_nothing_of_a_secret_stays_with_the_operator(fleet):
    """In no session file and no WAL is a byte of it once the node has it, while the client runs on."""
    kept = {}
    with fleet.client(session="s1", state="state-alice") as client:

        def secret(name):
            kept[name] = f"S3CRET{secrets.token_hex(8)}"
            return {"token": kept[name]}

        for name, more in {
            "broadcast": {},
            "direct": {"nodes": ["web1"]},
            "queue": {"nodes": ["web1"], "via": "queue"},
            "pool": {"pool": "safe", "via": "pool"},
        }.items():
            (row,) = client.rpc("vault", "put", inputs=secret(name), **more).rows()
            assert row.state is State.OK
        job = client.jobs.submit(
            "vault", "put", inputs=secret("job"), nodes=["web1"], at="+1h", name="j"
        )
        assert job.wait_accepted(30)
        assert _kept_by_alice(fleet, kept["job"])  # an edit needs it: the test can see a secret
        client.jobs.edit(job, at="+2h").wait(20)
        assert job.job in {one.id for one in client.session.store.jobs.all()}
        client.jobs.cancel(job).wait(20)
        assert job.wait(20).done
        holding = {name: _kept_by_alice(fleet, one) for name, one in kept.items()}
        assert not any(holding.values()), holding
        with pytest.raises(UsageError, match="kept no more"):
            client.jobs.document(job)


def test_a_job_with_a_secret_is_edited_node_by_node(embedded, tmp_path):
    """Each goes on from its own revision, with its own secret; at the end no byte of either is left."""
    first, second = (f"S3CRET{secrets.token_hex(8)}" for _ in range(2))
    with (
        serving(embedded, tmp_path, "web1", "web2") as fleet,
        fleet.client(session="s1", state="state-alice") as client,
    ):
        more = {"nodes": ["web1", "web2"], "at": "+1h", "name": "e"}
        job = client.jobs.submit("vault", "put", inputs={"token": first}, **more)
        assert job.wait_accepted(30)
        client.jobs.edit(job, nodes=["web1"], inputs={"token": second}).wait(20)
        edited = client.jobs.edit(job, at="+2h").wait(20)
        assert edited.stats["ok"] == 2
        bases = client.jobs.revisions(job).bases
        assert {
            name: (one.revision, one.data["token"]) for name, (one, _body) in bases.items()
        } == {
            "web1": (3, second),
            "web2": (2, first),
        }
        with (
            fleet.client(session="s2", state="state-other") as other,
            pytest.raises(UsageError, match="its inputs are secret"),
        ):
            other.jobs.edit(job.job, at="+3h")
        client.jobs.cancel(job).wait(20)
        assert job.wait(20).done
        assert not _kept_by_alice(fleet, first)
        assert not _kept_by_alice(fleet, second)


def test_a_plan_at_its_end_is_kept_without_its_secrets(fleet, tmp_path):
    """Its steps are still listed, resuming it does nothing, it is proved, and no byte of the secret is left."""
    value = f"S3CRET{secrets.token_hex(8)}"
    plan = tmp_path / "rotate.yaml"
    plan.write_text(PLAN.format(secret=value))
    seen = []
    with fleet.client(session="s1", state="state-alice") as client:

        def say(_line):
            seen.append(bool(_kept_by_alice(fleet, value)))

        done = client.plans.run(plan, timeout=60, say=say)
        assert done.state == "ok"
        assert any(seen)  # it is needed until then: the test can see a secret
        assert not _kept_by_alice(fleet, value)
        (listed,) = client.plans.list()
        assert listed.steps == done.steps
        assert client.plans.resume().steps == done.steps
    verifier = Verifier((fleet.folder / "pki" / "ca.pem").read_bytes())
    assert examine(client.session.path, verifier).findings == []


def test_no_export_has_a_secret(fleet, tmp_path):
    """What waits for a node that is off is in the session, and in no copy that is handed on."""
    value = f"S3CRET{secrets.token_hex(8)}"
    plan = tmp_path / "rotate.yaml"
    plan.write_text(PLAN.format(secret=value))
    copy = tmp_path / "copy.mcs"
    fleet.kill9("web1")
    with fleet.client(session="s1", state="state-alice") as client:
        more = {"nodes": ["web1"], "inputs": {"token": value}}
        asked = client.rpc("vault", "put", via="queue", wait=False, ttl=20, **more)
        client.jobs.submit("vault", "put", at="+1h", ttl=20, **more)
        client.plans.run(plan, timeout=0.5)
        assert _kept_by_alice(fleet, value)
        export_session(client.settings.state_dir, "s1", copy)
        assert value.encode() not in copy.read_bytes()
        assert wait_until(lambda: asked.stats["expired"] == 1, 40)


def test_a_request_that_nobody_took_is_forgotten_when_its_time_is_over(fleet):
    """A node that never comes back leaves no secret behind: its bytes go when the request expires."""
    value = f"S3CRET{secrets.token_hex(8)}"
    with fleet.client(session="s1", state="state-alice") as client:
        more = {"nodes": ["ghost"], "inputs": {"token": value}}
        asked = client.rpc("vault", "put", via="queue", wait=False, ttl=3, **more)
        assert _kept_by_alice(fleet, value)
        assert wait_until(lambda: asked.stats["expired"] == 1, 30)
        client.requests()
        assert not _kept_by_alice(fleet, value)
