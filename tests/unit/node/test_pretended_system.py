"""The agents that ship, on machines that are made up: a fleet's answers, and nothing of this host."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from mcshell.node.emulator.machines import Machine, machine, named_by_role, numbered
from mcshell.node.emulator.pretended_system import PretendedSystem
from mcshell.node.testing import AgentTester, TestNode

FLEET = {one.identity: one for one in named_by_role(25, 1)}
SYSTEMS = ("web01", "worker02", "db02", "monitor01")  # one of each operating system


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts a process here has reached this host."""

    def refuse(*words: object, **_more: object) -> None:
        raise AssertionError(f"a process was started: {words}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def on(identity: str) -> AgentTester:
    """The agents on a new machine of that name."""
    made = FLEET[identity]
    return AgentTester(
        node=TestNode(identity=identity, facts=made.facts, system=PretendedSystem(made))
    )


def said(tester: AgentTester, *argv: str) -> str:
    """What a program there writes."""
    return str(tester.call("exec", "run", argv=list(argv))["stdout"])


def test_roles_are_names_and_numbers_stay() -> None:
    """25 machines by role are web01 to web10 and db01 to db03 with others; numbered ones are emu0001 and on."""
    assert {name for name in FLEET if name.startswith("web")} == {
        f"web{number:02}" for number in range(1, 11)
    }
    assert {name for name in FLEET if name.startswith("db")} == {"db01", "db02", "db03"}
    assert [one.identity for one in numbered("emu", 2, 1)] == ["emu0001", "emu0002"]
    assert machine("emu0001", 1, 1) == next(numbered("emu", 1, 1))
    assert all(one.facts["role"] in name for name, one in FLEET.items())


@pytest.mark.parametrize("name", SYSTEMS)
def test_packages_come_and_go(name: str) -> None:
    """On each kind of system a package is absent, installed, found, removed and absent again."""
    tester = on(name)
    assert not tester.call("package", "status", name="tmux")["installed"]
    assert tester.call("package", "install", name="tmux")["changed"]
    assert tester.call("package", "status", name="tmux")["installed"]
    assert tester.call("package", "search", name="tmux")["packages"][0]["installed"]
    assert tester.call("package", "remove", name="tmux")["changed"]
    assert not tester.call("package", "status", name="tmux")["installed"]
    assert tester.call("package", "status")["count"] > 10
    assert "no such package" in str(tester.fails("package", "install", name="nonesuch"))


def test_an_update_updates() -> None:
    """The machine that missed its updates has the others' version afterwards, and says so in its log."""
    tester, peer = on("web02"), on("web01")
    newest = peer.call("package", "status", name="openssl")["version"]
    assert tester.call("package", "status", name="openssl")["version"] != newest
    assert tester.call("package", "update", name="openssl")["after"] == newest
    assert tester.call("package", "status", name="openssl")["version"] == newest
    assert newest in said(tester, "dpkg-query", "-W", "openssl")
    assert "upgrade openssl" in said(tester, "tail", "-n", "1", "/var/log/dpkg.log")


def test_a_week_ago_it_was_another_version() -> None:
    """A machine as of a week ago has the version before this week's update."""
    made = FLEET["web01"]
    before = TestNode(identity="web01", facts=made.facts, system=PretendedSystem(made, age=7.0))
    versions = {
        AgentTester(node=one).call("package", "status", name="openssl")["version"]
        for one in (before, on("web01").node)
    }
    assert len(versions) == 2


@pytest.mark.parametrize("name", SYSTEMS)
def test_services_are_restarted(name: str) -> None:
    """A restart gives another process; stopped is stopped, in `ps` too; what is none says so."""
    tester = on(name)
    before = tester.call("service", "status", name="chrony")["pid"]
    assert tester.call("service", "restart", name="chrony")["pid"] != before
    assert tester.call("service", "stop", name="chrony")["status"] == "stopped"
    assert not tester.call("process", "list", pattern="chronyd")["count"]
    assert not tester.call("service", "disable", name="chrony")["enabled"]
    assert tester.call("service", "start", name="chrony")["running"]
    assert "no such service" in str(tester.fails("service", "status", name="nonesuch"))


def test_a_signal_ends_a_process() -> None:
    """A killed process is gone, and its service with it; init and the node's own are spared."""
    tester = on("web01")
    assert tester.call("process", "signal", command="shopd", signal="KILL")["count"] == 1
    assert tester.call("service", "status", name="shop")["status"] == "stopped"
    assert tester.fails("process", "signal", command="mcshell").data["spared"]


def test_files_are_the_machines_own() -> None:
    """Files are read, followed, denied and counted as real ones are, and none is this host's."""
    tester = on("web01")
    assert tester.call("file", "read", path="/etc/hostname")["content"] == "web01\n"
    assert tester.call("file", "stat", path="/etc/localtime")["link"].startswith("/usr/share")
    assert not tester.call("file", "stat", path="/etc/nonesuch")["exists"]
    assert tester.call("file", "tail", path="/var/log/app.log", lines=20)["lines"] == 20
    assert "is not shown" in str(tester.fails("file", "read", path="/etc/shadow"))
    assert "no such file" in str(tester.fails("file", "read", path="/etc/debian_chroot"))
    assert "not below the roots" in str(tester.fails("file", "read", path=sys.executable))
    assert "No such file" in str(tester.fails("exec", "run", argv=["cat", str(Path(__file__))]))


def test_a_full_disk_takes_nothing_until_there_is_room() -> None:
    """The full machine cannot install; once the dump is removed it can."""
    tester = on("db01")
    assert "100%" in said(tester, "df", "-h", "/var")
    assert "more space needed" in str(tester.fails("package", "install", name="tmux"))
    said(tester, "rm", "/var/lib/pgsql/backups/before-upgrade.dump")
    assert tester.call("package", "install", name="tmux")["changed"]


def test_what_the_shell_knows() -> None:
    """Words stay words, a script has pipes and files, and what is not known is one line."""
    tester = on("web01")
    words = ["printf", "[%s]", "it's", 'say "hi"', "$HOME", "*"]
    assert said(tester, *words) == '[it\'s][say "hi"][$HOME][*]'
    assert (
        said(tester, "sh", "-c", "echo one > /tmp/a; echo two >> /tmp/a; cat /tmp/a | wc -l")
        == "2\n"
    )
    assert said(tester, "sh", "-c", "false && echo no || echo yes") == "yes\n"
    assert said(tester, "sudo", "hostname") == "web01\n"
    assert "load average" in said(tester, "uptime")
    error = tester.fails("exec", "run", argv=["ffmpeg", "-i"])
    assert "no such program: ffmpeg" in str(error)
    assert tester.fails("exec", "run", argv=["sleep", "9"], timeout=0.05).data["exitcode"] is None


def test_a_reboot_begins_anew() -> None:
    """A machine that reboots is down for a while, and then up since then."""

    class Clocked(PretendedSystem):
        """One whose clock the test has."""

        at = 2e9

        def _now(self) -> float:
            return self.at

    made: Machine = FLEET["web03"]
    system = Clocked(made)
    tester = AgentTester(node=TestNode(identity="web03", facts=made.facts, system=system))
    before = system.facts()["uptime_seconds"]
    said(tester, "reboot")
    assert not system.up
    system.at += 60
    assert system.up
    assert system.facts()["uptime_seconds"] < 60 < before
    assert tester.call("service", "status", name="nginx")["running"]


def test_files_come_to_it_and_go() -> None:
    """They are put there in chunks, listed and fetched, and nothing of it is on this host."""
    content = b"x" * 5000
    announced = {"path": "/srv/app", "size": 5000, "chunk": 4096}
    announced |= {
        "sha256": hashlib.sha256(content).hexdigest(),
        "mode": "0640",
        "owner": "www-data",
    }
    tester = on("web01")
    tester.configure("file", write=["/srv"], roots=["/srv"])
    tester.node.tells_all_files = True
    first = tester.call("file", "put", **announced, offset=4096, content=content[4096:])
    assert (first["result"], first["missing"]) == ("partial", [[0, 0]])
    assert tester.call("file", "put", **announced, content=content[:4096])["result"] == "written"
    assert tester.call("file", "put", **announced)["result"] == "same"
    (entry,) = tester.call("file", "list", path="/srv")["entries"]
    assert (entry["name"], entry["size"], entry["owner"]) == ("app", 5000, "www-data")
    assert tester.call("file", "get", path="/srv/app", length=5000)["content"] == content
    assert not Path("/srv/app").exists()
    tester.configure("file", write=["/srv"], keep_free=1 << 60)
    error = tester.fails("file", "put", **{**announced, "path": "/srv/more"})
    assert "no space left" in str(error)
