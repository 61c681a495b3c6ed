"""The data plugins that a node answers."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from pathlib import Path

import pytest

from mcshell.errors import FilterError, PluginError
from mcshell.filters.data import MAX_DIGEST, OUTPUTS, answer, declared
from mcshell.node.system import LocalSystem


class View:
    """A node that knows itself."""

    def __init__(self, protected=""):
        self.facts = {"os": {"name": "Debian"}, "n": 3}
        self.collectives = ("mcs", "eu")
        self.protected = protected
        self.tells_all_files = False
        self.system = LocalSystem()

    def inventory(self):
        """One agent."""
        return [{"name": "package", "version": "1.2", "timeout": 10}]

    def protects(self, path):
        """One path."""
        return path == self.protected


def test_pure_plugins():
    """Agent, collective and fact answer from what the node knows of itself."""
    view = View()
    assert answer("agent", "package", view)["version"] == "1.2"
    assert answer("collective", "eu", view) == {"member": True}
    assert answer("collective", "us", view) == {"member": False}
    assert answer("fact", "os.name", view)["value"] == "Debian"
    assert answer("fact", "os", view)["value_encoding"] == "application/json"
    assert answer("fact", "os.none", view)["exists"] is False


@pytest.fixture
def public():
    """A folder that every user may enter (pytest's own are private)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_fstat(public):
    """Fstat describes a file as MCollective does, its digests included."""
    path = public / "file"
    path.write_bytes(b"hello")
    seen = answer("fstat", str(path), View())
    assert seen["present"] is True
    assert seen["size"] == 5
    assert seen["type"] == "file"
    assert seen["mode"].startswith("100")
    assert seen["md5"] == hashlib.md5(b"hello").hexdigest()
    assert seen["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert set(seen) == set(OUTPUTS["fstat"])
    assert len(seen) == len(set(seen))
    assert seen["mtime_age"] < 3600
    path.unlink()
    assert seen["md5"] is None


def test_fstat_gives_no_secrets_away(public):
    """What not every user may read has no digest: a filter is answered before policy is asked."""
    path = public / "file"
    path.write_bytes(b"hello")
    path.chmod(0o640)
    assert answer("fstat", str(path), View()).get("md5") is None
    path.chmod(0o644)
    assert answer("fstat", str(path), View())["md5"]
    public.chmod(0o750)
    for name in ("file", "nothing", "link"):
        with pytest.raises(PluginError, match="not readable by all: not told"):
            answer("fstat", str(public / name), View())
    view = View()
    view.tells_all_files = True
    assert answer("fstat", str(path), view)["size"] == 5
    public.chmod(0o755)
    seen = answer("fstat", str(path), View())
    secret = public / "secret"
    secret.touch(0o600)
    path.unlink()
    path.symlink_to(secret)
    assert seen["md5"] is None


def test_fstat_of_others(public):
    """A folder, a link, a socket have a type and no digest; so has a file that is too large."""
    link = public / "link"
    link.symlink_to("nowhere")
    large = public / "large"
    with large.open("wb") as file:
        file.truncate(MAX_DIGEST + 1)
    os.mkfifo(public / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(public / "socket"))
    kinds = {"link": "symlink", "socket": "socket", "large": "file", ".": "directory"}
    for name, kind in kinds.items():
        seen = answer("fstat", str(public / name), View())
        assert seen["type"] == kind
        assert seen.get("md5") is None


def test_fstat_absent(public):
    """What is not there, and the node's own keys, are not present."""
    key = public / "key"
    key.touch()
    assert answer("fstat", str(key), View(str(key)))["present"] is False
    for path in (str(public / "none"), "a\0b"):
        assert answer("fstat", path, View())["output"] == "not present"


def test_unanswered():
    """A plugin, agent or parameter that is not there raises PluginError."""
    for plugin, params in (("agent", "none"), ("nope", "x"), ("fstat", None)):
        with pytest.raises(PluginError):
            answer(plugin, params, View())


def test_declared():
    """Unknown plugins and outputs are refused with what was meant."""
    declared("fstat", "md5")
    with pytest.raises(FilterError, match="did you mean fstat"):
        declared("fstats", "md5")
    with pytest.raises(FilterError, match="did you mean member"):
        declared("collective", "members")
