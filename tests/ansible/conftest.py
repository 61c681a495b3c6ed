"""Five daemons with a folder each in place of a machine, and Ansible with the collection installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.peers.brokers import Broker

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "mcshell" / "deploy" / "ansible"
NAMES = tuple(f"n{number}" for number in range(1, 6))
RULES = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
MORE = """\
tell_files = "all"
[agents.exec]
max_output = 524288
[agents.file]
roots = ["{places}"]
write = ["{places}"]
"""
PERSIST = 3
RECAP = re.compile(r"^(\S+) +: (ok=.*)$", re.MULTILINE)
COUNT = re.compile(r"(\w+)=(\d+)")


class Run(NamedTuple):
    """What a run came to: its exit code, what it said, and each host's counts."""

    code: int
    said: str
    hosts: dict[str, dict[str, int]]

    def counts(self, word: str) -> dict[str, int]:
        """One of the counts, by host."""
        return {name: counts[word] for name, counts in self.hosts.items()}


class Ansible:
    """Ansible in a folder of its own, with the collection as `ansible-galaxy` has installed it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collections = folder / "collections"
        self.program(
            "ansible-galaxy", "collection", "install", str(COLLECTION), "-p", "collections"
        )

    def sockets(self) -> list[Path]:
        """Those of the clients that are open."""
        return [one for one in self.folder.glob("mcshell-ansible-*/*") if one.is_socket()]

    def program(
        self, name: str, *words: str, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Ansible's programs."""
        return subprocess.run(
            [Path(sys.executable).with_name(name), *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_NOCOLOR": "1",
                "TMPDIR": str(self.folder),
                "PYTHONWARNINGS": "",
                **(more or {}),
            },
        )

    def play(
        self,
        tasks: list[dict[str, Any]] | Path,
        hosts: Mapping[str, Mapping[str, Any]],
        *words: str,
        more: Mapping[str, str] | None = None,
        **play: Any,
    ) -> Run:
        """Play tasks on hosts, with their variables."""
        inventory = {"nodes": {"hosts": {name: dict(own) for name, own in hosts.items()}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        if isinstance(tasks, Path):
            path = tasks
        else:
            path = self.folder / "site.yml"
            whole = {"hosts": "nodes", "gather_facts": False, **play, "tasks": tasks}
            path.write_text(yaml.safe_dump([whole], sort_keys=False))
        done = self.program("ansible-playbook", "-i", "hosts.yml", *words, str(path), more=more)
        hosts_said = {
            name: {word: int(count) for word, count in COUNT.findall(counts)}
            for name, counts in RECAP.findall(done.stdout)
        }
        return Run(done.returncode, done.stdout + done.stderr, hosts_said)


class Machines(Fleet):
    """Daemons that stand for machines: what a play writes on one lies in `places/NAME`."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.places = folder / "places"
        nodes = {name: Node({"role": "web", "number": name[1:]}) for name in NAMES}
        super().__init__(
            broker,
            folder,
            nodes,
            policies={"exec": RULES, "file": RULES},
            operators=("alice", "bob"),
            more=MORE.format(places=self.places),
        )
        for name in NAMES:
            (self.places / name).mkdir(parents=True)

    def hosts(self, who: str = "alice", **more: Any) -> dict[str, dict[str, Any]]:
        """Their variables for Ansible, over mcshell."""
        return {
            name: {
                "ansible_connection": "mcshell.mcshell.mcshell",
                "mcshell_config": str(self.folder / f"{who}.toml"),
                "mcshell_persist": PERSIST,
                **self.variables(self.places / name),
                **more,
            }
            for name in NAMES
        }

    @staticmethod
    def variables(place: Path) -> dict[str, Any]:
        """What is the same over any connection: where a host's files go, and its Python."""
        return {
            "root": str(place / "root"),
            "ansible_remote_tmp": str(place / "tmp"),
            "ansible_python_interpreter": sys.executable,
        }


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    """Ansible with the collection; its clients end by themselves."""
    found = Ansible(tmp_path_factory.mktemp("ansible"))
    yield found
    assert wait_until(lambda: not found.sockets(), 30.0)


@pytest.fixture(scope="module")
def machines(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Five of them, serving, on the embedded broker."""
    with Machines(embedded, tmp_path_factory.mktemp("machines")) as fleet:
        fleet.start()
        yield fleet
