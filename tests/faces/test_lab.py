"""README's lab by hand, typed as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.processes import Child, free_ports, wait_until

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).resolve().parents[2]


def blocks() -> list[str]:
    """The shell blocks of the section."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("### A lab by hand\n")[2].partition("\n### ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def test_the_lab_of_the_readme(tmp_path: Path) -> None:
    """Its first block makes the files, the second starts broker and node, and the node answers."""
    (port,) = free_ports(1)
    (tmp_path / "mcshell").write_text(f'#!/bin/sh\nexec {sys.executable} -m mcshell "$@"\n')
    (tmp_path / "mcshell").chmod(0o755)
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MCSHELL_")}
    path = f"{tmp_path}:{os.environ['PATH']}"
    environ = {**kept, "PATH": path, "PYTHONPATH": str(ROOT)}
    files, start = (block.replace("61613", str(port)) for block in blocks()[:2])
    lab = tmp_path / "lab"
    lab.mkdir()
    done = subprocess.run(
        ["bash", "-euc", files], cwd=lab, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *services, ping = start.splitlines()
    children = []
    try:
        for number, line in enumerate(services):
            words = shlex.split(line)
            words += ["--listen", f"127.0.0.1:{port}"] if words[1] == "broker" else []
            entry = f"cd {shlex.quote(str(lab))} && exec {shlex.join(words)}"
            child = Child(["bash", "-c", entry], tmp_path / f"{number}.log", environ)
            children.append(child)
            assert wait_until(lambda child=child: "ready" in child.tail(), 60), child.tail()
        answered = subprocess.run(
            ["bash", "-c", ping], cwd=lab, env=environ, capture_output=True, text=True, check=False
        )
    finally:
        for child in reversed(children):
            child.stop()
    assert answered.returncode == 0, answered.stderr
    assert re.search(r"^web1 +ok ", answered.stdout, re.MULTILINE), answered.stdout
