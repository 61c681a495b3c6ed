"""The tutorial's lab of three machines, its blocks as they stand."""

from __future__ import annotations

import shlex
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from mcshell.docs import markdown, pages
from tests.peers.processes import Child, free_ports, wait_until

if TYPE_CHECKING:
    from pathlib import Path

READY = 90.0
MACHINES = ("one", "two", "three")


class Reader:
    """Who does as the page says, on one host: its places are below a folder, its ports are free ones."""

    def __init__(self, folder: Path, ended: ExitStack) -> None:
        self.folder = folder
        self.port, self.enrol_port = map(str, free_ports(2))
        self._ended = ended
        command = folder / "mcshell"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mcshell "$@"\n')
        command.chmod(0o755)
        self.environ = {"MCSHELL": str(command)}
        self.blocks = iter(markdown.code(pages.page("three-machines").text))

    def block(self, machine: str = "") -> str:
        """The next one, as it is for a machine."""
        _, text = next(self.blocks)
        return self.here(text, machine)

    def here(self, text: str, machine: str) -> str:
        """What is said, on this host."""
        text = text.replace("/etc/mcshell", f"{self.folder}/{machine}/etc")
        text = text.replace("/var/lib/mcshell", f"{self.folder}/{machine}/state")
        text = text.replace("--host lab.example.com", f"--host 127.0.0.1 --tls-port {self.port}")
        text = text.replace("lab.example.com", "127.0.0.1")
        return text.replace("61615", self.enrol_port).replace("61614", self.port)

    def argv(self, line: str) -> list[str]:
        """Its words."""
        first, *words = shlex.split(line)
        return [sys.executable, "-m", "mcshell", *words] if first == "mcshell" else [first, *words]

    def typed(self, line: str) -> str:
        """Run a line to its end."""
        done = subprocess.run(
            self.argv(line), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def started(self, line: str, name: str, **environ: str) -> None:
        """Run one in a terminal of its own."""
        log = self.folder / f"{name}.log"
        argv = ["env", "-C", str(self.folder), *self.argv(line)]
        child = Child(argv, log, {**self.environ, **environ})
        self._ended.callback(child.stop)
        assert wait_until(lambda: "ready" in log.read_text(), READY), child.tail()


def test_the_lab_of_three_machines(tmp_path: Path) -> None:
    """From the CA to a ping that all three answer, with each line as the page has it."""
    with ExitStack() as ended:
        reader = Reader(tmp_path, ended)
        for line in reader.block().splitlines():
            reader.typed(line)
        (tmp_path / "lab.toml").write_text(reader.block("MACHINE"))
        policy = reader.block()
        broker, serve = reader.block().splitlines()
        reader.started(broker, "broker")
        reader.started(serve, "serve")
        secret = reader.typed(reader.block()).split()[-1]
        (tmp_path / "lab.token").touch(mode=0o600)
        (tmp_path / "lab.token").write_text(secret)
        two_lines = reader.block("MACHINE")
        for name in MACHINES:
            (tmp_path / name / "etc" / "policies").mkdir(parents=True)
            (tmp_path / name / "etc" / "policies" / "default.policy").write_text(policy)
            enroll, node = two_lines.replace("MACHINE", name).splitlines()
            reader.typed(enroll.replace("enroll", f"enroll {name}"))
            config = tmp_path / name / "etc" / "node.toml"
            config.write_text(config.read_text().replace("MACHINE", name))
            reader.started(node, name)
        (tmp_path / "alice.toml").write_text(f'state = "alice/state"\n{reader.block()}')
        said = reader.typed(reader.block())
        assert [line.split()[:2] for line in said.splitlines()[2:5]] == sorted(
            [name, "ok"] for name in MACHINES
        )
        assert next(reader.blocks, None) is None
