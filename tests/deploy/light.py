"""mcshell-node as a machine has it: its wheel, an environment of its own, a fleet that runs it.

What pip wants is fetched once, into a folder of the user's cache for each Python and each list of
dependencies, and installed from there: after the first time no test needs the network.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.interpreters import CACHE
from tests.peers.fleet import Fleet
from tests.peers.processes import Child, said

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "PROJECT",
    "ROOT",
    "LightFleet",
    "installed",
    "kilobytes",
    "offline",
    "uncompiled",
]

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "mcshell" / "deploy" / "node"
HERE = "{}.{}".format(*sys.version_info)


def offline(version: str = HERE) -> dict[str, str]:
    """The environment in which pip has all that a light node of a Python's version wants, at hand."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"]
    name = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]
    folder = CACHE / f"wheels-{version}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # checkouts are tested side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
            builds = project["build-system"]["requires"]
            said(*pip, "-d", folder, *builds)
            only = ["--python-version", version, "--only-binary", ":all:"]
            said(*pip, "-d", folder, *only, *wanted)
            (folder / "made").touch()
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def installed(what: Path, folder: Path) -> Path:
    """A fresh environment without pip, into which a wheel or a project is installed; its `bin`."""
    said(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python"]
    said(*pip, "install", "-q", "--disable-pip-version-check", what, **offline())
    return folder / "bin"


def kilobytes(folder: Path, *options: str) -> int:
    """What a folder takes on the disk, as du has it."""
    return int(said("du", "-sk", *options, folder).split()[0])


def uncompiled(folder: Path) -> int:
    """The same without Python's bytecode."""
    return kilobytes(folder, "--exclude=__pycache__")


class LightFleet(Fleet):
    """A fleet in which the daemons of some nodes are run by another environment's `mcshell`."""

    light: Path
    lights: Iterable[str] = ()

    def _run(self, name: str, words: Iterable[str]) -> Child:
        if name not in self.lights:
            return super()._run(name, words)
        environ = {**self.environ, "PYTHONPATH": ""}
        return Child([self.light / "mcshell", *words], self.folder / f"{name}.log", environ)

    def there(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess:
        """Run one command line of the light node's, as the first operator."""
        return subprocess.run(
            [self.light / "mcshell", *words],
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={**self.environ, "PYTHONPATH": ""},
        )
