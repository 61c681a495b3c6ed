"""package: apt against a root of the test's own with a repository of tiny real packages."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time

import pytest

from mcshell.errors import InputError
from mcshell.node.agent import AgentError, ProgramResult
from tests.peers.debian import Repository


@pytest.fixture
def repo(tmp_path, tester):
    """A repository with tiny 1.0-1 in it, and the agent set to its root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: dpkg installs for nobody else")
    found = Repository(tmp_path)
    found.add("tiny", "1.0-1")
    tester.configure("package", root=str(found.root), provider="apt", lock_wait=0)
    return found


def test_status_agrees_with_dpkg_about_every_package(tester):
    """Without a name all installed packages of this machine are listed, as dpkg knows them."""
    command = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    expected = {tuple(line.split()[1:]) for line in lines if line.startswith("installed ")}
    began = time.monotonic()
    found = tester.call("package", "status")
    assert time.monotonic() - began < 60
    assert {(row["name"], row["version"]) for row in found["packages"]} == expected
    assert found["count"] == len(found["packages"])
    assert found["provider"] == "apt"


def test_status_of_one_package_of_this_machine(tester):
    """The version is dpkg's own word, with epoch and revision beside it."""
    command = ["dpkg-query", "-W", "-f", "${Version} ${Architecture}", "dpkg"]
    version, arch = subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.split()
    found = tester.call("package", "status", name="dpkg")
    assert (found["version"], found["ensure"], found["arch"]) == (version, version, arch)
    assert found["installed"] is True


def test_an_absent_package_is_a_state_not_a_failure(tester):
    """The status of what is not installed is "absent"."""
    found = tester.call("package", "status", name="no-such-package-here")
    assert (found["ensure"], found["installed"], found["version"]) == ("absent", False, None)


@pytest.mark.parametrize("name", ["", "-y", "a b", "a;b", "$(id)", "../x", "a\n", "tiny/stable"])
def test_names_that_are_no_names_never_reach_the_tools(tester, name):
    """A name is letters, digits and a few signs, and cannot be an option."""
    with pytest.raises(InputError):
        tester.call("package", "install", name=name)


def test_a_trailing_minus_is_no_removal(tester, repo):
    """Apt would read "tiny-" as "remove tiny": the agent refuses it."""
    tester.call("package", "install", name="tiny", refresh=True)
    assert "not the name" in str(tester.fails("package", "install", name="tiny-"))
    assert tester.call("package", "status", name="tiny")["installed"] is True


def test_a_dot_is_no_pattern(tester, repo):
    """Apt would read "t.ny" as a pattern and install tiny: the agent knows no such package."""
    error = tester.fails("package", "install", name="t.ny", refresh=True)
    assert str(error) == "no such package: t.ny"
    assert tester.call("package", "status", name="tiny")["installed"] is False


def test_install_update_remove(tester, repo):
    """A package's whole life: each step tells the version before and after it."""
    found = tester.call("package", "install", name="tiny", refresh=True)
    assert (found["before"], found["after"], found["changed"]) == ("absent", "1.0-1", True)
    assert "Setting up tiny" in found["output"]
    assert (repo.root / "etc/tiny/conf").read_text() == "1.0-1\n"
    again = tester.call("package", "install", name="tiny")
    assert (again["before"], again["after"], again["changed"]) == ("1.0-1", "1.0-1", False)

    repo.add("tiny", "1:2.0-3")
    idle = tester.call("package", "update", name="tiny")
    assert idle["changed"] is False, "the index was not read again"
    newer = tester.call("package", "update", name="tiny", refresh=True)
    assert (newer["before"], newer["after"], newer["changed"]) == ("1.0-1", "1:2.0-3", True)
    assert (newer["version"], newer["epoch"], newer["release"]) == ("1:2.0-3", "1", "3")
    older = tester.call("package", "update", name="tiny", version="1.0-1")
    assert (older["before"], older["after"]) == ("1:2.0-3", "1.0-1")

    gone = tester.call("package", "remove", name="tiny")
    assert (gone["before"], gone["ensure"], gone["changed"]) == ("1.0-1", "absent", True)
    assert (repo.root / "etc/tiny/conf").exists(), "configuration stays"
    assert tester.call("package", "remove", name="tiny")["changed"] is False
    tester.call("package", "remove", name="tiny", purge=True)
    assert not (repo.root / "etc/tiny/conf").exists()


def test_a_configuration_file_changed_by_hand_is_kept(tester, repo):
    """An update asks nobody and keeps what the administrator wrote."""
    tester.call("package", "install", name="tiny", refresh=True)
    (repo.root / "etc/tiny/conf").write_text("mine\n")
    repo.add("tiny", "2.0-1")
    assert tester.call("package", "update", name="tiny", refresh=True)["after"] == "2.0-1"
    assert (repo.root / "etc/tiny/conf").read_text() == "mine\n"


def test_what_is_not_there_is_named(tester, repo):
    """Unknown packages and versions, and an update of what is not installed, each say so."""
    for action in ("install", "remove"):
        error = tester.fails("package", action, name="nosuch")
        assert str(error) == "no such package: nosuch"
        assert error.data["ensure"] == "absent"
    assert str(tester.fails("package", "update", name="tiny")) == "package tiny is not installed"
    error = tester.fails("package", "install", name="tiny", version="9.9", refresh=True)
    assert "Version '9.9' for 'tiny' was not found" in str(error)


def test_a_dependency_that_cannot_be_met_is_a_clear_failure(tester, repo):
    """The first error that apt writes is the answer, all of it is in the data."""
    repo.add("needy", "1.0", Depends="nosuch")
    error = tester.fails("package", "install", name="needy", refresh=True)
    assert "cannot install needy" in str(error)
    assert "nosuch" in error.data["output"]


@pytest.mark.parametrize("action", ["install", "remove"])
def test_a_locked_database_is_told_as_such(tester, repo, action):
    """While another package manager holds the lock the answer says so, and by whom if known."""
    repo.add("other", "1.0")
    tester.call("package", "install", name="other", refresh=True)
    name = {"install": "tiny", "remove": "other"}[action]
    with (repo.root / "var/lib/dpkg/lock-frontend").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        error = tester.fails("package", action, name=name)
    assert "the package database is locked" in str(error)
    assert f"by process {os.getpid()}" in str(error)


def test_a_node_that_is_not_root_is_told_so(tester):
    """What only root may do is not called a lock that somebody holds (apt 2.6's words)."""
    written = (
        b"E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\n"
        b"E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?\n"
    )
    module = tester.module("package")
    outcome = ProgramResult(
        exitcode=100,
        signal="",
        stdout=b"",
        stderr=written,
        truncated=False,
        elapsed=0.1,
        ended="exit",
    )
    with pytest.raises(AgentError, match="cannot install x: the node does not run as root"):
        module._expect(module.Apt("/", 0), outcome, {"name": "x"}, "cannot install x")


def test_time_is_bounded(tester, repo):
    """A package manager that does not end is stopped before the action's time is over."""
    (repo.root / "etc/apt/apt.conf.d/slow").write_text('DPkg::Pre-Invoke {"sleep 600";};\n')
    error = tester.fails("package", "install", name="tiny", refresh=True, within=8)
    assert "out of time" in str(error)


def test_search_by_a_part_of_the_name(tester, repo):
    """Search gives candidate and installed version, by a part of the name or a pattern."""
    repo.add("tinylib", "3.0")
    repo.add("libtiny++", "1.0")
    tester.call("package", "install", name="tiny", refresh=True)
    found = tester.call("package", "search", name="tiny")
    rows = {row["name"]: row for row in found["packages"]}
    assert set(rows) == {"tiny", "tinylib", "libtiny++"}
    assert rows["tiny"] == {
        "name": "tiny",
        "summary": "the tiny tiny",
        "version": "1.0-1",
        "installed": "1.0-1",
    }
    assert rows["tinylib"]["installed"] is None
    names = [row["name"] for row in tester.call("package", "search", name="tiny*")["packages"]]
    assert names == ["tiny", "tinylib"]
    assert tester.call("package", "search", name="y++")["count"] == 1
    one = tester.call("package", "search", name="tiny", limit=1)
    assert (one["count"], one["truncated"]) == (1, True)
    assert tester.call("package", "search", name="nosuch")["packages"] == []


def test_only_the_configured_root_is_touched(tester, repo):
    """With a root set, this machine's own database knows nothing of what is installed there."""
    tester.call("package", "install", name="tiny", refresh=True)
    listing = subprocess.run(["dpkg-query", "-W", "tiny"], check=False, capture_output=True)
    assert listing.returncode == 1


def test_a_machine_without_a_package_manager_has_no_such_agent(tester, tmp_path):
    """Where no database is, the agent says what is missing and does not activate."""
    tester.configure("package", root=str(tmp_path))
    assert "neither a dpkg nor an rpm database" in str(tester.fails("package", "status"))
    tester.configure("package", provider="brew")
    assert "unknown provider 'brew'" in str(tester.fails("package", "status"))


def test_debian_versions_are_taken_apart(tester):
    """Epoch and revision are found where deb-version(7) puts them."""
    split = tester.module("package").split_deb
    assert split("1:2.3-4-5") == ("1", "5")
    assert split("2.3") == (None, None)
    assert split("2:20240203") == ("2", None)
    assert split("1.0~rc1-1+b2") == (None, "1+b2")
