"""package on rpm and dnf: a root of the test's own with a repository of tiny real packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = ("rpm", "rpmbuild", "dnf", "createrepo_c")
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS),
    reason="needs Debian's rpm, dnf and createrepo-c",
)

SPEC = """Name: {name}
Epoch: {epoch}
Version: {version}
Release: {release}
Summary: the tiny {name}
License: none
BuildArch: noarch
%description
{name}
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo %{{version}} > %{{buildroot}}/usr/share/{name}/v
%files
/usr/share/{name}
"""


class Repository:
    """A dnf repository and an empty root that installs from it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.root = top / "root"
        self.rpms = top / "repo"
        self.rpms.mkdir()
        (self.root / "etc/yum.repos.d").mkdir(parents=True)
        (self.root / "etc/yum.repos.d/test.repo").write_text(
            f"[test]\nname=test\nbaseurl=file://{self.rpms}\ngpgcheck=0\nenabled=1\n"
        )

    def add(self, name: str, version: str, release: str = "1", epoch: str = "0") -> None:
        """Build a package and list it; the root sees it after a refresh."""
        spec = self.top / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, version=version, release=release, epoch=epoch))
        defines = [f"_topdir {self.top}/build", f"_rpmdir {self.rpms}"]
        argv = ["rpmbuild", "-bb", "--quiet"]
        for define in defines:
            argv += ["--define", define]
        subprocess.run([*argv, str(spec)], check=True, capture_output=True)
        subprocess.run(["createrepo_c", "-q", str(self.rpms)], check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path, tester):
    """A repository with tiny 1.0-1 in it, and the agent set to its root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: rpm enters another root for nobody else")
    found = Repository(tmp_path)
    found.add("tiny", "1.0")
    tester.configure("package", root=str(found.root), provider="dnf")
    return found


def test_install_update_remove(tester, repo):
    """A package's whole life: each step tells the version before and after it."""
    found = tester.call("package", "install", name="tiny")
    assert (found["before"], found["after"], found["changed"]) == ("absent", "1.0-1", True)
    assert (found["version"], found["release"], found["arch"]) == ("1.0", "1", "noarch")
    assert (found["epoch"], found["provider"]) == (None, "dnf")
    assert (repo.root / "usr/share/tiny/v").read_text() == "1.0\n"
    assert tester.call("package", "install", name="tiny")["changed"] is False
    listing = tester.call("package", "status")
    assert [row["name"] for row in listing["packages"]] == ["tiny"]

    repo.add("tiny", "2.0", epoch="1")
    newer = tester.call("package", "update", name="tiny", refresh=True)
    assert (newer["before"], newer["after"], newer["epoch"]) == ("1.0-1", "1:2.0-1", "1")
    assert tester.call("package", "update", name="tiny")["changed"] is False
    gone = tester.call("package", "remove", name="tiny")
    assert (gone["before"], gone["ensure"], gone["changed"]) == ("1:2.0-1", "absent", True)
    assert tester.call("package", "remove", name="tiny")["changed"] is False


def test_a_given_version_is_installed_also_when_it_is_older(tester, repo):
    """A version asked for by name is what the node has afterwards."""
    repo.add("tiny", "2.0")
    found = tester.call("package", "install", name="tiny", version="1.0-1", refresh=True)
    assert found["after"] == "1.0-1"
    assert tester.call("package", "update", name="tiny")["after"] == "2.0-1"
    assert tester.call("package", "update", name="tiny", version="1.0")["after"] == "1.0-1"


def test_what_is_not_there_is_named(tester, repo):
    """Unknown packages and versions, and an update of what is not installed, each say so."""
    assert tester.call("package", "status", name="nosuch")["ensure"] == "absent"
    for action in ("install", "remove"):
        assert str(tester.fails("package", action, name="nosuch")) == "no such package: nosuch"
    assert str(tester.fails("package", "update", name="tiny")) == "package tiny is not installed"
    error = tester.fails("package", "install", name="tiny", version="9.9")
    assert str(error) == "cannot install tiny: Unable to find a match: tiny-9.9"


def test_a_locked_database_is_told_as_such(tester, repo):
    """While another dnf holds the lock the answer says so, at once."""
    tester.call("package", "install", name="tiny")
    lock = repo.root / "var/lib/dnf/rpmdb_lock.pid"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(str(os.getpid()))
    error = tester.fails("package", "remove", name="tiny")
    assert f"the package database is locked by process {os.getpid()} (" in str(error)


def test_search_by_a_part_of_the_name(tester, repo):
    """Search gives candidate and installed version, by a part of the name or a pattern."""
    repo.add("tinylib", "3.0")
    repo.add("libtiny", "1.0", epoch="2")
    tester.call("package", "install", name="tiny", refresh=True)
    rows = {row["name"]: row for row in tester.call("package", "search", name="tiny")["packages"]}
    assert set(rows) == {"tiny", "tinylib", "libtiny"}
    assert rows["tiny"] == {
        "name": "tiny",
        "summary": "the tiny tiny",
        "version": "1.0-1",
        "installed": "1.0-1",
    }
    assert (rows["libtiny"]["version"], rows["libtiny"]["installed"]) == ("2:1.0-1", None)
    one = tester.call("package", "search", name="tiny*", limit=1)
    assert ([row["name"] for row in one["packages"]], one["truncated"]) == (["tiny"], True)
