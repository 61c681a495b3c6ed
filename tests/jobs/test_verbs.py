"""`job …` on a command line, against real daemons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.jobs.town import Town
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker


def table(town: Town, *words: str, code: int = 0) -> list[dict[str, Any]]:
    """Run a line with --json and return its rows."""
    done = town.fleet.cli(*words, "--json", "--session", "cli")
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    return found["replies"] if isinstance(found, dict) else found


def test_life_of_a_job_by_verbs(embedded: Broker, tmp_path: Path) -> None:
    """A job is handed in, listed, shown, forecast, edited, paused, resumed and cancelled."""
    with Town(embedded, tmp_path, "n1", "n2") as town:
        town.start("n1", "n2")
        file = f"file={town.marks}"
        rows = table(
            town,
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
        listed = table(town, "job", "list")
        assert [(one["job"], one["state"], one["agent"]) for one in listed] == [
            (rows[0]["job"], "scheduled", "mark")
        ] * 2
        assert {"sender", "job", "revision", "owner", "next", "last", "attempt", "progress"} <= set(
            listed[0]
        )
        starts = table(town, "job", "forecast", "--within", "2h")
        assert [(one["sender"], one["start"], one["sure"]) for one in starts] == [
            (one["sender"], one["next"], True) for one in listed
        ]
        edited = table(town, "job", "edit", "j", "text=second", "--name", "k")
        assert [one["data"]["revision"] for one in edited] == [2, 2]
        assert [one["data"]["state"] for one in table(town, "job", "pause", "k")] == ["paused"] * 2
        assert table(town, "job", "forecast") == []
        resumed = table(town, "job", "resume", "k", "-I", "n1")
        assert [(one["sender"], one["data"]["state"]) for one in resumed] == [("n1", "scheduled")]
        table(town, "job", "edit", "k", "--at", "+0.5s", "-I", "n1")
        assert wait_until(lambda: town.runs()["second"] == 1, 30), town.logs()
        table(town, "job", "cancel", "k", "-I", "n2")
        shown = {one["sender"]: one["data"] for one in table(town, "job", "show", "k")}
        assert (shown["n1"]["state"], shown["n1"]["result"]["text"]) == ("ok", "second")
        assert (shown["n2"]["state"], shown["n2"]["reason"]) == (
            "cancelled",
            "cancelled by cert=alice",
        )
        assert shown["n1"]["history"][0]["state"] == "ok"
        replies = table(town, "replies", rows[0]["job"], "-t", "20s", code=2)
        assert {one["sender"]: one["state"] for one in replies} == {"n1": "ok", "n2": "failed"}


def test_what_a_run_writes_is_followed(embedded: Broker, tmp_path: Path) -> None:
    """`job log -f` prints what a run writes, until it ends; without -f what there is."""
    with Town(embedded, tmp_path, "n1") as town:
        town.start("n1")
        table(town, "job", "submit", "mark", "talk", "bytes=20", "--name", "talk", "-y")
        done = town.fleet.cli("job", "log", "talk", "n1", "-f", "--session", "cli")
        assert (done.returncode, done.stdout) == (0, "x" * 20 + "\n"), done.stderr
        again = town.fleet.cli("job", "log", "talk", "n1", "--session", "cli")
        assert again.stdout == done.stdout


def test_what_cannot_be_is_refused_before_anything_is_sent(
    embedded: Broker, tmp_path: Path
) -> None:
    """Times that do not exist, zones that do not exist and unknown jobs are usage errors."""
    with Town(embedded, tmp_path, "n1") as town:
        submit = ("job", "submit", "mark", "once", "file=x")
        for words, what in (
            (("--at", "25:99"), "25:99"),
            (("--cron", "* *"), "five fields"),
            (("--at", "04:00", "--cron", "0 4 * * *"), "cron does not go with"),
            (("--at", "04:00", "--tz", "Mars/Base"), "no time zone"),
            (("--every", "6h", "--after", "0" * 32), "after does not go with"),
            (("--after", "nosuch"), "no job 'nosuch'"),
        ):
            done = town.fleet.cli(*submit, *words)
            assert done.returncode == 64, (words, done.stderr)
            assert what in done.stderr, (words, done.stderr)
