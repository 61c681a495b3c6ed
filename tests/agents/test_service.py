"""service: a real init script and a real systemd, each in a place of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mcshell.errors import InputError
from tests.peers.debian import SCRIPT

ROOT = Path(__file__).parents[2]

UNIT = """[Unit]
Description=tests
[Service]
ExecStart=/bin/sleep 600
[Install]
WantedBy=default.target
"""


def namespaced(*argv: str) -> list[str]:
    """Run a program in a mount namespace of its own, as root or without."""
    maps = [] if os.getuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *maps, *argv]


def until(condition, seconds=30.0):
    """Wait for a condition; False when it does not come in time."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def script(tmp_path):
    """An init script below etc/init.d of a root; what it started is ended."""
    folder = tmp_path / "etc/init.d"
    folder.mkdir(parents=True)
    path = folder / "tick"
    path.write_text(SCRIPT.format(name="tick", folder=tmp_path))
    path.chmod(0o755)
    yield path
    pidfile = tmp_path / "tick.pid"
    if pidfile.exists():
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


@pytest.fixture
def sysv(tester, tmp_path, script):
    """The tester, set to the init scripts of the test's root."""
    tester.configure("service", provider="sysv", root=str(tmp_path))
    return tester


def test_an_init_scripts_life(sysv):
    """Start, restart and stop a real init script; each says what was before and what changed."""
    call = sysv.call
    assert call("service", "status", name="tick")["status"] == "stopped"
    found = call("service", "start", name="tick")
    assert (found["before"], found["status"], found["changed"]) == ("stopped", "running", True)
    assert found["provider"] == "sysv"
    assert call("service", "start", name="tick")["changed"] is False
    assert call("service", "status", name="tick")["running"] is True
    again = call("service", "restart", name="tick")
    assert (again["before"], again["status"], again["changed"]) == ("running", "running", True)
    found = call("service", "stop", name="tick")
    assert (found["status"], found["running"], found["changed"]) == ("stopped", False, True)
    assert call("service", "stop", name="tick")["changed"] is False


def test_a_started_service_outlives_the_call(sysv, tmp_path):
    """What an init script leaves running is no part of the call and stays."""
    sysv.call("service", "start", name="tick")
    pid = int((tmp_path / "tick.pid").read_text())
    os.kill(pid, 0)
    assert sysv.call("service", "status", name="tick")["running"] is True


def test_a_died_service_is_failed(sysv, tmp_path):
    """A pid file without its process is the LSB's "dead": failed, and start brings it back."""
    sysv.call("service", "start", name="tick")
    pid = int((tmp_path / "tick.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: sysv.call("service", "status", name="tick")["status"] == "failed")
    assert sysv.call("service", "start", name="tick")["before"] == "failed"


def test_a_script_that_fails_is_a_failure(sysv, script):
    """The exit code and the last line of the script are the answer, its state is in the data."""
    script.write_text(script.read_text().replace("start)", "start) echo 'no disk' >&2; exit 5;"))
    error = sysv.fails("service", "start", name="tick")
    assert str(error) == "cannot start tick: exit code 5: no disk"
    assert error.data["status"] == "stopped"


def test_a_script_that_lies_is_found_out(sysv, script):
    """A start that says "ok" and starts nothing is a failure."""
    script.write_text(script.read_text().replace("start)", "start) exit 0;"))
    assert str(sysv.fails("service", "start", name="tick")) == "start tick: it is stopped now"


def test_a_script_without_status_is_unknown(sysv, script):
    """A script that cannot tell its status is unknown, neither running nor stopped."""
    script.write_text(script.read_text().replace("status)", "nostatus)"))
    found = sysv.call("service", "status", name="tick")
    assert (found["status"], found["running"]) == ("unknown", None)
    assert sysv.call("service", "start", name="tick")["changed"] is True


def test_a_script_that_hangs_is_ended(sysv, script):
    """Out of time, the script is stopped and the answer still comes."""
    script.write_text(script.read_text().replace("start)", "start) sleep 600;"))
    assert "out of time" in str(sysv.fails("service", "start", name="tick", within=6))


@pytest.mark.parametrize("action", ["status", "start", "stop", "enable"])
def test_an_unknown_init_script_is_named(sysv, action):
    """A service that is not there is a failure of every action."""
    assert str(sysv.fails("service", action, name="nosuch")) == "no such service: nosuch"


@pytest.mark.parametrize("name", ["", "-h", "../../bin/sh", "a b", "a;b", "/etc/init.d/x"])
def test_names_that_are_no_names(tester, name):
    """A name is no path and no option."""
    with pytest.raises(InputError):
        tester.call("service", "status", name=name)


def on_the_machine_itself(script: Path, *actions: str) -> list[dict]:
    """Run actions with no root set: the test's folders lie over /etc's in a private namespace."""
    code = (
        "import json, sys; from tests.agents.conftest import Kit; tester = Kit();"
        "tester.configure('service', provider='sysv');"
        "print(json.dumps([tester.call('service', action, name='tick') for action in sys.argv[1:]]))"
    )
    mounts = [f"mount --bind {script.parent} /etc/init.d"]
    for folder in sorted(Path("/etc").glob("rc?.d")):
        private = script.parents[1] / folder.name
        private.mkdir()
        mounts.append(f"mount --bind {private} {folder}")
    shell = " && ".join([*mounts, 'exec "$0" "$@"'])
    argv = namespaced("sh", "-c", shell, sys.executable, "-c", code, *actions)
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_service_8_is_used_on_the_machine_itself(script):
    """Without another root the real service(8) runs the script."""
    found = on_the_machine_itself(script, "status", "start", "status", "stop", "status")
    states = [row["status"] for row in found]
    assert states == ["stopped", "running", "running", "stopped", "stopped"]


def test_an_init_script_at_boot(script, tmp_path):
    """The real update-rc.d sets and turns the links of the runlevels."""
    found = on_the_machine_itself(
        script, "status", "enable", "enable", "disable", "status", "enable"
    )
    assert [row["enabled"] for row in found] == [False, True, True, False, False, True]
    assert [row.get("changed") for row in found] == [None, True, False, True, None, True]
    assert found[1]["before"] == "disabled"
    assert [path.name for path in tmp_path.glob("etc/rc2.d/*")] == ["S01tick"]


def test_another_root_has_no_update_rc_d(sysv):
    """With a root set, enable says that it cannot."""
    assert "machine's own root" in str(sysv.fails("service", "enable", name="tick"))


@pytest.fixture
def systemd(tester, tmp_path, monkeypatch):
    """A real systemd user instance with one unit, and the tester set to it.

    systemd wants to see that systemd runs the machine: a private /run shows it that.
    """
    program = next(
        (
            path
            for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
            if Path(path).exists()
        ),
        None,
    )
    if program is None or shutil.which("systemctl") is None:
        pytest.skip("needs Debian's systemd")
    units = tmp_path / "config/systemd/user"
    units.mkdir(parents=True)
    (tmp_path / "run").mkdir(mode=0o700)
    (units / "tick.service").write_text(UNIT)
    (units / "static.service").write_text(UNIT.partition("[Install]")[0])
    (units / "broken.service").write_text(UNIT.replace("/bin/sleep 600", "/bin/false"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    shell = (
        f"mount -t tmpfs none /run && mkdir -p /run/systemd/system && "
        f"exec {program} --user --log-target=console"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(namespaced("sh", "-c", shell), stdout=log, stderr=log)
    tester.configure("service", provider="systemd", scope="user")
    try:
        there = (tmp_path / "run/systemd/private").exists
        ended = lambda: process.poll() is not None  # noqa: E731 - a condition to wait for
        assert until(lambda: there() or ended()), "systemd did not come up"
        assert not ended(), (tmp_path / "log").read_text()
        yield tester
    finally:
        process.terminate()
        process.wait(30)


def test_a_systemd_units_life(systemd):
    """Start, restart and stop a real unit under a real systemd."""
    call = systemd.call
    assert call("service", "status", name="tick")["status"] == "stopped"
    found = call("service", "start", name="tick")
    assert (found["before"], found["status"], found["changed"]) == ("stopped", "running", True)
    assert found["provider"] == "systemd"
    assert b"sleep" in Path(f"/proc/{found['pid']}/cmdline").read_bytes()
    assert call("service", "start", name="tick.service")["changed"] is False
    again = call("service", "restart", name="tick")
    assert again["status"] == "running"
    assert again["pid"] != found["pid"]
    found = call("service", "stop", name="tick")
    assert (found["status"], found["pid"], found["changed"]) == ("stopped", None, True)


def test_a_systemd_unit_at_boot(systemd):
    """Enable and disable a unit; one without an [Install] section says that it cannot be."""
    call = systemd.call
    assert call("service", "status", name="tick")["enabled"] is False
    found = call("service", "enable", name="tick")
    assert (found["before"], found["enabled"], found["changed"]) == ("disabled", True, True)
    assert call("service", "disable", name="tick")["enabled"] is False
    assert call("service", "status", name="static")["enabled"] is None
    assert "no [Install] section" in str(systemd.fails("service", "enable", name="static"))


def test_what_systemd_does_not_know(systemd):
    """A unit that is not there, and one whose program fails at once, each say so."""
    assert str(systemd.fails("service", "start", name="nosuch")) == "no such service: nosuch"
    systemd.node.configured["service"]["provider"] = "systemd"
    assert systemd.call("service", "status", name="broken")["status"] == "stopped"


def test_a_machine_without_a_service_manager(tester, tmp_path):
    """Where neither systemd nor init scripts are, the agent says so and does not activate."""
    tester.configure("service", provider="sysv", root=str(tmp_path))
    assert "neither systemd nor init scripts" in str(tester.fails("service", "status", name="x"))
    tester.configure("service", provider="upstart")
    assert "unknown provider" in str(tester.fails("service", "status", name="x"))


@pytest.mark.parametrize(
    ("lines", "status", "enabled"),
    [
        (["LoadState=loaded", "ActiveState=failed", "UnitFileState=enabled"], "failed", True),
        (["LoadState=loaded", "ActiveState=activating", "UnitFileState="], "starting", None),
        (["LoadState=masked", "ActiveState=inactive", "UnitFileState=masked"], "stopped", False),
        (["LoadState=loaded", "ActiveState=reloading", "UnitFileState=static"], "running", None),
    ],
)
def test_states_of_systemd(tester, lines, status, enabled):
    """Each of systemd's states has its word; a unit that cannot be enabled is null."""
    found = tester.module("service").parse_show(lines, "x")
    assert (found["status"], found["enabled"]) == (status, enabled)
