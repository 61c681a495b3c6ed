"""One mutant beside its tests: a copy of the project, and a child of fork for each run.

The libraries are loaded once, in the parent, which never loads mcshell: the child finds it in the copy,
and so do the processes that the tests start.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mutants.touching import Only, Touching

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["COPIED", "Place", "Trial", "copied", "load_libraries"]

COPIED = ("mcshell", "agents", "notebooks", "tests", "README.md", "pyproject.toml")
LIBRARIES = ("hypothesis.stateful", "cryptography.x509", "nacl.signing", "orjson", "yaml", "stomp")
LOADED = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
OPTIONS = ("-x", "-q", "--hypothesis-seed=0", "-W", LOADED)
FEW = 10
"""Examples of a property, at first."""
ELSEWHERE = 86
"""What a child ends with that has found another mcshell than the copy."""


def load_libraries() -> None:
    """Load what most tests load, but for what is to be found in the copy."""
    for name in LIBRARIES:
        importlib.import_module(name)


def copied(project: Path, folder: Path) -> Path:
    """Copy what the tests need to a folder; returns it."""
    folder.mkdir(parents=True)
    unwanted = shutil.ignore_patterns("__pycache__", "node_modules", ".hypothesis")
    for name in COPIED:
        source = project / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=unwanted)
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


@dataclass(slots=True)
class Trial:
    """A run of tests under way: its process group, and what it says, in a file."""

    pid: int
    said: Path
    end: float

    def outcome(self) -> int | None:
        """The exit code (0: all passed), None while it runs; it is killed when its time is over."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() < self.end:
                return None
            os.killpg(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            return os.waitstatus_to_exitcode(status)
        with suppress(ProcessLookupError):  # what it has started, too
            os.killpg(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(status)


class Place:
    """A copy of the project in which one mutant at a time stands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._original: dict[Path, str] = {}

    def touching(self) -> dict[str, list[str]]:
        """Which tests call each function, by `MODULE::FUNCTION`, as the first run has seen."""
        found: dict[str, list[str]] = json.loads((self.folder / "touched.json").read_text())
        return found

    def share(self, other: Place) -> None:
        """Have what is compiled here in another copy, too: its sources are of the same times."""
        for cache in self.folder.rglob("__pycache__"):
            to = other.folder / cache.relative_to(self.folder)
            shutil.copytree(cache, to, dirs_exist_ok=True)

    def put(self, module: str, text: str) -> None:
        """Put a text in a module's place; no compiled one of before is left."""
        path = self.folder / module
        self._original.setdefault(path, path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()

    def restore(self) -> None:
        """Have all modules as they were."""
        for path, text in self._original.items():
            self.put(str(path.relative_to(self.folder)), text)
        self._original.clear()

    def start(
        self,
        tests: Sequence[str],
        seconds: float,
        *,
        first: bool = False,
        few: bool = True,
        only: Collection[str] = (),
    ) -> Trial:
        """Begin a run of tests, which has so many seconds.

        `first`: without a mutant: what is loaded is kept compiled, and who calls what is written down.
        `few` examples of each property; `only`: these of the tests, by name.
        """
        said = self.folder / "said.txt"
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.setsid()
                os.environ["MCSHELL_TEST_EXAMPLES"] = str(FEW if few else 0)
                plugin = Touching(self.folder) if first else Only(only)
                code = _run(self.folder, said, tests, plugin)
            except BaseException:  # noqa: BLE001 - it is said, and the code tells
                traceback.print_exc()
            finally:
                os._exit(code)
        return Trial(pid, said, time.monotonic() + seconds)


def _run(folder: Path, said: Path, tests: Sequence[str], plugin: Touching | Only) -> int:
    """The child: the copy is all it knows of the project."""
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    here = str(Path.cwd())
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / ".hypothesis")
    shutil.rmtree(folder / ".hypothesis", ignore_errors=True)
    sys.dont_write_bytecode = isinstance(plugin, Only)
    sys.path[:] = [str(folder), *(one for one in sys.path if one not in ("", here))]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    if not str(importlib.import_module("mcshell").__file__).startswith(str(folder)):
        return ELSEWHERE
    return int(pytest.main([*OPTIONS, *tests], plugins=[plugin]))
