"""Durable requests and sessions by their verbs, on a real fleet."""

from __future__ import annotations

import io
import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mcshell import config
from mcshell.client.client import Client
from mcshell.client.store.store import SessionStore
from mcshell.commands.context import Context
from mcshell.shell.lines import run_line
from mcshell.shell.output import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)

Run = "Callable[[str], tuple[int, Any, str]]"


@pytest.fixture
def context(fleet: Fleet) -> Iterator[Context]:
    """The surroundings of a prompt of the fleet's operator."""
    found = Context("prompt", fleet.config)
    yield found
    found.close()


@pytest.fixture
def run(context: Context) -> Run:
    """Run one line: its exit code, its document, and what it said."""

    def line(text: str) -> tuple[int, Any, str]:
        out, err = io.StringIO(), io.StringIO()
        code = run_line(f"{text} --json", context, Screen(out, err, None))
        return code, json.loads(out.getvalue() or "null"), err.getvalue()

    return line


def test_a_queued_request_is_waited_for(run: Run) -> None:
    """With `--via queue` nodes that are up answer at once; the ledger and the counts say so."""
    code, found, _ = run("rpc rpcutil ping --via queue --ttl 1h -t 30")
    assert code == 0
    assert (found["request"]["via"], found["stats"]["ok"]) == ("queue", 3)
    assert found["request"]["expires"] - found["request"]["created"] == pytest.approx(3600, abs=1)
    _, rows, _ = run("ledger")
    assert {row["state"] for row in rows} == {"ok"}
    assert all(row["sent"] <= row["done"] for row in rows)
    _, rows, _ = run("requests")
    assert (rows[-1]["via"], rows[-1]["ok"], rows[-1]["pending"]) == ("queue", 3, 0)


def test_a_node_that_is_down_stays_pending(run: Run) -> None:
    """What waits in a queue is pending: 5 beside others, 4 alone; nobody calls it silent."""
    code, found, _ = run("rpc rpcutil ping --via queue --ttl 1h -t 1 -I ghost")
    assert (code, found["stats"]["pending"]) == (4, 1)
    code, found, _ = run("rpc rpcutil ping --via queue --ttl 1h -t 15 -I ghost -I web1")
    states = {row["sender"]: row["state"] for row in found["replies"]}
    assert (code, states) == (5, {"ghost": "pending", "web1": "ok"})
    code, found, _ = run("replies --arrived")
    assert [row["sender"] for row in found["replies"]] == ["web1"]


def test_what_its_time_is_over_has_expired(run: Run) -> None:
    """Past its ttl a target that never answered is expired, and the wait is over."""
    code, found, _ = run("rpc rpcutil ping --via queue --ttl 1s -t 30 -I ghost")
    assert (code, found["stats"]["expired"]) == (4, 1)


def test_a_pool_has_one_answer(run: Run) -> None:
    """One of its workers answers; the row's sender is the worker."""
    code, found, _ = run("rpc rpcutil ping --via pool --pool sms --ttl 1h -t 30")
    (row,) = found["replies"]
    assert (code, row["state"]) == (0, "ok")
    assert row["sender"] in ("db1", "web1", "web2")
    assert run("ledger")[1][0]["sender"] == row["sender"]
    code, _, err = run("rpc rpcutil ping --pool sms")
    assert (code, err) == (64, "--pool goes with --via pool\n")
    code, _, err = run("rpc rpcutil ping --via pool --pool smss")
    assert code == 64
    assert "did you mean sms?" in err


def test_a_background_request_is_found_by_the_next_process(fleet: Fleet) -> None:
    """`-b` leaves once the broker has all; `replies ID -t` of a later process has the answers."""
    words = ["rpc", "rpcutil", "get_fact", "fact=role", "--via", "queue", "--ttl", "1h"]
    done = fleet.cli(*words, "-b", "--session", "lid")
    assert done.returncode == 0, done.stderr
    requestid = done.stdout.strip()
    done = fleet.cli("replies", requestid, "-t", "30", "--json")  # it looks in all sessions
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["request"]["id"], found["stats"]["ok"]) == (requestid, 3)
    done = fleet.cli("replies", "--session", "lid", "--jsonl")
    assert len(done.stdout.splitlines()) == 3


def test_what_still_runs_for_a_process_that_left_is_waited_for(fleet: Fleet) -> None:
    """Of a request to few nodes, too, `replies ID -t` has the last reply, and not that it is at it."""
    words = ["rpc", "exec", "run", "-I", "web1", "-b", "--session", "left", "--", "sleep", "6"]
    done = fleet.cli(*words)
    assert done.returncode == 0, done.stderr
    done = fleet.cli("replies", done.stdout.strip(), "-t", "120", "--json")
    assert (done.returncode, json.loads(done.stdout)["stats"]["ok"]) == (0, 1), done.stderr


def test_rows_of_a_queue_stream_until_the_timeout(fleet: Fleet) -> None:
    """`--jsonl` gives each row as it comes, at the end those that are still pending."""
    words = ["rpc", "rpcutil", "ping", "--via", "queue", "--ttl", "1h", "-t", "15", "--jsonl"]
    done = fleet.cli(*words, "-I", "ghost", "-I", "db1")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["sender"], row["state"]) for row in rows] == [("db1", "ok"), ("ghost", "pending")]
    assert done.returncode == 5


def test_a_session_is_made_named_left_and_taken_up(run: Run, context: Context) -> None:
    """`save` names the current session, `detach` leaves it, `attach` has what it asked."""
    _, found, _ = run("rpc rpcutil ping --via queue --ttl 1h -t 30")
    requestid = found["request"]["id"]
    code, (row,), _ = run("session save patch-friday")
    assert (code, row["name"]) == (0, "patch-friday")
    assert row["was"].startswith("scratch-")
    assert context.session == "patch-friday"
    code, (row,), _ = run("session detach")
    assert (code, row["name"], context.session) == (0, "patch-friday", None)
    _, rows, _ = run("requests")
    assert requestid not in {row["requestid"] for row in rows}
    code, (row,), _ = run("session attach patch-friday")
    assert (code, row["name"], row["holds"], row["new"]) == (0, "patch-friday", True, 0)
    assert row["requests"] >= 1
    _, found, _ = run("replies")
    assert found["request"]["id"] == requestid
    code, _, err = run("session save patch-friday")
    assert (code, "already" in err) == (64, True)


def test_a_new_session_is_the_current_one(run: Run, context: Context) -> None:
    """`new` makes a session once, and the lines that follow are asked in it."""
    code, _, err = run("session new audit")
    assert code == 0, err
    _, found, _ = run("rpc rpcutil ping -I web1")
    _, rows, _ = run("requests")
    assert [row["requestid"] for row in rows] == [found["request"]["id"]]
    code, _, err = run("session new audit")
    assert (code, err) == (64, "there is a session 'audit' already\n")
    _, rows, _ = run("session list")
    listed = {row["name"]: row for row in rows}
    assert listed["audit"]["requests"] == 1
    assert listed["audit"]["holder"]
    assert context.session == "audit"
    assert run("session drop audit")[0] == 64  # in use
    run("session detach")
    code, (row,), _ = run("session drop audit")
    assert (code, row["requests"]) == (0, 1)
    code, _, err = run("session drop adit")
    assert code == 64
    assert "no session 'adit'" in err


def test_dropping_what_is_still_waited_for_needs_a_yes(run: Run, context: Context) -> None:
    """Open targets are named, and without a yes the session stays."""
    run("session new waiting")
    run("rpc rpcutil ping --via queue --ttl 1h -t 0.5 -I ghost")
    run("session detach")
    code, _, err = run("session drop waiting")
    assert code == 64
    assert "still waits for 1 targets" in err
    asked: list[str] = []
    context.ask = lambda question: bool(asked.append(question))
    assert run("session drop waiting")[0] == 64
    assert len(asked) == 1
    assert run("session drop waiting --yes")[0] == 0


def test_attaching_to_what_is_not_there_says_so(run: Run) -> None:
    """A name that this machine has not heard of may be another machine's; a hint is given."""
    out = run("session attach nowhere")
    assert out[0] == 0
    assert out[1][0]["requests"] == 0
    run("session detach")
    assert run("session drop nowhere")[0] == 0


def test_a_session_without_requests_names_those_that_are_left_open(run: Run) -> None:
    """Whose kernel died in a named session is told, in the next one, where to go on."""
    run("session new forsaken")
    run("rpc rpcutil ping --via queue --ttl 1h -t 0.5 -I ghost")
    run("session detach")
    run("session new blank")
    blank = "nothing was asked yet in session blank"
    for line in ("replies", "ledger"):
        said = run(line)[2]
        named = rf"{blank}; left open: (\S+, )*forsaken(, \S+)* \(session attach NAME\)\n"
        assert re.search(named, said), (line, said)
    run("session drop forsaken --yes")
    said = run("replies")[2]
    assert blank in said
    assert "forsaken" not in said
    run("session detach")
    run("session drop blank")


@pytest.mark.parametrize("line", ["replies", "ledger", "requests", "retry", "fold sender", "diff"])
def test_looking_back_makes_no_session_of_a_mistyped_name(run: Run, line: str) -> None:
    """It says that there is none and which was meant, rather than that nothing was asked in it."""
    run("session new friday")
    code, _, said = run(f"{line} --session frday")
    assert (code, said) == (64, "there is no session 'frday' here (did you mean friday?)\n")
    assert "frday" not in [one["name"] for one in run("session list")[1]]
    run("session detach")
    run("session drop friday")


def test_a_session_goes_to_another_machine_by_file(
    run: Run, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export needs no broker; import verifies every signature and has every reply."""
    run("session new travel")
    _, found, _ = run("rpc rpcutil ping --via queue --ttl 1h -t 30")
    run("session detach")
    offline = {"MCSHELL_BROKER_URLS": "stomp://127.0.0.1:1"}
    done = fleet.cli("session", "export", "travel", "travel.mcs", "--json", **offline)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["name"] == "travel"
    elsewhere = {"MCSHELL_STATE": str(fleet.folder / "laptop"), **offline}
    done = fleet.cli("session", "import", "travel.mcs", "--session", "here", "--json", **elsewhere)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["caller"], row["requests"]) == ("here", "cert=alice", 1)
    assert (row["refused"], row["missing"]) == (0, 0)
    monkeypatch.setenv("MCSHELL_STATE", str(fleet.folder / "laptop"))
    with Client(config.load(fleet.config), session="here") as client:
        replies = client.replies(found["request"]["id"])
        assert replies.stats["ok"] == 3
    done = fleet.cli("session", "export", "travl", "x.mcs")
    assert done.returncode == 64
    assert "did you mean travel?" in done.stderr


def test_what_a_session_has_to_tell_is_told_once(fleet: Fleet, run: Run, context: Context) -> None:
    """A session that another process holds is followed, and the operator is told once."""
    with fleet.client(session="shared") as holder:
        asked = holder.rpc("rpcutil", "ping")
        code, rows, err = run("requests --session shared")
        assert code == 0
        assert [row["requestid"] for row in rows] == [asked.requestid]
        assert err.count("following it") == 1
        assert "following it" not in run("requests --session shared")[2]
    assert context.session is None


def test_a_broken_file_takes_no_other_session_with_it(context: Context, fleet: Fleet) -> None:
    """Junk among the session files is named; the list and earlier requests are still there."""
    asked = fleet.cli("rpc", "rpcutil", "ping", "-I", "web1", "--session", "sound", "--json")
    identity = json.loads(asked.stdout)["request"]["id"]
    junk = context.settings.state_dir / "sessions" / "a-broken-one.sqlite"
    junk.write_bytes(b"no database" * 100)
    try:
        listed = fleet.cli("session", "list", "--json")
        found = fleet.cli("replies", identity, "--json")
    finally:
        junk.unlink()
    assert "a-broken-one.sqlite is no session file" in listed.stderr
    assert "sound" in {row["name"] for row in json.loads(listed.stdout)}
    assert json.loads(found.stdout)["stats"]["ok"] == 1


def test_doctor_warns_of_a_session_file_that_is_none(context: Context, fleet: Fleet) -> None:
    """What a session has held may be gone with its file: that is no row that is ok."""
    junk = context.settings.state_dir / "sessions" / "broken.sqlite"
    junk.write_bytes(b"no database" * 100)
    try:
        rows = json.loads(fleet.cli("doctor", "--json").stdout)
    finally:
        junk.unlink()
    (row,) = [row for row in rows if row["check"] == "sessions"]
    assert row["state"] == "warn"
    assert row["detail"].endswith("no session is in broken.sqlite")
    rows = json.loads(fleet.cli("doctor", "--json").stdout)
    assert {"sessions": "ok"}.items() <= {row["check"]: row["state"] for row in rows}.items()


def test_what_was_asked_is_shown_without_a_wait_for_who_had_the_session(
    fleet: Fleet, run: Run
) -> None:
    """A process of another machine that is mute: `requests` has the file's, and takes nothing over."""
    with fleet.client(session="from-afar") as client:
        asked = client.rpc("rpcutil", "ping").requestid
        path = client.session.path
    afar = "elsewhere.example.com:7:abc"
    with closing(SessionStore(path)) as store:
        store.set_meta("holder", afar)
    code, rows, said = run("requests --session from-afar")
    assert (code, [row["requestid"] for row in rows]) == (0, [asked])
    assert "process 7 on elsewhere.example.com had it last: this is what the file" in said
    with closing(SessionStore(path)) as store:
        assert store.meta("holder") == afar
