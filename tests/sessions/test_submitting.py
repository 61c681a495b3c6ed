"""What is handed in is in the session's file with all that belongs to it, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.client.store.store import SessionStore
from mcshell.message import State
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from tests.peers.fleet import Fleet

SCRIPT = Path(__file__).with_name("doomed_submitter.py")
NODES = ("n1", "n2")
PLAN = """\
plan: pings
steps:
  - step: one
    ask: rpcutil.ping
    nodes: n[1-2]
"""


def hand_in(fleet: Fleet, state: str, kind: str, step: int) -> bool:
    """Have a process hand something in and die at a step; whether it survived."""
    argv = [sys.executable, SCRIPT, fleet.config, fleet.folder / state, "s", kind, str(step)]
    done = subprocess.run(argv, env=fleet.environ, capture_output=True, text=True, check=False)
    survived = "survived" in done.stdout
    assert done.returncode == (0 if survived else -9), done.stderr
    return survived


def check(path: Path, kind: str) -> int:
    """Everything in a session's file is whole; the number of durable requests that are there."""
    store = SessionStore(path)
    try:
        requests = [(one, counts) for one, counts in store.requests() if one.via.durable]
        for record, counts in requests:
            targets = [entry.sender for entry in store.entries(record.id)]
            assert targets == list(NODES)
            assert sum(counts.values()) == len(NODES)
            assert sorted(one.sender for one, _ in store.outgoing(record.id)) == targets
        edits = sum((one.agent, one.action) == ("job", "edit") for one, _ in requests)
        jobs = store.jobs.all()
        assert len(jobs) == (len(requests) - edits if kind in ("job", "edit") else 0)
        for job in jobs:
            assert store.find_request(job.request) is not None
            revisions = [one.job.revision for one in store.jobs.revisions(job.id)]
            assert sorted(set(revisions)) == list(range(1, 2 + edits))
        return len(requests)
    finally:
        store.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["request", "job", "edit", "wave"])
def test_a_kill_at_any_step_leaves_nothing_half_done(fleet, state, kind):
    """Whenever its process dies, a request, a job, an edit or a wave is there whole or not at all."""
    fleet.config.with_name("plan.yaml").write_text(PLAN)
    path = fleet.folder / state / "sessions" / "s.sqlite"
    if kind == "edit":
        assert hand_in(fleet, state, "job", 1000)
    seen = set()
    before = 1 if kind == "edit" else 0
    for step in range(1, 100):
        survived = hand_in(fleet, state, kind, step)
        after = check(path, kind)
        assert after - before in (0, 1)
        seen.add(after - before)
        before = after
        if survived:
            break
    assert survived
    assert seen == {0, 1}


def test_a_job_that_was_committed_is_sent_by_the_next_process(fleet, state):
    """Its client died before a word was sent; the nodes have it once the session is opened again."""
    path = fleet.folder / state / "sessions" / "s.sqlite"
    step = 1
    while not path.exists() or check(path, "job") == 0:
        hand_in(fleet, state, "job", step)
        step += 1
    with fleet.client(state=state, session="s") as client:
        (job,) = client.session.store.jobs.all()
        replies = client.jobs.replies(job.id)
        assert wait_until(lambda: replies.accepted, 60)
        assert {entry.state for entry in replies.entries()} == {State.RECEIVED}
