"""Real processes of commit 67a4456 are killed with work open, and today's go on with it.

Soak: it takes two minutes, and the repository's history, of which a clone may have no more than the
newest commit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from mcshell.message import State
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import wait_until

pytestmark = pytest.mark.soak

FORMER = "67a4456"
SCRIPT = Path(__file__).with_name("open_work.py")
PATIENCE = 240.0
AGENTS = 'agents = ["agents"]\n'


class FormerFleet(Fleet):
    """Whose nodes run under the code of `former` until `today` is called."""

    def __init__(self, broker, folder, former):
        nodes = {"web1": Node(), "web2": Node()}
        super().__init__(broker, folder, nodes, more=f"{AGENTS}slots = 1\n")
        self.environ |= {"PYTHONPATH": str(former), "PYTHONSAFEPATH": "1"}  # not the current folder
        for path in folder.glob("web?.toml"):  # which that commit does not know
            path.write_text(path.read_text().replace('audit_every = "0s"\n', ""))
        with self.config.open("a") as file:
            file.write(f"[node]\n{AGENTS}")

    def today(self):
        """From now on what starts is of this tree."""
        self.environ["PYTHONPATH"] = ROOT

    def asker(self):
        """The operator's process of then."""
        argv = [sys.executable, SCRIPT, self.config, self.folder]
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environ,
            cwd=self.folder,
        )


@pytest.fixture
def former(tmp_path):
    """The tree of then, and its agents for tests."""
    made = subprocess.run(
        ["git", "-C", ROOT, "archive", FORMER, "mcshell", "agents", "tests/agents_for_tests"],
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=BytesIO(made.stdout)) as tree:
        tree.extractall(tmp_path / "former", filter="data")
    return tmp_path / "former"


def told(asker):
    """What the operator's process says next."""
    line = asker.stdout.readline()
    assert line, "the operator of then died"
    return json.loads(line)


def marks(folder, name):
    """How often something was done."""
    path = folder / name
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.rabbitmq
def test_open_work_of_the_first_version_goes_on_under_this_one(fresh_broker, tmp_path, former):
    """Spool, outboxes, jobs and session: all end, each once; what no node can take is named."""
    broker = fresh_broker("rabbitmq")
    (tmp_path / "fleet" / "agents").mkdir(parents=True)
    for path in (former / "tests" / "agents_for_tests").glob("mark.*"):
        (tmp_path / "fleet" / "agents" / path.name).write_bytes(path.read_bytes())
    with FormerFleet(broker, tmp_path / "fleet", former) as fleet:
        folder = fleet.folder
        fleet.start("web1", "web2")
        fleet.kill9("web2")
        with fleet.asker() as asker:
            ids = told(asker)
            assert wait_until(lambda: marks(folder, "running") == 1, PATIENCE)
            broker.kill9()
            asker.stdin.write("\n")
            asker.stdin.flush()
            ids |= told(asker)
            assert wait_until(lambda: marks(folder, "spooled") == 1, PATIENCE)  # replies wait
            fleet.kill9("web1")
            asker.kill()
        assert marks(folder, "unsent") == marks(folder, "in the broker") == 0
        broker.restart()
        fleet.today()
        fleet.start("web1", "web2")
        check(fleet, ids)


def check(fleet, ids):
    """What today's session says of each, and what was done."""
    folder = fleet.folder
    with fleet.client(session="before") as client:
        assert ids.keys() == {
            *("running", "spooled", "at", "every", "in the broker", "unsent", "unsent job")
        }

        def states(name):
            return [one.state for one in client.replies(ids[name]).entries()]

        for name in ("running", "spooled", "unsent"):
            replies = client.replies(ids[name])
            replies.wait(PATIENCE)
            assert states(name) == [State.OK], name
            assert marks(folder, name) == 1, name
        assert wait_until(lambda: marks(folder, "at") and marks(folder, "unsent job"), PATIENCE)
        runs = marks(folder, "every")
        assert wait_until(lambda: marks(folder, "every") > runs, PATIENCE)
        assert marks(folder, "at") == marks(folder, "unsent job") == 1
        assert wait_until(lambda: states("in the broker") == [State.EXPIRED], PATIENCE)
        assert marks(folder, "in the broker") == 0
    refused = [line for line in fleet.audit("web2") if line.get("reason") == "wrong_version"]
    assert len(refused) == 1
    assert fleet.cli("audit", "verify", str(folder / "state-web1/node/audit.jsonl")).returncode == 0
