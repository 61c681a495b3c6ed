"""`job …` on a command line, against real daemons."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.message import State
from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker


def table(job_fleet: JobFleet, *words: str, code: int = 0) -> list[dict[str, Any]]:
    """Run a line with --json and return its rows."""
    done = job_fleet.fleet.cli(*words, "--json", "--session", "cli")
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    return found["replies"] if isinstance(found, dict) else found


def test_life_of_a_job_by_verbs(embedded: Broker, tmp_path: Path) -> None:
    """A job is handed in, listed, shown, forecast, edited, paused, resumed and cancelled."""
    with JobFleet(embedded, tmp_path, "n1", "n2") as job_fleet:
        job_fleet.start("n1", "n2")
        file = f"file={job_fleet.marks}"
        rows = table(
            job_fleet,
            "job",
            "submit",
            "mark",
            "once",
            file,
            "text=first",
            "--at",
            "+1h",
            "--name",
            "j",
            "-y",
        )
        assert [(one["sender"], one["state"]) for one in rows] == [
            ("n1", "received"),
            ("n2", "received"),
        ]
        first = [one["start"] for one in rows]
        listed = table(job_fleet, "job", "list")
        assert [(one["job"], one["state"], one["agent"]) for one in listed] == [
            (rows[0]["job"], "scheduled", "mark")
        ] * 2
        assert [one["next"] for one in listed] == pytest.approx(first)
        assert {"sender", "job", "revision", "owner", "next", "last", "attempt", "progress"} <= set(
            listed[0]
        )
        text = job_fleet.fleet.cli("job", "list", "--session", "cli").stdout.splitlines()
        assert text[0].split()[:4] == ["name", "job", "states", "next"]
        assert text[2].split()[:4] == ["j", rows[0]["job"][:8], "2", "scheduled"]
        assert len(text) == 3, "a line a job"
        text = job_fleet.fleet.cli("job", "list", "-I", "n1", "--session", "cli").stdout
        assert "n1" in text
        assert rows[0]["job"] in text
        starts = table(job_fleet, "job", "forecast", "--within", "2h")
        assert [(one["sender"], one["start"], one["sure"]) for one in starts] == [
            (one["sender"], one["next"], True) for one in listed
        ]
        edited = table(job_fleet, "job", "edit", "j", "text=second", "--name", "k")
        assert [one["data"]["revision"] for one in edited] == [2, 2]
        assert [one["data"]["state"] for one in table(job_fleet, "job", "pause", "k")] == [
            "paused"
        ] * 2
        assert table(job_fleet, "job", "forecast") == []
        resumed = table(job_fleet, "job", "resume", "k", "-I", "n1")
        assert [(one["sender"], one["data"]["state"]) for one in resumed] == [("n1", "scheduled")]
        table(job_fleet, "job", "edit", "k", "--at", "+0.5s", "-I", "n1")
        assert wait_until(lambda: job_fleet.runs()["second"] == 1, 30), job_fleet.logs()
        table(job_fleet, "job", "cancel", "k", "-I", "n2")
        shown = {one["sender"]: one["data"] for one in table(job_fleet, "job", "show", "k")}
        assert (shown["n1"]["state"], shown["n1"]["result"]["text"]) == ("ok", "second")
        assert (shown["n2"]["state"], shown["n2"]["reason"]) == (
            "cancelled",
            "cancelled by cert=alice",
        )
        assert shown["n1"]["history"][0]["state"] == "ok"
        replies = table(job_fleet, "replies", rows[0]["job"], "-t", "20s", code=2)
        assert {one["sender"]: one["state"] for one in replies} == {"n1": "ok", "n2": "failed"}


def test_what_a_run_writes_is_followed(embedded: Broker, tmp_path: Path) -> None:
    """`job log -f` prints what a run writes, until it ends; without -f what there is."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        table(job_fleet, "job", "submit", "mark", "talk", "bytes=20", "--name", "talk", "-y")
        done = job_fleet.fleet.cli("job", "log", "talk", "n1", "-f", "--session", "cli")
        assert (done.returncode, done.stdout) == (0, "x" * 20 + "\n"), done.stderr
        again = job_fleet.fleet.cli("job", "log", "talk", "n1", "--session", "cli")
        assert again.stdout == done.stdout
        rows = table(job_fleet, "job", "log", "talk", "n1")
        assert rows == [{"sender": "n1", "text": done.stdout}]


def test_a_job_in_the_background_is_its_id(embedded: Broker, tmp_path: Path) -> None:
    """`job submit -b` prints the id once the broker has it all, and leaves; the rest is found by it."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        words = ["job", "submit", "mark", "once", f"file={job_fleet.marks}", "--at", "+1h", "-y"]
        done = job_fleet.fleet.cli(*words, "-b", "--session", "cli")
        assert done.returncode == 0, done.stderr
        job = done.stdout.strip()
        assert wait_until(
            lambda: table(job_fleet, "job", "list", job)[0]["state"] == "scheduled", 60
        )


EXEC = "policy default deny\nallow\tcert=alice\trun\t*\t*\n"
LONG = "import sys; print('first'); print('x' * 999_999); print('last', flush=True)"
SLOW = "echo begun; until test -e {go}; do sleep 0.1; done; echo over >&2"


def test_job_log_shows_what_an_exec_writes(embedded: Broker, tmp_path: Path) -> None:
    """Both streams, while it runs and afterwards; of a long output its head and its tail."""
    with JobFleet(embedded, tmp_path, "n1", policies={"exec": EXEC}) as job_fleet:
        job_fleet.start("n1")
        go = tmp_path / "go"
        cli = job_fleet.fleet.cli

        def log(*words: str) -> str:
            return cli("job", "log", *words, "--session", "cli").stdout

        submit = ("job", "submit", "exec", "run", "-y", "--session", "cli", "--name")
        done = cli(*submit, "slow", "--", "sh", "-c", SLOW.format(go=go))
        assert done.returncode == 0, done.stderr
        assert wait_until(lambda: log("slow", "n1") == "begun\n", 60), job_fleet.logs()
        client = job_fleet.client(session="other")
        pieces = client.jobs.log("slow", "n1", follow=True)
        assert next(pieces) == "begun\n"
        go.touch()
        assert "".join(pieces) == "over\n"
        assert log("slow", "n1") == "begun\nover\n"

        cli(*submit, "long", "--", sys.executable, "-c", LONG)
        assert "".join(client.jobs.log("long", "n1", follow=True)).endswith("x\nlast\n")
        kept = log("long", "n1")
        assert kept.startswith("first\nxxx")
        assert kept.endswith("xxx\nlast\n")
        assert "bytes left out ...]" in kept
        assert len(kept) < 300_000
        (row,) = client.jobs.show("long").rows()
        assert row.data["result"]["stdout"].endswith("xxx\nlast\n")


def test_replies_ledger_and_retry_take_a_jobs_name(embedded: Broker, tmp_path: Path) -> None:
    """In whatever session it was handed in; of a job that recurs its newest run is meant."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        client = job_fleet.client(session="desk")
        bad = client.jobs.submit("mark", "fail", text="no", name="bad", nodes=["n1"])
        bad.wait(30)
        often = client.jobs.submit(
            "mark", "once", file=str(job_fleet.marks), every="1s", name="often", nodes=["n1"]
        )
        assert wait_until(lambda: len(client.jobs.runs(often)) > 1, 60), job_fleet.logs()
        client.jobs.pause(often)
        (row,) = client.jobs.show(often).rows()
        newest = row.data["history"][0]["requestid"]

        def heard() -> bool:
            last = client.jobs.runs(often)[-1]
            return last.requestid == newest and last.done

        assert wait_until(heard, 90), job_fleet.logs()
        client.close()

        def cli(*words: str) -> tuple[int, Any]:
            done = job_fleet.fleet.cli(*words, "--json")
            assert done.stdout, done.stderr
            return done.returncode, json.loads(done.stdout)

        code, found = cli("replies", "bad")
        assert (code, found["request"]["id"]) == (2, bad.job)
        code, found = cli("replies", "often")
        assert (code, found["request"]["id"]) == (0, newest)
        code, rows = cli("ledger", "bad")
        assert (code, rows[0]["state"]) == (0, "failed")
        code, found = cli("retry", "-r", "bad", "-y")
        assert (code, found["request"]["action"]) == (2, "fail")
        assert found["replies"][0]["statusmsg"] == "no"
        for verb in ("skip", "resume", "pause", "cancel"):
            code, _found = cli("job", verb, "often", "-y")
            assert code == 0, verb


def test_max_runtime_is_the_whole_time_of_the_job(embedded: Broker, tmp_path: Path) -> None:
    """A program is stopped when its time is over, not before, and what it wrote is told."""
    with JobFleet(embedded, tmp_path, "n1", policies={"exec": EXEC}) as job_fleet:
        job_fleet.start("n1")
        client = job_fleet.client(session="cli")
        code = "import time; print('here', flush=True); time.sleep(60)"
        replies = client.jobs.submit(
            "exec", "run", argv=[sys.executable, "-c", code], max_runtime="4s", nodes=["n1"]
        )
        (row,) = replies.wait(60).rows()
        assert row.state is State.FAILED
        # Whichever of the two is first to say so: the shim, or the agent whose program was stopped.
        assert row.statusmsg in ("timed out after 4 s", "stopped after 4.0 s: out of time")
        assert row.data["stdout"] == "here\n"
        assert row.data["elapsed"] > 3.95


def test_what_cannot_be_is_refused_before_anything_is_sent(
    embedded: Broker, tmp_path: Path
) -> None:
    """Times that do not exist, zones that do not exist and unknown jobs are usage errors."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        submit = ("job", "submit", "mark", "once", "file=x")
        for words, what in (
            (("--at", "25:99"), "25:99"),
            (("--cron", "* *"), "five fields"),
            (("--at", "04:00", "--cron", "0 4 * * *"), "cron does not go with"),
            (("--at", "04:00", "--tz", "Mars/Base"), "no time zone"),
            (("--every", "6h", "--after", "0" * 32), "after does not go with"),
            (("--after", "nosuch"), "no job 'nosuch'"),
            (("--at", "monkey 04:00"), "fri 22:30"),
            (("--at", "2020-01-01 04:00"), "at 2020-01-01 04:00:00+00:00 is past"),
            (("--every", "6h", "--until", "2020-01-01 04:00"), "is past: no start would be"),
            (("--every", "6h", "--until", "+1h"), "is before the first start"),
            (("--at", "+2h", "--until", "+1h"), "is before the first start"),
            (("--cron", "0 4 30 2 *"), "Bad day-of-month"),
        ):
            done = job_fleet.fleet.cli(*submit, *words, TZ="UTC")
            assert done.returncode == 64, (words, done.stderr)
            assert what in done.stderr, (words, done.stderr)


def test_what_a_node_does_not_list_is_a_row(embedded: Broker, tmp_path: Path) -> None:
    """A job that starts every few seconds hides no other one: that there are more starts is said."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        often = ("job", "submit", "rpcutil", "ping", "--every", "5s", "--name", "often")
        table(job_fleet, *often)
        table(job_fleet, "job", "submit", "rpcutil", "ping", "--at", "+10h", "--name", "late")
        *starts, last = table(job_fleet, "job", "forecast", "--within", "12h")
        assert {one["name"] for one in starts} == {"often"}
        assert (last["sender"], last["start"]) == ("n1", None)
        assert "it has more starts than it lists" in last["why"]
        done = job_fleet.fleet.cli("job", "forecast", "--within", "12h", "--session", "cli")
        assert "it has more starts than it lists" in done.stderr
        whole = table(job_fleet, "job", "forecast", "--from", "+9h", "--within", "70m")
        assert [one["name"] for one in whole if one["name"] != "often"] == ["late"]


def test_a_second_job_of_one_name_is_told_of(embedded: Broker, tmp_path: Path) -> None:
    """A name means the newest job; that an older one is not over is said, until it is."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")

        def said(*words: str) -> str:
            done = job_fleet.fleet.cli("job", *words, "--session", "cli")
            assert done.returncode == 0, done.stderr
            return done.stderr

        submit = ("submit", "rpcutil", "ping", "--at", "+10h", "--name", "nightly")
        assert "not over either" not in said(*submit)
        (first,) = table(job_fleet, "job", "list")
        note = f"the newest of that name; not over either: {first['job'][:8]}\n"
        assert note in said(*submit)
        assert note in said("cancel", "nightly")
        said("cancel", first["job"])
        assert "not over either" not in said("show", "nightly")


def test_forecast_of_a_node_that_is_silent(embedded: Broker, tmp_path: Path) -> None:
    """Of one job so many starts are told, and that there are more; none is told past a job's end."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        job_fleet.start("n1")
        client = job_fleet.client()
        more = {"file": str(job_fleet.marks), "text": "x", "nodes": ["n1"], "at": "+1h"}
        for name, every, until in (("often", "60s", "+40d"), ("seldom", "1h", "+210m")):
            job = client.jobs.submit("mark", "once", every=every, until=until, name=name, **more)
            assert job.wait_accepted(30), job_fleet.logs()
        job_fleet.kill("n1")
        told = client.jobs.forecast_rows(within="2d", nodes=["n1"], timeout=3)
        often = [row for row in told if row["name"] == "often"]
        assert len(often) == 1001
        assert [row["why"] for row in often if "more than 1,000 starts" in row["why"]] == [
            often[-1]["why"]
        ]
        assert all(row["why"].startswith("silent: ") for row in told)
        assert len([row for row in told if row["name"] == "seldom"]) == 3
