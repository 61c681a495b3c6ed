"""Plans on real daemons: waves in order, gates that stay closed, kills in the middle."""

from __future__ import annotations

import json
import random
import shutil
import socket
import sqlite3
import sys
import time
import uuid
from collections import Counter
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import pytest

from mcshell.client.store.ledger import UNHEARD
from mcshell.errors import NoTargets, UsageError
from mcshell.message import State
from mcshell.wire import destinations
from mcshell.wire.stomp.connector import Connector
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0
PLAN = """\
plan: patch
steps:
  - step: db
    ask: mark.once
    inputs: {{file: {file}, text: db, sleep: {sleep}}}
    where: role=db
  - step: web
    ask: mark.once
    inputs: {{file: {file}, text: web, sleep: {sleep}}}
    where: role=web
    waves: [1, 50%, rest]
  - step: end
    ask: mark.once
    inputs: {{file: {file}, text: end}}
    nodes: "db[1-2]"
    after: {{db: ok, web: ok}}
"""
GATED = """\
plan: gated
steps:
  - step: web
    ask: mark.again
    inputs: {{file: {file}, text: web}}
    nodes: "web[1-4]"
    waves: [1, 1, rest]
    stop: {stop}
  - step: end
    ask: mark.once
    inputs: {{file: {file}, text: end}}
    nodes: db1
    after: {{web: {need}}}
"""
TWICE = """\
plan: twice
steps:
  - step: one
    ask: mark.again
    inputs: {{file: {file}, text: one}}
    nodes: web2
  - step: two
    ask: mark.again
    inputs: {{file: {file}, text: two}}
    nodes: web2
"""
SLOW = """\
plan: slow
steps:
  - step: one
    ask: mark.once
    inputs: {{file: {file}, text: one, sleep: {sleep}}}
    nodes: {nodes}
  - step: two
    ask: mark.once
    inputs: {{file: {file}, text: two}}
    nodes: db1
"""
GHOST = """\
plan: ghost
steps:
  - step: web
    ask: mark.once
    inputs: {{file: {file}, text: web}}
    where: {{identities: [web1, web3, ghost], facts: bad=no}}
    waves: [1, rest]
"""


def written(folder: Path, text: str, **values) -> Path:
    """Write a plan whose marks go to `folder/marks`."""
    path = folder / "plan.yaml"
    path.write_text(text.format(file=folder / "marks", **values))
    return path


def marks(folder: Path) -> list[str]:
    """What was marked, in the order of the starts."""
    path = folder / "marks"
    return (
        [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []
    )


def name_of_session() -> str:
    """A session that no other test has."""
    return f"p{uuid.uuid4().hex[:8]}"


def test_preview_says_who_would_run_what_in_which_order(fleet, tmp_path):
    """A row a node, with its wave and what it waits for; nothing is sent."""
    path = written(tmp_path, PLAN, sleep=0)
    done = fleet.cli("plan", "preview", str(path), "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["order"], row["step"], row["wave"], row["sender"]) for row in rows] == [
        (1, "db", 1, "db1"),
        (1, "db", 1, "db2"),
        (2, "web", 1, "web1"),
        (2, "web", 2, "web2"),
        (2, "web", 2, "web3"),
        (2, "web", 3, "web4"),
        (3, "end", 1, "db1"),
        (3, "end", 1, "db2"),
    ]
    assert rows[-1]["after"] == "db ok, web ok"
    assert marks(tmp_path) == []


def test_a_plan_runs_step_by_step(fleet, tmp_path):
    """No step begins before the one it waits for has ended; each wave is a request of its own."""
    path = written(tmp_path, PLAN, sleep=0.1)
    done = fleet.cli("plan", "run", str(path), "--json", "-y")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["step"], row["wave"], row["ok"]) for row in rows] == [
        ("db", 1, 2),
        ("web", 1, 1),
        ("web", 2, 2),
        ("web", 3, 1),
        ("end", 1, 2),
    ]
    assert marks(tmp_path) == ["db"] * 2 + ["web"] * 4 + ["end"] * 2
    assert len({row["request"] for row in rows}) == 5


def test_a_canary_that_fails_stops_the_plan(fleet, tmp_path):
    """The second wave is denied: the third never goes out, and the reason names the node."""
    path = written(tmp_path, GATED, stop=1, need="ok")
    session = name_of_session()
    done = fleet.cli("plan", "run", str(path), "--json", "-y", "--session", session)
    assert done.returncode == 2, done.stderr
    rows = json.loads(done.stdout)
    why = "web: 1 of 4 failed, the first one stops it: web2 (denied: "
    assert (rows[1]["reason"][:15], rows[2]["reason"][: len(why)]) == ("web2 (denied: d", why)
    assert [(row["ok"], row["failed"], row["open"]) for row in rows] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 2),
        (0, 0, 1),
    ]
    assert marks(tmp_path) == ["web"]
    again = fleet.cli("plan", "resume", "gated", "--session", session)
    assert (again.returncode, f"stopped: {why}" in again.stderr) == (2, True)
    (row,) = json.loads(fleet.cli("plan", "list", "--json", "--session", session).stdout)
    assert (row["name"], row["state"], row["ok"], row["failed"]) == ("gated", "stopped", 1, 1)
    assert marks(tmp_path) == ["web"]


def test_a_gate_that_stays_closed_stops_the_plan_and_says_why(fleet, tmp_path):
    """The step may fail a little, but what comes after it wants all of it."""
    path = written(tmp_path, GATED, stop="50%", need="ok")
    done = fleet.cli("plan", "run", str(path), "-y")
    assert done.returncode == 2
    assert "end wants web all ok, but 1 of 4 is not: web2 (denied: " in done.stderr
    assert marks(tmp_path) == ["web"] * 3


@pytest.mark.parametrize("stop", ["1", "50%"])
def test_a_failure_that_was_mended_by_hand_can_be_accepted(fleet, tmp_path, stop):
    """`--accept` goes on past a step or a gate, and the plan's record says who did it."""
    path, session = written(tmp_path, GATED, stop=stop, need="ok"), name_of_session()
    assert fleet.cli("plan", "run", str(path), "-y", "--session", session).returncode == 2
    words = ["plan", "resume", "gated", "--accept", "--json", "--session", session]
    done = fleet.cli(*words)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["ok"], row["failed"], row["accepted"]) for row in rows] == [
        (1, 0, 0),
        (0, 0, 1),
        (2, 0, 0),
        (1, 0, 0),
    ]
    assert rows[1]["reason"].startswith("accepted by cert=alice: web2 (denied: ")
    assert marks(tmp_path) == ["web"] * 3 + ["end"]
    (row,) = json.loads(fleet.cli("plan", "list", "--json", "--session", session).stdout)
    assert (row["state"], row["ok"], row["failed"], row["accepted"]) == ("ok", 4, 0, 1)
    again = fleet.cli(*words)
    assert (again.returncode, "there is nothing to accept" in again.stderr) == (64, True)


def test_what_fails_later_is_not_accepted(fleet, tmp_path):
    """Only failures that stood there when they were accepted are; the next one stops it again."""
    path, session = written(tmp_path, TWICE), name_of_session()
    assert fleet.cli("plan", "run", str(path), "-y", "--session", session).returncode == 2
    done = fleet.cli("plan", "resume", "--accept", "--session", session)
    assert done.returncode == 2
    assert "two: 1 of 1 failed, the first one stops it: web2 (denied: " in done.stderr


@pytest.mark.parametrize("need", ["75%", "done"])
def test_a_gate_that_asks_for_less_opens(fleet, tmp_path, need):
    """Three of four are enough, where the plan says so."""
    path = written(tmp_path, GATED, stop="50%", need=need)
    done = fleet.cli("plan", "run", str(path), "-y")
    assert done.returncode == 0, done.stderr
    assert marks(tmp_path) == ["web"] * 3 + ["end"]


def killed(child: Child, folder: Path, after: float) -> bool:
    """Kill it `after` seconds from its next mark; False when it came to its end before."""
    before = len(marks(folder))
    wait_until(lambda: not child.running or len(marks(folder)) > before, PATIENCE)
    time.sleep(after)
    if not child.running:
        return False
    child.kill9()
    return True


def test_a_plan_that_is_killed_again_and_again_repeats_nothing_and_skips_nothing(fleet, tmp_path):
    """SIGKILL at any moment, then `plan resume`: each node runs each step once, in order."""
    path, session = written(tmp_path, PLAN, sleep=0.6), name_of_session()
    rng, kills, words = random.Random(7), 0, ["plan", "run", str(path), "-y"]
    while True:
        argv = [sys.executable, "-m", "mcshell", *words, "--session", session]
        child = Child(argv, tmp_path / f"{kills}.log", fleet.environ)
        if kills == 5 or not killed(child, tmp_path, rng.uniform(0, 0.5)):
            child.process.wait(PATIENCE)
            break
        kills += 1
        words = ["plan", "resume"]
    assert child.process.returncode == 0, child.tail()
    assert kills >= 3
    assert marks(tmp_path) == ["db"] * 2 + ["web"] * 4 + ["end"] * 2
    with fleet.client(session=session) as alice:
        (progress,) = alice.plans.list()
        assert (progress.state, progress.count("ok")) == ("ok", 8)
        for step in progress.steps:
            ran = Counter(row.sender for row in alice.replies(step["request"]).rows())
            assert set(ran.values()) == {1}


def test_a_plan_killed_before_its_first_word_goes_on(fleet, tmp_path, monkeypatch):
    """A wave that is committed and not sent is sent by whoever comes next, once."""
    from mcshell.client.messaging.outbox import Outbox

    path, session = written(tmp_path, SLOW, nodes="[db1, db2]", sleep=0), name_of_session()
    with fleet.client(session=session) as alice, monkeypatch.context() as patch:
        patch.setattr(Outbox, "_send_window", lambda *_: False)
        assert alice.plans.run(path, timeout=0.5).state == "open"
    assert marks(tmp_path) == []
    done = fleet.cli("plan", "resume", "--session", session)
    assert done.returncode == 0, done.stderr
    assert marks(tmp_path) == ["one", "one", "two"]


def test_a_node_that_is_down_is_waited_for(fleet, tmp_path):
    """The operator leaves after a while; the node comes back, and the plan goes on."""
    path, session = written(tmp_path, SLOW, nodes="[web3, web4]", sleep=0), name_of_session()
    fleet.kill9("web3")
    done = fleet.cli("plan", "run", str(path), "-y", "-t", "2", "--session", session)
    assert done.returncode == 5, done.stderr
    assert "open (plan resume " in done.stderr
    refused = fleet.cli("plan", "run", str(path), "-y", "--session", session)
    assert (refused.returncode, "slow revision 1 is under way" in refused.stderr) == (64, True)
    fleet.start("web3")
    done = fleet.cli("plan", "resume", "slow", "--session", session)
    assert done.returncode == 0, done.stderr
    assert marks(tmp_path) == ["one", "one", "two"]


def test_a_plan_that_another_shell_goes_on_with_says_who(fleet, tmp_path):
    """Whoever resumes it meanwhile, here or from a session of his own, is told which process has it."""
    path, session = written(tmp_path, SLOW, nodes="[web3, web4]", sleep=0), name_of_session()
    path.write_text(path.read_text().replace("plan: slow", f"plan: {session}"))
    fleet.kill9("web3")
    argv = [sys.executable, "-m", "mcshell", "plan", "run", str(path), "-y", "--session", session]
    child = Child(argv, tmp_path / "first.log", fleet.environ)
    try:
        assert wait_until(lambda: marks(tmp_path) == ["one"], PATIENCE), child.tail()
        who = f"process {child.process.pid} on {socket.gethostname()}"
        done = fleet.cli("plan", "resume", session, "-y", "--session", session)
        assert done.returncode == 64, done.stderr
        assert f"session {session} is held by {who}: plan {session} " in done.stderr
        again = fleet.cli("plan", "run", str(path), "-y", "--session", session)
        assert f"is held by {who}: its plans go on there" in again.stderr
        listed = fleet.cli("plan", "list", "--session", session)
        assert f"the session is held by {who}: they go on there" in listed.stderr
        elsewhere = fleet.cli("plan", "resume", session)
        assert elsewhere.returncode == 64
        assert f"is in session {session}, last held by {who}" in elsewhere.stderr
    finally:
        fleet.start("web3")
    child.process.wait(PATIENCE)
    assert child.process.returncode == 0, child.tail()
    assert marks(tmp_path) == ["one", "one", "two"]


def test_a_plan_that_has_ended_needs_no_schemas(fleet, tmp_path):
    """Resumed where its agents are not known, it says how it ended."""
    path, session = written(tmp_path, SLOW, nodes="[db1, db2]", sleep=0), name_of_session()
    with fleet.client(session=session) as alice:
        assert alice.plans.run(path, timeout=60).state == "ok"
    config = fleet.config.with_name("without.toml")
    config.write_text(fleet.config.read_text().partition("[node]")[0])
    done = fleet.cli("plan", "resume", "--session", session, MCSHELL_CONFIG=str(config))
    assert done.returncode == 0, done.stderr
    assert "mark" in done.stdout


def test_outcomes_are_read_again_from_the_nodes(fleet, tmp_path):
    """Replies that were lost on their way are no obstacle: the nodes are asked what became of it."""
    path, session = written(tmp_path, SLOW, nodes="[db1, db2]", sleep=2), name_of_session()
    with fleet.client(session=session) as alice:
        assert alice.plans.run(path, timeout=0.5).state == "open"
    broker, inbox = fleet.broker, SimpleQueue()
    thief = Connector([broker.url], user=broker.user, passcode=broker.passcode)
    thief.start(timeout=20)
    try:
        thief.subscribe(destinations.reply(fleet.collective, "cert=alice", session), inbox)
        finals = 0
        while finals < 2:
            try:
                delivery = inbox.get(timeout=PATIENCE)
            except Empty:
                pytest.fail("no last words came")
            finals += b'"state":"ok"' in delivery.body
            thief.ack(delivery)
    finally:
        thief.close()
    with fleet.client(session=session) as alice:
        progress = alice.plans.resume(timeout=20)
        assert progress.state == "ok"
    assert marks(tmp_path) == ["one", "one", "two"]


def test_a_step_that_nobody_would_run_is_refused_before_anything_is_sent(fleet, tmp_path):
    """All steps have their targets, or the plan does not begin."""
    path = written(tmp_path, PLAN.replace("role=web", "role=none"), sleep=0)
    with fleet.client(session=name_of_session()) as alice:
        with pytest.raises(NoTargets, match="step web: no node matches"):
            alice.plans.run(path)
        assert alice.plans.list() == []
    assert marks(tmp_path) == []


def test_a_change_of_many_wants_a_yes(fleet, tmp_path):
    """A plan that changes more than `confirm_share` of the fleet is not begun unasked."""
    path = written(tmp_path, PLAN, sleep=0)
    done = fleet.cli("plan", "run", str(path))
    assert (done.returncode, "plan.patch changes 6 nodes" in done.stderr) == (64, True)
    assert marks(tmp_path) == []


def test_a_plan_that_was_tampered_with_in_the_file_is_refused(fleet, tmp_path):
    """Only what its author signed is gone on with."""
    path, session = written(tmp_path, SLOW, nodes="[db1]", sleep=1), name_of_session()
    with fleet.client(session=session) as alice:
        progress = alice.plans.run(path, timeout=0.2)
        with alice.session.store._commit() as db:
            db.execute("UPDATE plans SET body=CAST(replace(body, 'two', 'owt') AS BLOB)")
        with pytest.raises(UsageError, match="bad_signature"):
            alice.plans.resume(progress.id)


def test_a_plan_goes_on_on_the_machine_that_its_session_is_taken_to(fleet, tmp_path):
    """What one machine has begun, another that imports the session ends: nothing twice, nothing left out."""
    path, session = written(tmp_path, PLAN, sleep=0), name_of_session()
    with fleet.client(session=session) as alice:
        assert "web4" in set(alice.discover()["sender"])
        fleet.kill9("web4")
        assert alice.plans.run(path, timeout=2).state == "open"
    file = str(tmp_path / "taken.mcs")
    assert fleet.cli("session", "export", session, file).returncode == 0
    fleet.start("web4")
    there = {"MCSHELL_STATE": str(tmp_path / "there")}
    brought = fleet.cli("session", "import", file, **there)
    assert brought.returncode == 0, brought.stderr
    done = fleet.cli("plan", "resume", "patch", "--session", session, **there)
    assert done.returncode == 0, done.stderr
    assert Counter(marks(tmp_path)) == {"db": 2, "web": 4, "end": 2}
    again = str(tmp_path / "again.mcs")
    assert fleet.cli("session", "export", session, again, **there).returncode == 0
    third = {"MCSHELL_STATE": str(tmp_path / "third")}
    brought = fleet.cli("session", "import", again, **third)
    assert brought.returncode == 0, brought.stderr
    listed = fleet.cli("plan", "list", "--session", session, "--json", **third)
    assert '"state": "ok"' in listed.stdout, listed.stdout + listed.stderr


FORGED = {
    "fewer nodes": "UPDATE plans SET waves=replace(waves, ', \"db2\"', '')",
    "waves that are none": "UPDATE plans SET waves='[1'",
    "another run of it": "UPDATE plans SET id=replace(id, substr(id, 1, 8), '00000000')",
    "another time": "UPDATE plans SET created=created+1",
}


@pytest.fixture(scope="module")
def exported_plan(fleet, tmp_path_factory):
    """A session's copy with a plan of two steps that has come to its end."""
    folder = tmp_path_factory.mktemp("exported")
    path, session = written(folder, SLOW, nodes="[db1, db2]", sleep=0), name_of_session()
    with fleet.client(session=session) as alice:
        assert alice.plans.run(path, timeout=PATIENCE).state == "ok"
    assert fleet.cli("session", "export", session, str(folder / "plan.mcs")).returncode == 0
    return folder / "plan.mcs"


@pytest.mark.parametrize("name", FORGED)
def test_a_plan_for_others_than_were_signed_is_not_brought_in(fleet, exported_plan, tmp_path, name):
    """A copy in which a plan is for fewer nodes, or another run, is imported without it, which is said."""
    file = tmp_path / "forged.mcs"
    shutil.copy(exported_plan, file)
    with sqlite3.connect(file) as db:
        assert db.execute(FORGED[name]).rowcount == 1
    db.close()
    there = {"MCSHELL_STATE": str(tmp_path / "there")}
    brought = fleet.cli("session", "import", str(file), "--session", "f", **there)
    assert (brought.returncode, "refused: 1 by plan: unbound" in brought.stderr) == (2, True)
    listed = fleet.cli("plan", "list", "--session", "f", "--json", **there)
    assert "slow" not in listed.stdout, listed.stdout


def test_accepted_failures_of_a_copy_count_for_nothing(fleet, tmp_path):
    """Nobody has signed that they were accepted: the plan stands still where its replies have it."""
    path, session = written(tmp_path, GATED, stop=1, need="ok"), name_of_session()
    with fleet.client(session=session) as alice:
        progress = alice.plans.run(path, timeout=PATIENCE)
        assert progress.state == "stopped"
    file = tmp_path / "accepted.mcs"
    assert fleet.cli("session", "export", session, str(file)).returncode == 0
    with sqlite3.connect(file) as db:
        line = "INSERT INTO accepted VALUES (?, 'web', 'web2', 'denied', 'cert=alice', 1.0)"
        db.execute(line, (progress.id,))
    db.close()
    there = {"MCSHELL_STATE": str(tmp_path / "there")}
    assert fleet.cli("session", "import", str(file), **there).returncode == 0
    done = fleet.cli("plan", "resume", "gated", "--session", session, **there)
    assert (done.returncode, "web2 (denied" in done.stderr + done.stdout) == (2, True), done.stderr
    assert marks(tmp_path) == ["web"]


def test_a_name_that_nobody_knows_is_a_row_of_a_plan(fleet, tmp_path):
    """Beside a filter it it is in the step's first wave, sent nothing and failed; that may be accepted."""
    path = written(tmp_path, GHOST)
    name = name_of_session()
    with fleet.client(session=name) as alice:
        rows = alice.plans.preview(path)
        assert {row["sender"]: row["reason"] for row in rows} == {
            "web1": "",
            "web3": "",
            "ghost": UNHEARD,
        }
        plan = alice.plans.run(path, timeout=PATIENCE)
        assert plan.state == "stopped"
        assert f"ghost (silent: {UNHEARD})" in plan.reason
        assert plan.steps[0]["targets"] == 2
        ledger = {one.sender: one for one in alice.replies(plan.steps[0]["request"]).entries()}
        assert set(ledger) == {"web1", "ghost"}
        assert (ledger["ghost"].state, ledger["ghost"].sent) == (State.SILENT, None)
    with fleet.client(session=name) as alice:  # who goes on knows it, too
        plan = alice.plans.resume(accept=True, timeout=PATIENCE)
        assert (plan.state, plan.count("accepted"), plan.count("ok")) == ("ok", 1, 2)
    assert marks(tmp_path) == ["web", "web"]
