"""A demo that tests type the READMEs' lines into, and what an answer is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faces.test_demo import ROOT, environ, serving
from tests.peers.host import untouched_host

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WRONG", "Lab", "good", "lab_of", "opened_demo"]

WRONG = re.compile(
    r"\bdenied\b(?!  )|(?<!perhaps )no such|unknown verb|internal error|Traceback", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Lab:
    """A demo that others join, and the folder that they stand in."""

    folder: Path
    work: Path

    @property
    def environ(self) -> dict[str, str]:
        """Of whoever joins it."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {**environ(), "MCSHELL_CONFIG": str(self.folder / "mcshell.toml"), "PATH": path}

    def prompt(self, *lines: str) -> list[tuple[str, int, str]]:
        """Each line, its exit code and all that it says, typed at one prompt."""
        script = Path(__file__).with_name("typed_lines.py")
        done = subprocess.run(
            [sys.executable, str(script)],
            input=json.dumps(lines),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.work,
            env=self.environ,
        )
        assert done.returncode == 0, done.stderr
        return [tuple(one) for one in json.loads((self.work / "answers.json").read_text())]

    def shell(self, script: str) -> str:
        """What a script of a block says, under `sh -e` with each command named."""
        done = subprocess.run(
            ["bash", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self.work,
            env=self.environ,
        )
        return done.stdout


@contextmanager
def opened_demo(folder: Path) -> Iterator[Path]:
    """A new demo of 25 in a folder, with `mcshell` in its `bin`."""
    (folder / "bin").mkdir(parents=True, mode=0o700)
    command = folder / "bin" / "mcshell"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mcshell "$@"\n')
    command.chmod(0o755)
    with untouched_host():
        demo = serving("--dir", str(folder))
        try:
            yield folder
        finally:
            demo.terminate()
            demo.communicate(timeout=60)


def lab_of(demo: Path, work: Path) -> Lab:
    """A demo, joined from a new folder to stand in, with the notebooks in it."""
    work.mkdir()
    for book in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(book, work)
    return Lab(demo, work)


def good(line: str, code: int, said: str) -> None:
    """An answer is one: not refused, not unknown, not empty."""
    assert code not in (64, 70, 74), f"{line}\n{said}"
    assert not WRONG.search(said), f"{line}\n{said}"
    assert said.strip() or ">" in line, f"{line}: nothing"
