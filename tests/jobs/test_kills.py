"""Random kills of daemon, shim, action and broker: each job ran once, or is interrupted."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.node.execution.run_directory import RunDirectory
from tests.jobs.job_fleet import JobFleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.jobs.replies import JobReplies
    from tests.peers.brokers import Broker

NODES = ("n1", "n2")
OPEN = "state IN ('queued', 'running')"


def check_spool(path: Path) -> None:
    """A file that a daemon left when it was killed is whole, and its tables agree."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        lost = file.execute(
            f"SELECT id FROM jobs WHERE state = 'queued' AND id NOT IN"
            f" (SELECT job FROM work WHERE job IS NOT NULL AND {OPEN})"
        ).fetchall()
        assert lost == [], "queued jobs without a run"
        stray = file.execute(
            f"SELECT id FROM work WHERE kind = 'job' AND {OPEN} AND job NOT IN"
            " (SELECT id FROM jobs WHERE state IN ('queued', 'paused', 'cancelled'))"
        ).fetchall()
        assert stray == [], "runs without a queued job"
        unsaid = file.execute(
            "SELECT id FROM work WHERE kind = 'job' AND body IS NULL"
            " AND state IN ('queued', 'running')"
        ).fetchall()
        assert unsaid == [], "open runs without a document"


class Killer(threading.Thread):
    """Kills something every now and then, and starts it again."""

    def __init__(self, job_fleet: JobFleet, broker: Broker, seed: int) -> None:
        super().__init__(name="killer")
        self._town = job_fleet
        self._broker = broker
        self._dice = random.Random(seed)
        self._stopped = threading.Event()
        self.kills: Counter[str] = Counter()
        self.error: BaseException | None = None

    @property
    def count(self) -> int:
        """How many kills there were."""
        return self.kills.total() - self.kills["nothing"]

    def stop(self) -> None:
        """End, with everything up again."""
        self._stopped.set()
        self.join(120)
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """Until it is stopped."""
        # Of the processes there is seldom one at the moment: they are looked for more often.
        ways: list[Callable[[], str]] = [self._daemon, self._daemon, self._shim, self._action]
        ways += [self._shim, self._action, self._action, self._action, self._broker_too]
        try:
            while not self._stopped.wait(self._dice.uniform(0.2, 1.5)):
                self.kills[self._dice.choice(ways)()] += 1
        except BaseException as error:  # noqa: BLE001 - raised again by `stop`
            self.error = error

    def _daemon(self) -> str:
        name = self._dice.choice(NODES)
        self._town.kill(name)
        check_spool(self._town.folder / f"state-{name}" / "node" / "work.sqlite")
        time.sleep(self._dice.uniform(0, 0.5))
        self._town.start(name)
        return "daemon"

    def _broker_too(self) -> str:
        self._broker.kill9()
        time.sleep(self._dice.uniform(0, 0.5))
        self._broker.restart()
        return "broker"

    def _running(self) -> int | None:
        folder = self._town.folder / f"state-{self._dice.choice(NODES)}" / "node" / "work"
        pids = [RunDirectory(one).shim_pid() for one in folder.iterdir()] if folder.exists() else []
        found = [pid for pid in pids if pid is not None]
        return self._dice.choice(found) if found else None

    def _shim(self) -> str:
        return self._end(self._running(), "shim")

    def _action(self) -> str:
        pid = self._running()
        try:
            lists = [one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/children")]
        except OSError:
            return "nothing"
        found = " ".join(lists).split()
        return self._end(int(found[0]) if found else None, "action")

    def _end(self, pid: int | None, what: str) -> str:
        if pid is None:
            return "nothing"
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return "nothing"
        return what


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(60, marks=pytest.mark.timeout(400)),
        pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_random_kills(fresh_broker: Callable[[str], Broker], tmp_path: Path, count: int) -> None:
    """Each of many jobs ran exactly once or is interrupted, and nothing is unaccounted for."""
    broker = fresh_broker("embedded")
    exec_ = "policy default deny\nallow\tcert=alice\trun\t*\t*\n"
    with JobFleet(
        broker, tmp_path, *NODES, policies={"exec": exec_}, node="slots = 4\n"
    ) as job_fleet:
        job_fleet.start(*NODES)
        client = job_fleet.client()
        dice = random.Random(count)
        killer = Killer(job_fleet, broker, count)
        killer.start()
        jobs: dict[str, JobReplies] = {}
        try:
            for number in range(count // 2):
                text = f"job{number}"
                script = f"echo {text} >> {job_fleet.marks}-{text}; sleep {dice.uniform(0, 2):.2f}"
                jobs[text] = client.jobs.submit(
                    "exec",
                    "run",
                    argv=["/bin/sh", "-c", script],
                    at=f"+{dice.uniform(0, 2 + count / 4):.2f}s",
                    late="1d",
                    nodes=list(NODES),
                    timeout=0.0,
                )
                time.sleep(dice.uniform(0, 0.3))
            wait_until(lambda: killer.count >= count // 6, 60 + count)
        finally:
            killer.stop()
        over = time.monotonic() + 120 + count / 2
        for replies in jobs.values():
            replies.wait(max(1.0, over - time.monotonic()))
        outcomes = Counter(entry.state.value for one in jobs.values() for entry in one.entries())
        print(f"\n{count} jobs, kills {dict(killer.kills)}: {dict(outcomes)}")
        for text, replies in jobs.items():
            states = Counter(entry.state.value for entry in replies.entries())
            mark = job_fleet.folder / f"marks-{text}"
            ran = len(mark.read_text().split()) if mark.exists() else 0
            # One that was killed, and so has failed, may not have come to its first line.
            most = states["ok"] + states["failed"] + states["interrupted"]
            assert states["ok"] <= ran <= most, (text, states, ran, job_fleet.logs())
            assert states.total() == most, (text, states, job_fleet.logs())
        assert killer.count >= count // 6, killer.kills
        for name in NODES:
            job_fleet.kill(name)
            check_spool(job_fleet.folder / f"state-{name}" / "node" / "work.sqlite")
        assert wait_until(lambda: client.junk.total() == 0, 1), client.junk
