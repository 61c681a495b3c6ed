"""Thirteen machines with a past: what the operator tasks are tried out on.

Each is a real node daemon in namespaces of its own (unshare), so that it has its own processes,
/etc/resolv.conf and /var/log, and a root of its own with packages and services: whatever a task
does there, this machine is left alone. All clocks, the operator's too, are the test's.

    web01 … web10, db01, db02, db03; web01-05 and db01 are in ams, the others in lon.

`live` lets a week go by: last Monday's look at the packages, yesterday's, then the update that two
machines missed. `monday_at` makes it Monday at nine; db03 will not live through the shift.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.ddl.ddl_library import shipped_dir
from mcshell.node.testing import AgentTester
from tests.peers.debian import SCRIPT, Repository
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

__all__ = ["DBS", "NAMES", "NEW", "OLD", "SITES", "WEBS", "Machines"]

WEBS = [f"web{number:02}" for number in range(1, 11)]
DBS = ["db01", "db02", "db03"]
NAMES = sorted([*WEBS, *DBS])
SITES = {name: "ams" if name in (*WEBS[:5], "db01") else "lon" for name in NAMES}
OLD, NEW = "3.0.14-1", "3.0.15-1"
BEHIND = ("web03", "web07")  # missed the update
BARE = ("db01", "web02")  # without ufw
SERVICES = ("chrony", "nginx")

ALLOWED = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
SETTINGS = """\
[agents.package]
provider = "apt"
root = "{place}/packages"
[agents.service]
provider = "sysv"
root = "{place}"
"""
BOX = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
# A memory eater, by the name that the process table shows.
EATER = """\
import time
with open("/proc/self/comm", "w") as comm:
    comm.write("leaky")
eaten = b"x" * ({size} << 20)
time.sleep(600)
"""
EATERS = {"web04": 160, "web09": 120}  # MiB


def boxes() -> bool:
    """Whether this machine lets us have namespaces."""
    done = subprocess.run([*BOX, "true"], capture_output=True, check=False)
    return done.returncode == 0


class Machines(Fleet):
    """The thirteen; a context manager. `live` starts them, `plant` makes a fresh Monday."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        nodes = {
            name: Node(
                {
                    "role": "web" if name in WEBS else "db",
                    "site": SITES[name],
                    "os": {
                        "name": "Debian",
                        "family": "Debian",
                        "release": {"major": "11" if name == "web10" else "12"},
                    },
                },
                ("role::web" if name in WEBS else "role::db",),
            )
            for name in NAMES
        }
        super().__init__(
            broker,
            folder,
            nodes,
            policies=dict.fromkeys(("exec", "file", "package"), ALLOWED),
            collective="tasks",
        )
        with self.config.open("a") as file:
            file.write('[client]\nconfirm_share = "100%"\n')
        for name in NAMES:
            with (folder / f"{name}.toml").open("a") as file:
                file.write(SETTINGS.format(place=self.place(name)))
        self.clock = folder / "clock"
        self.environ["TEST_CLOCK"] = str(self.clock)
        self.environ["PYTHONPATH"] = f"{ROOT}/tests/peers/clock:{ROOT}"
        self.monday = _monday()
        self.set_clock(self.monday - timedelta(days=7, minutes=10))
        self.roots: dict[tuple[str, bool], Path] = {}
        self._noted: dict[str, dict[str, int]] = {}

    def set_clock(self, moment: datetime) -> None:
        """Have it be that moment everywhere, from now on."""
        draft = self.clock.with_suffix(".new")
        draft.write_text(f"{(moment - datetime.now().astimezone()).total_seconds()}")
        draft.replace(self.clock)

    def place(self, name: str) -> Path:
        """What a machine has of its own."""
        return self.folder / f"machine-{name}"

    # --- in its box ------------------------------------------------------------------------

    def _run(self, name: str, words: Iterable[str]) -> Child:
        place = self.place(name)
        script = f"mount --bind {place}/etc/resolv.conf /etc/resolv.conf\n"
        script += f"mount --bind {place}/var/log /var/log\n"
        if name in EATERS:
            script += f"{sys.executable} {place}/eater.py &\n"
        script += 'exec "$@"\n'
        argv = [*BOX, "sh", "-ec", script, "sh", sys.executable, "-m", "mcshell", *words]
        return Child(argv, self.folder / f"{name}.log", self.environ)

    # --- its life --------------------------------------------------------------------------

    def live(self) -> None:
        """Last Monday, yesterday, and the night before today."""
        for name in NAMES:
            self._furnish(name)
        building = threading.Thread(target=self._build)
        building.start()
        try:
            self.start(*[name for name in NAMES if name != "db02"])
        finally:
            building.join()
        for name in NAMES:
            self._install(name, NEW if name == "web10" else OLD, ufw=True)
        self._look()
        self.set_clock(self.monday - timedelta(hours=19))
        self.start("db02")
        self._look()
        self.set_clock(self.monday)

    def _look(self) -> None:
        done = self.cli("-e", "ping; rpc package status name=openssl")
        assert done.returncode == 0, done.stdout + done.stderr

    def _build(self) -> None:
        """Roots with the old and the new openssl, each with and without ufw."""
        top = self.folder / "packages"
        top.mkdir()
        repository = Repository(top)
        for name, version in (("openssl", OLD), ("ufw", "0.36-1")):
            repository.add(name, version)
        tester = AgentTester(shipped_dir())
        tester.configure("package", root=str(repository.root), provider="apt")
        tester.call("package", "install", name="openssl", refresh=True)
        repository.add("openssl", NEW)
        self._keep(repository.root, OLD, ufw=False)
        tester.call("package", "install", name="ufw", refresh=True)
        self._keep(repository.root, OLD, ufw=True)
        tester.call("package", "update", name="openssl")
        self._keep(repository.root, NEW, ufw=True)
        tester.call("package", "remove", name="ufw", purge=True)
        self._keep(repository.root, NEW, ufw=False)

    def _keep(self, root: Path, version: str, *, ufw: bool) -> None:
        kept = self.folder / f"root-{version}-{ufw}"
        shutil.copytree(root, kept)
        self.roots[version, ufw] = kept

    def _furnish(self, name: str) -> None:
        """What a machine has a week ago: old packages, services that run, a log."""
        place = self.place(name)
        for folder in ("etc/init.d", "var/log"):
            (place / folder).mkdir(parents=True)
        resolver = "10.9.9.9" if name == "web08" else "10.0.0.1"
        (place / "etc/resolv.conf").write_text(f"nameserver {resolver}\n")
        lines = [f"{name}: event {number}\n" for number in range(1, 41)]
        (place / "var/log/app.log").write_text("".join(lines))
        if name in EATERS:
            (place / "eater.py").write_text(EATER.format(size=EATERS[name]))
        for service in SERVICES:
            self.repair(name, service)

    def _install(self, name: str, version: str, *, ufw: bool) -> None:
        packages = self.place(name) / "packages"
        shutil.rmtree(packages, ignore_errors=True)
        shutil.copytree(self.roots[version, ufw], packages)

    def monday_at(self, folder: Path) -> Path:
        """Make it this Monday for an operator with a folder: her state and a notebook are in it.

        Whatever was done since is undone: updates were missed, services break, nothing is planned.
        """
        if "db03" not in self.nodes:
            self.boot("db03")
        shutil.copytree(self.folder / "state-alice", folder / "state")
        shutil.copy(f"{ROOT}/notebooks/02_fleet_report.ipynb", folder)
        for name in NAMES:
            self._install(name, OLD if name in BEHIND else NEW, ufw=name not in BARE)
            for service in SERVICES:
                self.repair(name, service)
        with self.observer() as client:
            for service in SERVICES:
                self._all_run(client, service)
            rows = client.jobs.rows(name="openssl", state="scheduled", known=False)
            for job in {row["job"] for row in rows}:
                client.jobs.cancel(job, nodes=[row["sender"] for row in rows if row["job"] == job])
        for name in ("web03", "web05"):
            self.spoil(name, "chrony")
        return folder

    def boot(self, name: str) -> None:
        """Start a machine that was down; the numbers of processes in its pid files are others' by now."""
        for service in SERVICES:
            (self.place(name) / f"{service}.pid").unlink(missing_ok=True)
        self.start(name)

    def _all_run(self, client: Client, service: str) -> None:
        """Have a service run everywhere; one that an earlier task left half way is given time."""
        left: dict[str, str] = {}

        def started() -> bool:
            rows = client.rpc("service", "start", name=service, known=False).rows()
            left.clear()
            left.update(dict.fromkeys(NAMES, "no row"))
            left.update({row.sender: f"{row.state} {row.statusmsg}" for row in rows})
            for name in [row.sender for row in rows if row.state == "ok"]:
                del left[name]
            return not left

        assert wait_until(started, 180), {
            name: (
                why,
                client.causes(name),
                [
                    (row.sender, row.state)
                    for row in client.rpc("rpcutil", "ping", nodes=[name]).rows()
                ],
                self.audit(name)[-5:],
                self._threads(name),
            )
            for name, why in left.items()
        }

    def _threads(self, name: str) -> str:
        """The end of a machine's log, with where each thread of its daemon is."""
        log = self.folder / f"{name}.log"
        for process in self.nodes[name].family():
            if Path(process.exe()).name.startswith("python"):
                process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "most recent call first" in log.read_text(errors="replace"), 20)
        return log.read_text(errors="replace")[-9000:]

    def spoil(self, name: str, service: str) -> None:
        """Have a service not come back once it is stopped."""
        script = self.place(name) / "etc/init.d" / service
        text = script.read_text()
        script.write_text(text.replace("start) alive", "start) echo no disk >&2; exit 5; alive"))

    def repair(self, name: str, service: str) -> None:
        """Give it the script that works."""
        script = self.place(name) / "etc/init.d" / service
        script.write_text(SCRIPT.format(name=service, folder=self.place(name)))
        script.chmod(0o755)

    # --- what there is to see --------------------------------------------------------------

    def restart_times(self, service: str) -> dict[str, int]:
        """When each machine's service was last started, by its pid file; those that run."""
        files = {name: self.place(name) / f"{service}.pid" for name in NAMES}
        return {name: file.stat().st_mtime_ns for name, file in files.items() if file.exists()}

    def note(self, service: str) -> None:
        """Take down what runs, for `restarted`."""
        self._noted[service] = self.restart_times(service)

    def restarted(self, service: str) -> set[str]:
        """Where a service runs that was started since `note`."""
        before = self._noted[service]
        now = self.restart_times(service)
        return {name for name, time in now.items() if time != before.get(name)}

    def starts(self) -> dict[str, str]:
        """When the job `openssl` will start, by machine, asked from the nodes."""
        with self.observer() as client:
            rows = client.jobs.forecast_rows("04:00", "3h", known=False)
        return {one["sender"]: _hour(one["start"]) for one in rows}

    @contextmanager
    def observer(self) -> Iterator[Client]:
        """Alice somewhere else: in this process, which lives by the machines' clock meanwhile."""
        true_time, ahead = time.time, float(self.clock.read_text())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: true_time() + ahead)
            with self.client(state="state-tidy") as client:
                yield client

    def asked(self, agent: str, action: str) -> set[str]:
        """Which machines were asked for an action directly, by their own audit files."""
        return {
            name
            for name in NAMES
            for event in self.audit(name)
            if (event.get("agent"), event.get("action")) == (agent, action)
            and event.get("via") == "direct"
        }

    def version(self, name: str) -> str:
        """What a machine's own package database says of openssl."""
        where = f"--root={self.place(name)}/packages"
        argv = ["dpkg-query", where, "-W", "-f", "${Version}", "openssl"]
        return subprocess.run(argv, capture_output=True, check=True, text=True).stdout


def _hour(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment).astimezone():%H:%M}"


def _monday() -> datetime:
    """Nine in the morning, here, of a Monday that is more than a week ahead."""
    now = datetime.now().astimezone()
    day = now.date() + timedelta(days=14 - now.weekday())
    return datetime(day.year, day.month, day.day, 9).astimezone()


def wanted() -> None:
    """Skip, by name, where the machines cannot have namespaces and roots of their own."""
    if not boxes():
        pytest.skip("needs root and unshare(1): machines with namespaces of their own")
