"""Jobs that are edited, asked for and cancelled from two desks, with nodes that come and go."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.errors import UsageError
from mcshell.message import State
from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from mcshell.client.jobs.replies import JobReplies
    from mcshell.client.rpc.replies import Replies
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)
BOTH = ["n1", "n2"]


@pytest.fixture(scope="module")
def job_fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobFleet]:
    """Two nodes that are up; a test that kills one starts it again."""
    with JobFleet(embedded, tmp_path_factory.mktemp("desks"), "n1", "n2") as one:
        one.start("n1", "n2")
        yield one


@pytest.fixture(scope="module")
def desk(job_fleet: JobFleet) -> Client:
    """Alice, at the desk where she hands her jobs in."""
    return job_fleet.client(session="desk")


@pytest.fixture(scope="module")
def other(job_fleet: JobFleet) -> Client:
    """Alice at another machine: nothing of the first is there."""
    return job_fleet.client(session="other", state="elsewhere")


def submit(client: Client, job_fleet: JobFleet, name: str, **more: Any) -> JobReplies:
    """Hand a job in that marks its name, and wait until all that are up have it."""
    more = {"at": "+1h", "nodes": BOTH, "text": name, **more}
    replies = client.jobs.submit("mark", "once", file=str(job_fleet.marks), name=name, **more)
    assert replies.wait_accepted(60), job_fleet.logs()
    return replies


def told(client: Client, job: JobReplies) -> dict[str, tuple[int, str]]:
    """Revision and text of a job on each node that shows it."""
    rows = client.jobs.show(job.job).rows()
    return {r.sender: (r.data["revision"], r.data["data"]["text"]) for r in rows if r.data}


def states(rows: Any) -> dict[str, str]:
    """The state of each row, by its sender."""
    return {row.sender: row.state.value for row in rows}


def cli(job_fleet: JobFleet, *words: str) -> tuple[int, Any, str]:
    """Run a line with --json as alice, in a session of its own."""
    done = job_fleet.fleet.cli(*words, "--json")
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    return done.returncode, found["replies"] if isinstance(found, dict) else found, done.stderr


def test_a_refused_edit_does_not_lock_the_session_out_of_its_job(
    job_fleet: JobFleet, desk: Client
) -> None:
    """What the nodes refused was never in force: the next edit goes out from what is."""
    job = submit(desk, job_fleet, "refused")
    policy = job_fleet.folder / "policies" / "job.policy"

    accepted = Counter[str]()

    def edited(text: str) -> set[str]:
        now = states(desk.jobs.edit(job, text=text).wait(30).rows())
        accepted.update(name for name, state in now.items() if state == "ok")
        return set(now.values())

    policy.write_text("policy default allow\ndeny\tcert=alice\tedit\t*\t*\n")
    try:
        assert wait_until(lambda: edited("no") == {"denied"}, 60)
        assert edited("neither") == {"denied"}
    finally:
        policy.unlink()
    assert wait_until(lambda: edited("yes") == {"ok"}, 60)
    assert told(desk, job) == {name: (1 + accepted[name], "yes") for name in BOTH}


def test_a_partial_edit_leaves_each_node_with_a_revision_of_its_own(
    job_fleet: JobFleet, desk: Client
) -> None:
    """An edit of all changes what it names, and on each node from what is in force there."""
    job = submit(desk, job_fleet, "partial")
    desk.jobs.edit(job, text="only here", nodes=["n1"]).wait(30)
    assert told(desk, job) == {"n1": (2, "only here"), "n2": (1, "partial")}
    edited = desk.jobs.edit(job, at="+2h").wait(30)
    assert states(edited.rows()) == {"n1": "ok", "n2": "ok"}
    assert told(desk, job) == {"n1": (3, "only here"), "n2": (2, "partial")}
    assert states(desk.jobs.cancel(job).wait(30).rows()) == {"n1": "ok", "n2": "ok"}


def test_the_slower_of_two_edits_is_told_so_and_is_not_locked_out(
    job_fleet: JobFleet, desk: Client, other: Client
) -> None:
    """Two desks edit one revision: the second hears that it came too late, and may try again."""
    job = submit(desk, job_fleet, "race")
    base = other.jobs.revisions(job.job)
    desk.jobs.edit(job, text="first").wait(30)
    late = other.jobs.put_edit(base, text="second").wait(30)
    assert set(states(late.rows()).values()) == {"failed"}
    assert {row.statusmsg for row in late.rows()} == {
        "revision 2 is in force, it was edited meanwhile"
    }
    assert set(states(other.jobs.edit(job.job, text="third").wait(30).rows()).values()) == {"ok"}
    assert set(states(desk.jobs.edit(job, text="fourth").wait(30).rows()).values()) == {"ok"}
    assert told(desk, job) == {"n1": (4, "fourth"), "n2": (4, "fourth")}


def test_edits_queue_up_for_a_node_that_is_down(job_fleet: JobFleet, desk: Client) -> None:
    """Whoever is up goes on, whoever is down gets each edit in turn: nobody is left behind."""
    job = submit(desk, job_fleet, "down")
    job_fleet.kill("n2")
    try:
        desk.jobs.edit(job, text="one", timeout=2)
        waiting = desk.jobs.edit(job, text="two", timeout=2)
        assert waiting.entries()[1].state is State.PENDING
    finally:
        job_fleet.start("n2")
    assert set(states(waiting.wait(60).rows()).values()) == {"ok"}
    assert told(desk, job) == {"n1": (3, "two"), "n2": (3, "two")}


def test_edit_show_and_cancel_of_a_second_session_ask_those_that_have_the_job(
    job_fleet: JobFleet, desk: Client, other: Client
) -> None:
    """From elsewhere there is no failed row for the nodes that never had it, and no trace there."""
    job = submit(desk, job_fleet, "second", nodes=["n1"])
    assert states(other.jobs.show("second").rows()) == {"n1": "ok"}
    assert states(other.jobs.edit("second", text="x").wait(30).rows()) == {"n1": "ok"}
    assert states(other.jobs.pause(job.job).wait(30).rows()) == {"n1": "ok"}
    code, rows, why = cli(job_fleet, "job", "cancel", job.job)
    assert (code, [(row["sender"], row["data"]["state"]) for row in rows]) == (
        0,
        [("n1", "cancelled")],
    ), why
    assert [(one["sender"], one["state"]) for one in other.jobs.rows(job.job)] == [
        ("n1", "cancelled")
    ]


def test_cancelled_is_said_only_where_there_was_something(
    job_fleet: JobFleet, desk: Client
) -> None:
    """Who is told to cancel what it never had says so, lists nothing, and will not take it."""
    job = submit(desk, job_fleet, "nothing here", nodes=["n1"])
    for _time in range(2):
        (row,) = desk.jobs.cancel(job.job, nodes=["n2"]).wait(30).rows()
        assert (row.state, row.statusmsg) == (
            State.FAILED,
            f"no job {job.job} here; if it still comes, it is not taken",
        )
    assert desk.jobs.rows(job.job, nodes=["n2"]) == []
    assert states(desk.jobs.show(job.job, nodes=["n2"]).rows()) == {"n2": "failed"}


def test_a_node_that_is_down_is_a_row_of_list_and_forecast(
    job_fleet: JobFleet, desk: Client
) -> None:
    """Silent, with what the session knows of it, and the exit code of a line with a silent node."""
    assert set(desk.discover().sender) == set(BOTH)
    job = submit(desk, job_fleet, "row", every="1h", splay="10m")
    start = {one["sender"]: one["next"] for one in desk.jobs.rows(job.job)}
    job_fleet.kill("n2")
    try:
        code, rows, why = cli(job_fleet, "job", "list", job.job)
        (first, second) = sorted(rows, key=lambda row: row["sender"])
        assert (code, first["state"], second["state"]) == (5, "scheduled", "silent"), why
        shown = job_fleet.fleet.cli("job", "list", job.job, "--session", "desk")
        assert "no answer from n2" in shown.stderr
        assert (second["job"], second["revision"], second["owner"], second["agent"]) == (
            job.job,
            1,
            "cert=alice",
            "mark",
        )
        assert second["next"] == pytest.approx(start["n2"])
        assert "no answer to a probe" in second["progress"]
        code, rows, why = cli(job_fleet, "job", "list", "--state", "scheduled")
        assert (code, {row["sender"] for row in rows}) == (5, {"n1"}), why
        code, rows, why = cli(job_fleet, "job", "forecast", "--within", "150m", "--session", "desk")
        mine = [row for row in rows if row["job"] == job.job]
        known = [row for row in mine if row["sender"] == "n2"]
        assert (code, [row["sure"] for row in known]) == (5, [False, False]), why
        assert known[0]["start"] == pytest.approx(start["n2"])
        assert known[0]["why"].startswith("silent: ")
        code, rows, why = cli(job_fleet, "job", "list", "-I", "n2", "--name", "no such")
        assert (code, [(row["sender"], row["job"], row["state"]) for row in rows]) == (
            4,
            [("n2", None, "silent")],
        ), why
    finally:
        job_fleet.start("n2")
    assert {one["state"] for one in desk.jobs.rows(job.job)} == {"scheduled"}
    desk.jobs.cancel(job)


def test_a_node_that_was_never_seen_is_a_row_of_list_and_forecast(
    job_fleet: JobFleet, desk: Client
) -> None:
    """Whoever was handed a job before he was installed is silent, also where nobody knows him."""
    job = desk.jobs.submit(
        "mark", "once", file=str(job_fleet.marks), at="+1h", nodes=["n1", "unborn"], name="early"
    )
    for line in (("list",), ("list", "--name", "early"), ("forecast", "--within", "2h")):
        code, rows, why = cli(job_fleet, "job", *line)
        found = [row for row in rows if row["job"] == job.job and row["sender"] == "unborn"]
        assert (code, len(found)) == (5, 1), (line, why)
        assert "not asked: it was not seen lately" in found[0].get("progress", found[0].get("why"))
    shown = job_fleet.fleet.cli("job", "list", "--session", "desk")
    assert "no answer from unborn" in shown.stderr
    for line in (("--no-known",), ("-I", "n1"), ("--name", "other")):
        _, rows, _ = cli(job_fleet, "job", "list", *line)
        assert "unborn" not in {row["sender"] for row in rows}, line
    desk.jobs.cancel(job)


def test_an_edit_to_a_time_that_is_past_is_refused(job_fleet: JobFleet, desk: Client) -> None:
    """Nothing is sent, and the job stays as it is."""
    job = submit(desk, job_fleet, "past")
    with pytest.raises(UsageError, match="is past"):
        desk.jobs.edit(job, at="2020-01-01 04:00")
    with pytest.raises(UsageError, match="before the first start"):
        desk.jobs.edit(job, until="+10m")
    assert told(desk, job) == {"n1": (1, "past"), "n2": (1, "past")}


def test_a_name_is_accepted_with_its_edit(job_fleet: JobFleet, desk: Client) -> None:
    """A job is found by a new name once a node has taken it, and by the old one until then."""
    job = submit(desk, job_fleet, "old name")
    desk.jobs.edit(job, name="new name").wait(30)
    assert desk.jobs.find("new name") == job.job
    assert desk.jobs.document("new name").name == "new name"


def on_disk(job_fleet: JobFleet, job: str) -> dict[str, tuple[int, str, str]]:
    """Revision, text and state of a job, by each node's own file."""
    found = {}
    for name in BOTH:
        path = job_fleet.folder / f"state-{name}" / "node" / "work.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as spool:
            query = "SELECT revision, body, state FROM jobs WHERE id=? AND identity=?"
            ((revision, body, state),) = spool.execute(query, (job, name)).fetchall()
        found[name] = revision, json.loads(body)["data"]["text"], state
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_an_unlucky_day_of_two_desks(
    job_fleet: JobFleet, desk: Client, other: Client, seed: int
) -> None:
    """Edits, pauses and nodes that go away, from both desks at random: afterwards what the sessions
    say is what the nodes' own files say, what was accepted is in force, and both may go on.
    """
    dice = random.Random(seed)
    job = submit(desk, job_fleet, f"day{seed}", at="+5h")
    revisions = dict.fromkeys(BOTH, 1)
    waiting: list[tuple[str, Replies]] = []
    others: list[Replies] = []
    refused: list[tuple[Client, list[str], bool, bool]] = []
    up = True
    for step in range(14):
        if dice.random() < 0.25:
            (job_fleet.kill if up else job_fleet.start)("n2")
            up = not up
        client, nodes = dice.choice([desk, other]), dice.choice([BOTH, ["n1"], ["n2"]])
        verb, text = dice.choice(["edit", "edit", "edit", "pause", "resume"]), f"{seed}.{step}"
        if verb != "edit":
            others.append(getattr(client.jobs, verb)(job.job, nodes=nodes, timeout=1))
            continue
        try:
            waiting.append((text, client.jobs.edit(job.job, nodes=nodes, text=text, timeout=1)))
        except UsageError as error:  # nothing of it is known here, and who knows it is down
            refused.append((client, nodes, up, "no node that answers has the job" in str(error)))
    if not up:
        job_fleet.start("n2")
    assert all(one == (other, ["n2"], False, True) for one in refused)
    assert all(set(states(one.wait(60).rows()).values()) == {"ok"} for one in others)
    texts: dict[str, list[str]] = {name: [f"day{seed}"] for name in BOTH}
    for text, replies in waiting:
        for row in replies.wait(60).rows():
            assert row.state in (State.OK, State.FAILED), row
            if row.state is State.OK:
                texts[row.sender].append(text)
                revisions[row.sender] = max(revisions[row.sender], row.data["revision"])
            else:
                assert "it was edited meanwhile" in row.statusmsg
    disk = on_disk(job_fleet, job.job)
    assert {name: one[0] for name, one in disk.items()} == revisions
    assert all(one[1] in texts[name] for name, one in disk.items())
    for client in (desk, other):
        assert told(client, job) == {name: one[:2] for name, one in disk.items()}
        stands = {row["sender"]: row["state"] for row in client.jobs.rows(job.job)}
        assert stands == {name: one[2] for name, one in disk.items()}
        last = client.jobs.edit(job.job, text="at last").wait(30)
        assert states(last.rows()) == {"n1": "ok", "n2": "ok"}
        disk = on_disk(job_fleet, job.job)
        assert {one[1] for one in disk.values()} == {"at last"}
    assert states(desk.jobs.cancel(job).wait(30).rows()) == {"n1": "ok", "n2": "ok"}
    assert {one[2] for one in on_disk(job_fleet, job.job).values()} == {"cancelled"}
