"""Services: systemd's units, or init scripts with service(8) and update-rc.d(8)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mcshell.node.agent import (
    Agent,
    AgentError,
    Call,
    NodeView,
    ProgramResult,
    Unavailable,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:@_-]*\Z")
SYSTEMD = "/run/systemd/system"  # sd_booted(3): there when systemd runs the machine
Row = dict[str, Any]


class Service(Agent):
    """State and change of services, whichever service manager the node has.

    Attributes:
        provider: `systemd` or `sysv`; by default what runs this machine.
        scope: `system`, or `user` for the units of the daemon's own user.
        root: sysv: another root with `etc/init.d` (not for enable and disable).
    """

    name = "service"
    settings: ClassVar = {"provider": "text", "scope": "text", "root": "text"}

    def activate(self, node: NodeView) -> None:
        """Needs systemd, or service(8) and init scripts."""
        _manager(node)

    def status(self, call: Call) -> dict[str, Any]:
        """Whether it runs and whether it starts at boot."""
        return self._manager(call).state(call, _name(call))

    def start(self, call: Call) -> dict[str, Any]:
        """Start it; one that runs is left alone."""
        return self._run(call, "start", wanted=True)

    def stop(self, call: Call) -> dict[str, Any]:
        """Stop it; one that does not run is left alone."""
        return self._run(call, "stop", wanted=False)

    def restart(self, call: Call) -> dict[str, Any]:
        """Restart it; one that does not run is started."""
        return self._run(call, "restart", wanted=True)

    def enable(self, call: Call) -> dict[str, Any]:
        """Have it started at boot."""
        return self._boot(call, "enable", wanted=True)

    def disable(self, call: Call) -> dict[str, Any]:
        """Have it no longer started at boot."""
        return self._boot(call, "disable", wanted=False)

    def _manager(self, call: Call) -> Manager:
        return _manager(call.node)

    def _run(self, call: Call, verb: str, *, wanted: bool) -> dict[str, Any]:
        manager, name = self._manager(call), _name(call)
        before = manager.state(call, name)
        idle = verb != "restart" and before["running"] is wanted
        outcome = None if idle else manager.do(call, verb, name)
        after = manager.state(call, name)
        row = {**after, "before": before["status"], "changed": not idle}
        if outcome is not None and not outcome.ok:
            raise AgentError(f"cannot {verb} {name}: {outcome.why()}", data=row)
        # A script may say "ok" and lie. One that cannot tell its status is taken at its word.
        if after["running"] is (not wanted):
            raise AgentError(f"{verb} {name}: it is {after['status']} now", data=row)
        return row

    def _boot(self, call: Call, verb: str, *, wanted: bool) -> dict[str, Any]:
        manager, name = self._manager(call), _name(call)
        before = manager.state(call, name)
        idle = before["enabled"] is wanted
        outcome = None if idle else manager.do(call, verb, name)
        after = manager.state(call, name)
        said = {True: "enabled", False: "disabled", None: "unknown"}[before["enabled"]]
        row = {**after, "before": said, "changed": before["enabled"] is not after["enabled"]}
        if outcome is not None and not outcome.ok:
            raise AgentError(f"cannot {verb} {name}: {outcome.why()}", data=row)
        if after["enabled"] is not wanted:
            raise AgentError(f"cannot {verb} {name}: its unit has no [Install] section", data=row)
        return row


class Manager(Protocol):
    """What a service manager has to offer."""

    def state(self, call: Call, name: str) -> Row:
        """The outputs of `status`; AgentError when there is no such service."""

    def do(self, call: Call, verb: str, name: str) -> ProgramResult:
        """Do start, stop, restart, enable or disable."""


def _name(call: Call) -> str:
    name = str(call["name"])
    if not NAME.match(name):
        raise AgentError(f"{name!r} is not the name of a service", statuscode=4)
    return name


def _manager(node: NodeView) -> Manager:
    settings, system = node.settings(Service.name), node.system
    provider = settings.get("provider") or ("systemd" if system.exists(SYSTEMD) else "sysv")
    if provider == "systemd":
        if not system.which("systemctl"):
            raise Unavailable("service: systemd runs here, but there is no systemctl")
        return Systemd(str(settings.get("scope", "system")))
    if provider == "sysv":
        root = Path(str(settings.get("root", "/")))
        if not system.exists(str(root / "etc/init.d")):
            raise Unavailable(f"service: neither systemd nor init scripts in {root}etc/init.d")
        return Sysv(root)
    raise Unavailable(f"service: unknown provider {provider!r} (systemd or sysv)")


def parse_show(lines: Iterable[str], name: str) -> Row:
    """Read `systemctl show` into the outputs of `status`.

    Raises:
        AgentError: systemd does not know the unit, or cannot read its file.
    """
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    load, active = found.get("LoadState", ""), found.get("ActiveState", "")
    if load == "not-found":
        raise AgentError(f"no such service: {name}")
    if load in ("error", "bad-setting"):
        raise AgentError(f"systemd cannot read the unit of {name} ({load})")
    status = {
        "active": "running",
        "reloading": "running",
        "inactive": "stopped",
        "failed": "failed",
        "activating": "starting",
        "deactivating": "stopping",
    }.get(active, "unknown")
    # static, indirect, generated, transient and alias units cannot be enabled by themselves.
    enabled = {"enabled": True, "disabled": False, "masked": False, "enabled-runtime": True}
    pid = int(found.get("MainPID") or 0)
    return {
        "name": name,
        "status": status,
        "running": status == "running",
        "enabled": enabled.get(found.get("UnitFileState", "")),
        "pid": pid or None,
        "provider": "systemd",
    }


class Systemd:
    """Units, by systemctl(1)."""

    _properties = "LoadState,ActiveState,MainPID,UnitFileState"

    def __init__(self, scope: str) -> None:
        self._scope = ["--user"] if scope == "user" else ["--system"]

    def _run(self, call: Call, *argv: str) -> ProgramResult:
        head = ["systemctl", *self._scope, "--no-pager", "--no-ask-password"]
        return run(call, [*head, *argv], env={"LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"})

    def state(self, call: Call, name: str) -> Row:
        """Ask `systemctl show`, whose form is made to be read by programs."""
        outcome = self._run(call, "show", f"--property={self._properties}", "--", _unit(name))
        if not outcome.ok:
            raise AgentError(f"systemctl: {outcome.why()}")
        return parse_show(outcome.lines, name)

    def do(self, call: Call, verb: str, name: str) -> ProgramResult:
        """Let systemctl do it and wait for it."""
        return self._run(call, verb, "--", _unit(name))


def _unit(name: str) -> str:
    kinds = (".service", ".socket", ".timer", ".target", ".path", ".mount")
    return name if name.endswith(kinds) else f"{name}.service"


class Sysv:
    """Init scripts, their status by the exit codes of the LSB."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _script(self, name: str) -> Path:
        script = self._root / "etc/init.d" / name
        if not script.is_file() or not os.access(script, os.X_OK):
            raise AgentError(f"no such service: {name}")
        return script

    def _call(self, call: Call, name: str, verb: str) -> ProgramResult:
        if self._root == Path("/") and call.node.system.which("service"):
            return run(call, ["service", name, verb])
        # What service(8) does, which knows no other root: run it in / with a clean environment.
        keep = [f"{key}={value}" for key, value in os.environ.items() if key in ("PATH", "LANG")]
        return run(call, ["env", "-i", *keep, str(self._script(name)), verb], cwd="/")

    def state(self, call: Call, name: str) -> Row:
        """Ask the script and look at the links of the runlevels."""
        self._script(name)
        outcome = self._call(call, name, "status")
        if outcome.ended != "exit":
            raise AgentError(f"status of {name}: {outcome.why()}")
        usage = b"usage:" in (outcome.stdout + outcome.stderr).lower()
        # LSB: 0 runs, 1 and 2 dead with leftovers, 3 stopped, 4 and more unknown.
        status = {0: "running", 1: "failed", 2: "failed", 3: "stopped"}.get(
            -1 if usage or outcome.exitcode is None else outcome.exitcode, "unknown"
        )
        running = {"running": True, "failed": False, "stopped": False}.get(status)
        return {
            "name": name,
            "status": status,
            "running": running,
            "enabled": any(self._root.glob(f"etc/rc[2345S].d/S[0-9][0-9]{name}")),
            "pid": None,
            "provider": "sysv",
        }

    def do(self, call: Call, verb: str, name: str) -> ProgramResult:
        """Run the script, or let update-rc.d set the links."""
        if verb not in ("enable", "disable"):
            return self._call(call, name, verb)
        if self._root != Path("/"):
            raise AgentError(
                f"cannot {verb} {name}: update-rc.d(8) works on the machine's own root"
            )
        if not call.node.system.which("update-rc.d"):
            raise AgentError(f"cannot {verb} {name}: there is no update-rc.d here")
        if not any(self._root.glob(f"etc/rc?.d/[SK][0-9][0-9]{name}")):
            outcome = run(call, ["update-rc.d", name, "defaults"])
            if not outcome.ok:
                return outcome
        return run(call, ["update-rc.d", name, verb])
