"""The lines of the how-to page, run as they stand, in folders of the test's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.config import load
from mcshell.docs import markdown, pages
from tests.foreign.cas import HOSTS, OpenSSL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.foreign.cas import ForeignAuthority

BLOCKS = [text for _, text in markdown.code(pages.page("use-another-ca").text)]


def block(begin: str) -> str:
    """The one that begins so."""
    (found,) = [text for text in BLOCKS if text.startswith(begin)]
    return found


def shell(text: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run lines; `mcshell` is the one under test."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-euc", text],
        cwd=folder,
        env={**os.environ, "PATH": path, **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's folders."""
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    (tmp_path / "etc").mkdir()
    return tmp_path


def here(text: str, place: Path) -> str:
    """The lines, with folders of the test's."""
    return text.replace("/etc/mcshell", str(place / "etc")).replace("/srv/mcshell", str(place))


def test_the_brokers_lines(place: Path) -> None:
    """The configuration that each machine has, and the command, as they stand."""
    (place / "c.toml").write_text(here(block("[pki]"), place))
    (place / "c.toml").chmod(0o600)
    assert load(place / "c.toml").pki.operators == ("alice", "*.ops.example.com")
    ca: ForeignAuthority = OpenSSL(place / "openssl")
    ca.issue("alice", place)
    ca.issue("mq", place, ("mq.example.com", *HOSTS))
    (place / "signed").symlink_to(ca.folder / "newcerts")
    for name in ("ca.pem", "crl.pem"):
        (place / "etc" / name).write_bytes((ca.folder / name).read_bytes())
    done = shell(
        here(block("mcshell broker config"), place), place, MCSHELL_CONFIG=str(place / "c.toml")
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((place / "broker" / "mcshell.json").read_text())
    assert record["identities"] == ["node:mq", "operator:alice"]


@pytest.mark.puppet
def test_the_files_of_puppet(place: Path, authority: Callable[[str], ForeignAuthority]) -> None:
    """What Puppet keeps becomes what mcshell takes, modes and all."""
    ca = authority("puppet")
    name = "puppet.example.com"  # its own, which setup has made
    text = block("ssl=").replace("/var/lib/puppet/ssl", str(ca.folder / "ssl"))
    done = shell(here(text.replace("web1.example.com", name), place), place)
    assert done.returncode == 0, done.stderr
    (place / "c.toml").write_text(here(block("[pki]"), place))
    said = shell("mcshell doctor --json || true", place, MCSHELL_CONFIG=str(place / "c.toml"))
    rows = {row["check"]: row for row in json.loads(said.stdout)}
    assert rows["key"]["state"] == "ok", rows
    assert rows["identity"]["detail"].startswith("node puppet (cert=puppet), CRL")
    assert rows["chain"]["state"] == "warn"
    assert "brokers know it as 'puppet.example.com'" in rows["chain"]["detail"]
