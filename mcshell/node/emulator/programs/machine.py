"""Programs that tell of the machine and its processes."""

from __future__ import annotations

import time
from typing import Final

from mcshell.node.emulator.programs.program import ProgramCall, Said, program
from mcshell.node.emulator.state import MIB

_GIB: Final = 1 << 30


@program("hostname", "uname", "whoami", "id", "pwd", "nproc", "arch")
def _who(run: ProgramCall) -> Said:
    facts = run.machine.machine.facts
    name = str(facts["fqdn"])
    if run.name == "uname":
        parts = {"s": "Linux", "n": name, "r": facts["kernelrelease"], "m": "x86_64"}
        letters = "".join(run.options).replace("-", "") or "s"
        wanted = "snrm" if "a" in letters else [one for one in "snrm" if one in letters]
        return Said(" ".join(parts[one] for one in wanted) + "\n")
    if run.name == "hostname" and run.options in (["-I"], ["-i"]):
        return Said(f"{facts['network']['ip']}\n")
    said = {
        "hostname": name,
        "whoami": "root",
        "id": "uid=0(root) gid=0(root) groups=0(root)",
        "pwd": run.cwd,
        "nproc": str(facts["cpu"]["count"]),
        "arch": "x86_64",
    }
    return Said(f"{said[run.name]}\n")


@program("date")
def _date(run: ProgramCall) -> Said:
    form = next((word[1:] for word in run.words[1:] if word.startswith("+")), "%c")
    return Said(
        time.strftime(form if form != "%c" else "%a %b %e %H:%M:%S UTC %Y", time.gmtime(run.now))
        + "\n"
    )


@program("uptime")
def _uptime(run: ProgramCall) -> Said:
    up = int(run.now - run.machine.boot)
    if run.options == ["-s"]:
        return Said(time.strftime("%Y-%m-%d %H:%M:%S\n", time.gmtime(run.machine.boot)))
    days, clock = divmod(up, 86400)
    since = f"{days} days, " if days > 1 else f"{days} day, " if days else ""
    hours = f"{clock // 3600:2d}:{clock % 3600 // 60:02d}"
    load = ", ".join(f"{one:.2f}" for one in run.machine.load(run.now))
    at = time.strftime("%H:%M:%S", time.gmtime(run.now))
    return Said(f" {at} up {since}{hours},  0 users,  load average: {load}\n")


@program("lsb_release")
def _lsb_release(run: ProgramCall) -> Said:
    system = run.machine.machine.facts["os"]
    return Said(
        f"Description:\t{system['name']} {system['release']['full']} ({system['codename']})\n"
    )


@program("ip")
def _ip(run: ProgramCall) -> Said:
    address = run.machine.machine.facts["network"]["ip"]
    return Said(
        f"lo               UNKNOWN        127.0.0.1/8 ::1/128\neth0             UP             {address}/16\n"
    )


@program("ss", "netstat")
def _ss(run: ProgramCall) -> Said:
    ports = {"ssh": 22, "nginx": 80, "shop": 8080, "postgresql": 5432, "redis-server": 6379}
    lines = ["State  Local Address:Port"]
    for name, service in run.machine.services.items():
        if service.pid is not None and name in ports:
            lines.append(f"LISTEN 0.0.0.0:{ports[name]:<5} {name}")
    return Said("\n".join(lines) + "\n")


@program("df")
def _df(run: ProgramCall) -> Said:
    human = any("h" in one for one in run.options)
    lines = [f"{'Filesystem':<12} {'Size':>9} {'Used':>9} {'Avail':>9} Use% Mounted on"]
    where = [run.path(one) for one in run.operands]
    disks = run.machine.disks
    if where:
        mounts = {("/var" if f"{one}/".startswith("/var/") else "/") for one in where}
        disks = [one for one in disks if one[1] in mounts]

    def text(size: int) -> str:
        return f"{size / _GIB:.0f}G" if human else str(size // 1024)

    for device, mount, size, used in disks:
        cells = f"{text(size):>9} {text(used):>9} {text(size - used):>9}"
        lines.append(f"{device:<12} {cells} {-(-used * 100 // size):>3}% {mount}")
    return Said("\n".join(lines) + "\n")


@program("free")
def _free(run: ProgramCall) -> Said:
    memory = run.machine.machine.facts["memory"]
    unit = MIB if {"-m", "-h"} & set(run.options) else 1024
    total, free = memory["total_bytes"] // unit, memory["available_bytes"] // unit
    return Said(
        f"{'':<7}{'total':>12}{'used':>12}{'available':>12}\n"
        f"{'Mem:':<7}{total:>12}{total - free:>12}{free:>12}\n{'Swap:':<7}{0:>12}{0:>12}{0:>12}\n"
    )


@program("ps")
def _ps(run: ProgramCall) -> Said:
    rows = run.machine.process_table(run.now)
    if any("rss" in word for word in run.words):
        rows.sort(key=lambda one: -one.rss)
    lines = [f"{'USER':<12} {'PID':>6} {'PPID':>6} {'RSS':>9} COMMAND"]
    lines += [
        f"{one.user:<12} {one.pid:>6} {one.ppid:>6} {one.rss // 1024:>9} "
        f"{' '.join(one.args) or f'[{one.command}]'}"
        for one in rows
    ]
    return Said("\n".join(lines) + "\n")


@program("pgrep", "pidof")
def _pgrep(run: ProgramCall) -> Said:
    wanted = run.operands[-1] if run.operands else ""
    found = [
        one.pid for one in run.machine.process_table(run.now) if wanted and wanted in one.command
    ]
    return Said("".join(f"{pid}\n" for pid in found), code=0 if found else 1)


@program("kill")
def _kill(run: ProgramCall) -> Said:
    alive = {one.pid for one in run.machine.process_table(run.now)}
    for word in run.operands:
        if not word.isdecimal() or int(word) not in alive:
            return run.fails(f"({word}) - No such process")
        run.machine.end(int(word), run.now)
    return Said()
