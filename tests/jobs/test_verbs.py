"""`job …` on a command line, against real daemons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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
        listed = table(job_fleet, "job", "list")
        assert [(one["job"], one["state"], one["agent"]) for one in listed] == [
            (rows[0]["job"], "scheduled", "mark")
        ] * 2
        assert {"sender", "job", "revision", "owner", "next", "last", "attempt", "progress"} <= set(
            listed[0]
        )
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


def test_what_cannot_be_is_refused_before_anything_is_sent(
    embedded: Broker, tmp_path: Path
) -> None:
    """Times that do not exist, zones that do not exist and unknown jobs are usage errors."""
    with JobFleet(embedded, tmp_path, "n1") as job_fleet:
        submit = ("job", "submit", "mark", "once", "file=x")
        for words, what in (
            (("--at", "25:99"), "25:99"),
            (("--cron", "* *"), "five fields"),
            (("--at", "04:00", "--cron", "0 4 * * *"), "cron does not go with"),
            (("--at", "04:00", "--tz", "Mars/Base"), "no time zone"),
            (("--every", "6h", "--after", "0" * 32), "after does not go with"),
            (("--after", "nosuch"), "no job 'nosuch'"),
        ):
            done = job_fleet.fleet.cli(*submit, *words)
            assert done.returncode == 64, (words, done.stderr)
            assert what in done.stderr, (words, done.stderr)
