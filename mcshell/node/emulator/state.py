"""What an emulated machine has and does: packages, services, processes, users, disks and logs.

Made from the machine's seed when somebody first looks, and changed by what is asked of it. Nothing
of it is this host's. One that is made as of an earlier day is as it was then.
"""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any, Final

from mcshell.node.emulator.catalogue import PACKAGES, SERVICES
from mcshell.node.emulator.file_tree import FileTree
from mcshell.values import dataclass

if TYPE_CHECKING:
    from mcshell.node.emulator.catalogue import ServiceEntry
    from mcshell.node.emulator.machines import Machine

__all__ = ["MIB", "NODE", "MachineState", "PretendedProcess", "ServiceState"]

MIB: Final = 1 << 20
NODE: Final = 260
"""The number of the process that the node's daemon is."""
_GIB: Final = 1 << 30
_DAY: Final = 86400.0
UPDATED: Final = 3.0
"""So many days ago openssl was updated everywhere, but on the machine that misses its updates."""
_FIRST_USER: Final = 110
_LINE_EVERY: Final = 37.0
_LINES: Final = 120
_FULL_FOR: Final = 7200.0
_KERNEL: Final = ("kthreadd", "rcu_preempt", "kworker/0:1", "ksoftirqd/0")
_BARE: Final = 9  # one machine in so many is without ufw
_BOOT: Final = 15.0


@dataclass(slots=True)
class ServiceState:
    """A service: whether it runs (since when, epoch, as which process), and starts at boot."""

    entry: ServiceEntry
    pid: int | None
    since: float
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PretendedProcess:
    """One row of the process table."""

    pid: int
    ppid: int
    user: str
    command: str
    args: tuple[str, ...]
    rss: int
    cpu: float
    started: float
    state: str = "sleeping"


class MachineState:
    """A machine as of `now` (epoch), `age` days before its fleet's present day."""

    def __init__(self, machine: Machine, now: float, boot: float, age: float = 0.0) -> None:
        self.machine = machine
        self.rng = random.Random(f"{machine.seed}:state")  # noqa: S311 - made up, no secret
        facts = machine.facts
        self.system: str = f"{facts['os']['name']} {facts['os']['release']['major']}"
        self.rpm: bool = facts["os"]["family"] == "rhel"
        self.role: str = facts["role"]
        self.boot = boot
        self.users = {"root": 0, "daemon": 1, "www-data": 33, "ops": 1000}
        self.packages: dict[str, str] = {}
        self.held_back: set[str] = set()
        self._install_all(age)
        self._pids = 300
        self.services: dict[str, ServiceState] = {}
        self._begin_services()
        self.files = FileTree(self.boot)
        self._furnish(now)
        self._filled = now - _FULL_FOR if self.machine.trouble == "full" else now
        self._grown = self._filled - _LINES * _LINE_EVERY
        self._down = False
        self._comes_back = math.inf

    # --- power -----------------------------------------------------------------------------

    def power_off(self, now: float, *, again: bool) -> None:
        """Hear nothing from now on; with `again`, come back after the time that a boot takes."""
        self._down, self._comes_back = True, now + _BOOT if again else math.inf

    def is_up(self, now: float) -> bool:
        """Whether it runs; one that has come back has begun anew."""
        if not self._down:
            return True
        if now < self._comes_back:
            return False
        self._down, self.boot = False, self._comes_back
        for name, service in self.services.items():
            if service.enabled:
                self.start(name, self.boot + 5)
            else:
                service.pid = None
        return True

    # --- packages --------------------------------------------------------------------------

    def _install_all(self, age: float) -> None:
        for name, entry in PACKAGES.items():
            versions = entry.versions[self.system]
            wanted = entry.roles == "*" or self.role in entry.roles.split(",")
            bare = name == "ufw" and not self.rng.randrange(_BARE)
            behind = len(versions) > 1 and self.rng.random() < 0.5  # noqa: PLR2004 - every other one
            if not versions or not wanted or bare:
                continue
            if name == "openssl":
                place = 0 if self.machine.trouble == "old" else -1 - (age > UPDATED)
                self.packages[name] = versions[max(place, -len(versions))]
            else:
                self.packages[name] = versions[-2 if behind else -1]

    def candidate(self, name: str) -> str | None:
        """The version that the repositories have; None when they have none."""
        entry = PACKAGES.get(name)
        versions = entry.versions[self.system] if entry else ()
        return versions[-1] if versions else None

    def version_is_known(self, name: str, version: str) -> bool:
        """Whether a repository has this very version."""
        return name in PACKAGES and version in PACKAGES[name].versions[self.system]

    def install(self, name: str, version: str, now: float) -> None:
        """Have a package in this version."""
        before = self.packages.get(name)
        self.packages[name] = version
        did = f"upgrade {name} {before} {version}" if before else f"install {name} <none> {version}"
        self._note_package(did, now)

    def remove(self, name: str, now: float) -> None:
        """Have a package no more, nor the service it brings."""
        version = self.packages.pop(name)
        self.services.pop(name, None)
        self._note_package(f"remove {name} {version} <none>", now)

    def _note_package(self, did: str, now: float) -> None:
        path = "/var/log/dnf.rpm.log" if self.rpm else "/var/log/dpkg.log"
        self.files.append(path, f"{_stamp(now)} {did}\n", at=now)

    # --- services and processes ------------------------------------------------------------

    def _begin_services(self) -> None:
        for name, entry in SERVICES.items():
            if entry.roles in ("*", self.role):
                self.users.setdefault(entry.user, _FIRST_USER + len(self.users))
                self.services[name] = ServiceState(entry, self._pid(), self.boot + 20)

    def add_service(self, entry: ServiceEntry, now: float) -> None:
        """A package has brought a service, which runs at once."""
        self.users.setdefault(entry.user, _FIRST_USER + len(self.users))
        self.services[entry.name] = ServiceState(entry, self._pid(), now)

    def _pid(self) -> int:
        self._pids += self.rng.randrange(3, 40)
        return self._pids

    def start(self, name: str, now: float) -> None:
        """Have a service run, as a new process."""
        service = self.services[name]
        service.pid, service.since = self._pid(), now
        self.log(f"systemd[1]: Started {name}.service.", now)

    def stop(self, name: str, now: float) -> None:
        """Have a service run no more."""
        self.services[name].pid = None
        self.log(f"systemd[1]: Stopped {name}.service.", now)

    def process_table(self, now: float) -> list[PretendedProcess]:
        """All processes, as they are now."""
        since, entries = self.boot, []

        def row(pid: int, ppid: int, user: str, command: str, rss: int, started: float) -> None:
            dice = random.Random(f"{self.machine.seed}:{pid}")  # noqa: S311 - made up, no secret
            words = command.split() if command.startswith("/") else []
            entries.append(
                PretendedProcess(
                    pid=pid,
                    ppid=ppid,
                    user=user,
                    command=words[0].rpartition("/")[2] if words else command,
                    args=tuple(words),
                    rss=int(rss * dice.uniform(0.8, 1.2)),
                    cpu=round((now - started) * dice.uniform(0.0001, 0.01), 2),
                    started=round(started, 2),
                )
            )

        row(1, 0, "root", "/sbin/init", 12 * MIB, since)
        for place, name in enumerate(_KERNEL):
            row(2 + place, 0 if place == 0 else 2, "root", name, 0, since)
        row(230, 1, "root", "/usr/lib/systemd/systemd-journald", 40 * MIB, since + 2)
        row(NODE, 1, "root", "/opt/mcshell/bin/mcshell node", 46 * MIB, since + 30)
        for service in self.services.values():
            if service.pid is None:
                continue
            entry, size = service.entry, service.entry.size * MIB
            if self.machine.trouble == "leak" and entry.name == "shop":
                days = (now - service.since) / _DAY
                size = min(28 * _GIB, int(days * 1.1 * _GIB) + 310 * MIB)
            row(service.pid, 1, entry.user, entry.command, size, service.since)
            for child in range(1, entry.children + 1):
                pid = service.pid + child
                row(pid, service.pid, entry.user, entry.command, size, service.since)
        return entries

    def processes(self, now: float) -> list[dict[str, Any]]:
        """The process table as `System.processes` has it."""
        return [
            {
                "pid": one.pid,
                "ppid": one.ppid,
                "user": one.user,
                "command": one.command,
                "args": list(one.args),
                "rss_bytes": one.rss,
                "cpu_seconds": one.cpu,
                "state": one.state,
                "started": one.started,
                "uid": self.users.get(one.user),
            }
            for one in self.process_table(now)
        ]

    def end(self, pid: int, now: float) -> None:
        """A process has been killed: its service with it, a child of one is begun again."""
        for name, service in self.services.items():
            if service.pid == pid:
                service.pid = None
                self.log(f"systemd[1]: {name}.service: Main process exited, code=killed", now)

    # --- disks and load --------------------------------------------------------------------

    @property
    def disks(self) -> list[tuple[str, str, int, int]]:
        """Device, where it is mounted, size and what is used of it, in bytes."""
        dice = random.Random(f"{self.machine.seed}:disk")  # noqa: S311 - made up, no secret
        root, var = 40 * _GIB, 80 * _GIB
        used = int(root * dice.uniform(0.15, 0.5)), int(var * dice.uniform(0.1, 0.6))
        large = self.files.padding_below("/var")
        if self.machine.trouble == "full":
            used = used[0], var - 38 * _GIB
        return [
            ("/dev/vda1", "/", root, used[0]),
            ("/dev/vdb1", "/var", var, min(var, used[1] + large)),
        ]

    @property
    def full(self) -> bool:
        """Whether /var takes nothing more."""
        return any(size == used for _device, _mount, size, used in self.disks)

    def load(self, now: float) -> tuple[float, float, float]:
        """The load averages."""
        base = 31.0 if self.machine.trouble == "slow" else self.machine.facts["cpu"]["count"] / 6
        dice = random.Random(f"{self.machine.seed}:{int(now / 60)}")  # noqa: S311 - made up, no secret
        one, five, fifteen = (round(base * dice.uniform(0.7, 1.3), 2) for _ in range(3))
        return one, five, fifteen

    # --- files and logs --------------------------------------------------------------------

    @property
    def syslog(self) -> str:
        """Where the system logs to."""
        return "/var/log/messages" if self.rpm else "/var/log/syslog"

    def log(self, text: str, now: float) -> None:
        """A line of the system's log; a full disk takes none."""
        if not self.full:
            line = f"{_stamp(now)} {self.machine.identity} {text}\n"
            self.files.append(self.syslog, line, at=now)

    def grow(self, now: float) -> None:
        """What the application has logged since somebody last looked; a full disk takes no line."""
        full = self.full
        until = self._filled if full else now
        while self._grown + _LINE_EVERY <= until:
            self._grown += _LINE_EVERY
            self.files.append("/var/log/app.log", self._app_line(self._grown), at=self._grown)
        if full and self._grown < now:
            if self._grown <= self._filled:
                line = f"{_stamp(self._filled)} {self.role} ERROR write: No space left on device\n"
                self.files.append("/var/log/app.log", line, at=self._filled)
            self._grown = now

    def _app_line(self, at: float) -> str:
        dice = random.Random(f"{self.machine.seed}:{int(at)}")  # noqa: S311 - made up, no secret
        took = dice.randrange(4, 90)
        said = f"INFO request {dice.randrange(1 << 24):06x} done in {took} ms"
        if self.machine.trouble == "slow":
            said = f"WARN write to /var took {took * 40} ms"
        elif self.machine.trouble == "leak" and not dice.randrange(4):
            said = f"WARN heap {dice.randrange(24, 28)}.{dice.randrange(10)} GiB, collector busy {took} %"
        return f"{_stamp(at)} {self.role} {said}\n"

    def _furnish(self, now: float) -> None:
        name, facts, boot = self.machine.identity, self.machine.facts, self.boot
        install = boot - 40 * _DAY
        ip, system = facts["network"]["ip"], facts["os"]

        def add(path: str, text: str, mode: int = 0o644, at: float = install) -> None:
            self.files.add(path, text, mode, at=at)

        add("/etc/hostname", f"{name}\n")
        add("/etc/hosts", f"127.0.0.1\tlocalhost\n{ip}\t{name}\n")
        resolver = "10.9.9.9" if self.machine.trouble == "slow" else "10.0.0.1"
        add("/etc/resolv.conf", f"nameserver {resolver}\nsearch example.com\n")
        add("/etc/machine-id", f"{self.rng.randrange(1 << 128):032x}\n")
        full = system["release"]["full"]
        add(
            "/etc/os-release",
            f'NAME="{system["name"]}"\nVERSION_ID="{full}"\nID={system["name"].lower()}\n'
            f"VERSION_CODENAME={system['codename']}\n",
        )
        passwd = "".join(
            f"{user}:x:{uid}:{uid}::/home/{user}:/bin/sh\n" for user, uid in self.users.items()
        )
        add("/etc/passwd", passwd)
        add("/etc/group", "".join(f"{user}:x:{uid}:\n" for user, uid in self.users.items()))
        add("/etc/shadow", "".join(f"{user}:!:19700::::::\n" for user in self.users), 0o640)
        add("/etc/ssh/sshd_config", "PermitRootLogin no\nPasswordAuthentication no\n")
        add("/etc/chrony/chrony.conf", "pool time.example.com iburst\nmakestep 1 3\n")
        add("/etc/motd", f"{name}: a {self.role} in {facts['site']}\n")
        add("/etc/ssl/openssl.cnf", "[system_default_sect]\nMinProtocol = TLSv1.2\n")
        if "nginx" in self.packages:
            add(
                "/etc/nginx/nginx.conf", "worker_processes 4;\nevents { worker_connections 768; }\n"
            )
        self.files.add_folder("/run/systemd/system", at=boot)
        self.files.add_folder("/root", 0o700, at=install)
        self.files.add_folder("/tmp", 0o777, at=boot)  # noqa: S108 - the machine's own
        for user in self.users:
            self.files.add_folder(f"/home/{user}", 0o750, at=install)
        add("/var/lib/rpm/rpmdb.sqlite" if self.rpm else "/var/lib/dpkg/status", "", at=now)
        for path in ("/usr/share/zoneinfo/Etc/UTC", "/usr/share/doc/README"):
            add(path, f"{path}\n")
        self.files.add_link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC", at=install)
        self._furnish_logs(now)
        if self.machine.trouble == "full":
            path = "/var/lib/pgsql/backups/before-upgrade.dump"
            self.files.add(path, "PGDMP\n", at=now - 5 * _DAY, padding=38 * _GIB)

    def _furnish_logs(self, now: float) -> None:
        boot = f"{_stamp(self.boot)} {self.machine.identity} kernel: Linux {self.machine.facts['kernelrelease']}\n"
        started = "".join(
            f"{_stamp(self.boot + 20)} {self.machine.identity} systemd[1]: Started {name}.service.\n"
            for name in self.services
        )
        self.files.add(self.syslog, boot + started, at=self.boot + 20)
        version = self.packages.get("openssl", "")
        if self.machine.trouble != "old":
            self._note_package(f"upgrade openssl {version}", now - UPDATED * _DAY)


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
