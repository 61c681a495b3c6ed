"""Inputs that a DDL marks as sensitive are in no file of a node once they are needed no more."""

from __future__ import annotations

import json
import secrets
import textwrap

import pytest

from mcshell.message import State
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
    site = tmp_path / "site"
    site.mkdir()
    (site / "vault.json").write_text(_ddl())
    (site / "vault.py").write_text(textwrap.dedent(VAULT))
    pools = '[pools.safe]\nmembers = ["web1"]\n'
    more = 'agents = ["site"]\nserve = ["safe"]\n' + pools
    with Fleet(embedded, tmp_path, {"web1": Node()}, more=more) as one:
        with one.config.open("a") as config:
            config.write('[node]\nagents = ["site"]\n' + pools)
        one.start()
        yield one


def _holding(fleet, secret):
    """The node's files that hold the bytes of a secret."""
    found = []
    for path in [*(fleet.folder / "state-web1").rglob("*"), *fleet.folder.glob("web1*")]:
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
