"""Programs that start and stop services, and the machine itself."""

from __future__ import annotations

import time

from mcshell.node.emulator.programs.program import ProgramCall, Said, program


@program("systemctl")
def _systemctl(run: ProgramCall) -> Said:
    verb, *names = run.operands or ["list-units"]
    machine = run.machine
    if verb in ("list-units", "status") and not names:
        lines = [
            f"{name + '.service':<24} loaded {'active' if one.pid else 'inactive'}"
            for name, one in machine.services.items()
        ]
        return Said("".join(f"{line}\n" for line in lines))
    if verb in ("reboot", "poweroff", "halt"):
        return _power(run.instead(verb))
    for name in (one.removesuffix(".service") for one in names):
        if name not in machine.services:
            if verb == "show":
                return Said("LoadState=not-found\nActiveState=inactive\nMainPID=0\n")
            return Said("", f"Unit {name}.service could not be found.\n", 4)
        said = _service(run, verb, name)
        if said is not None:
            return said
    return Said()


def _service(run: ProgramCall, verb: str, name: str) -> Said | None:
    machine, service = run.machine, run.machine.services[name]
    active = "active" if service.pid else "inactive"
    enabled = "enabled" if service.enabled else "disabled"
    if verb == "show":
        rows = f"LoadState=loaded\nActiveState={active}\nMainPID={service.pid or 0}\n"
        return Said(f"{rows}UnitFileState={enabled}\n")
    if verb in ("is-active", "is-enabled"):
        said = active if verb == "is-active" else enabled
        return Said(f"{said}\n", code=0 if said in ("active", "enabled") else 3)
    if verb == "status":
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(service.since))
        head = f"{name}.service - {service.entry.command}\n   Loaded: loaded ({enabled})\n"
        return Said(f"{head}   Active: {active} since {since}\n", code=0 if service.pid else 3)
    if verb in ("stop", "restart") and service.pid:
        machine.stop(name, run.now)
    if verb in ("start", "restart") and not service.pid:
        if machine.full and name == "postgresql":
            machine.services[name].pid = None
            return Said("", f"Job for {name}.service failed: No space left on device\n", 1)
        machine.start(name, run.now)
    if verb in ("enable", "disable"):
        service.enabled = verb == "enable"
    if verb not in ("start", "stop", "restart", "reload", "enable", "disable"):
        return run.fails(f"this emulated machine does not know `systemctl {verb}`")
    return None


@program("service")
def _sysv(run: ProgramCall) -> Said:
    if len(run.operands) != 2:  # noqa: PLR2004 - a name and a verb
        return run.fails("service NAME start|stop|restart|status is meant")
    name, verb = run.operands
    return _systemctl(run.instead("systemctl", verb, name))


@program("reboot", "poweroff", "halt", "shutdown")
def _power(run: ProgramCall) -> Said:
    again = run.name == "reboot" or "-r" in run.options
    run.machine.power_off(run.now, again=again)
    return Said(f"{'reboots' if again else 'goes down'} now\n")
