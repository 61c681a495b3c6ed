"""Submit today what shall run at four tomorrow morning, go home, and ask the day after."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from tests.peers.brokers import Broker

NAMES = [f"n{number:02d}" for number in range(1, 21)]
LATE = NAMES[-3:]
DAY = 86_400.0


@pytest.mark.timeout(420)
def test_story(embedded: Broker, tmp_path: Path) -> None:
    """Five jobs with dependencies on 20 nodes, 3 of them off; the next day it is all there."""
    with JobFleet(embedded, tmp_path, *NAMES) as job_fleet:
        job_fleet.start(*NAMES[:10])
        job_fleet.start(*NAMES[10:])
        client = job_fleet.client(session="patch-friday")
        assert len(client.discover()) == 20
        for name in LATE:
            job_fleet.kill(name)

        def submit(name: str, **more: object) -> str:
            return client.jobs.submit(
                "mark", "once", file=str(job_fleet.marks), text=name, name=name, late="2d", **more
            ).job

        submit("drain", at="tomorrow 04:00", splay="30m")
        submit("patch", after="drain")
        submit("check", after="patch:ok")
        submit("report", after=["patch:done", "check:failed"])
        last = submit("mail", at="tomorrow 05:00")
        for name in ("drain", "patch", "check", "report", "mail"):
            client.jobs.wait_quiet(client.jobs.replies(name), 60)
        edited = client.jobs.edit("mail", text="letter", at="tomorrow 06:00")
        assert edited.stats["ok"] == 17
        assert client.jobs.cancel("check").stats["ok"] == 17

        soon = client.jobs.forecast("tomorrow 03:30", "4h")
        sure = soon[soon["sure"]]
        assert Counter(sure["name"]) == {"drain": 17, "mail": 17}
        unsure = soon[~soon["sure"]]
        down = unsure["sender"].isin(LATE)
        assert set(unsure[~down]["name"]) == {"patch"}
        assert Counter(unsure[down]["name"]) == {"drain": 3, "mail": 3}
        assert unsure[down]["why"].str.startswith("silent: ").all()
        assert sure[sure["name"] == "drain"]["start"].nunique() == 17
        assert sure[sure["job"] == last]["start"].nunique() == 1
        client.close()

        job_fleet.set_clock(1.5 * DAY)
        assert wait_until(lambda: job_fleet.runs()["letter"] == 17, 120), (
            job_fleet.runs(),
            job_fleet.logs(),
        )
        assert wait_until(lambda: job_fleet.runs()["patch"] == 17, 60), (
            job_fleet.runs(),
            job_fleet.logs(),
        )
        job_fleet.start(*LATE)
        names = ["drain", "patch", "check", "report", "mail"]
        done = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).with_name("next_day.py")),
                str(job_fleet.folder / "alice.toml"),
                "patch-friday",
                "90",
                *names,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env=job_fleet.fleet.environ,
        )
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)
        states = {name: Counter(row["state"] for row in rows[name]) for name in names}
        print(states, job_fleet.runs())
        assert all(sorted(row["sender"] for row in rows[name]) == NAMES for name in names)
        assert states["drain"] == states["patch"] == states["mail"] == {"ok": 20}
        assert {row["text"] for row in rows["mail"]} == {"letter"}
        assert states["check"] == states["report"] == {"failed": 20}
        assert {row["statusmsg"] for row in rows["check"]} == {"cancelled by cert=alice"}
        assert job_fleet.runs() == {"drain": 20, "patch": 20, "letter": 20}
