"""Five daemons that serve `puppet` from one folder each, and operators who may do more or less."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcshell.deploy.puppet.apply import PuppetRun
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import Child

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
HANDLERS = ROOT / "mcshell" / "deploy" / "puppet"
AGENTS = ROOT / "tests" / "agents_for_tests"
NAMES = [f"n{number}" for number in range(1, 6)]
CONVERSE = """\
policy default deny
allow\tcert=alice\tpuppet puppet_noop\t*\t*
allow\tcert=carol\tpuppet_noop\t*\t*
"""
ALICE = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"


def catalog(*resources: tuple[str, str, dict[str, Any]], node: str = "any") -> str:
    """A catalog as `puppet catalog compile` writes one."""
    mains = [("Stage", "main", {"name": "main"}), ("Class", "main", {"name": "main"})]
    every = [
        {
            "type": kind,
            "title": title,
            "tags": [],
            "exported": False,
            "kind": "unknown" if kind == "Class" else "compilable_type",
            "parameters": parameters,
        }
        for kind, title, parameters in (*mains, *resources)
    ]
    edges = [{"source": "Stage[main]", "target": "Class[main]"}]
    edges += [{"source": "Class[main]", "target": f"{one[0]}[{one[1]}]"} for one in resources]
    document = {"name": node, "version": 1, "environment": "production", "catalog_format": 2}
    return json.dumps({**document, "resources": every, "edges": edges, "classes": []})


class Puppets(Fleet):
    """A fleet of nodes with puppet; what they change lies in `work`."""

    def __init__(self, broker, folder, names=NAMES):
        super().__init__(
            broker,
            folder,
            {name: Node({"role": "web"}) for name in names},
            policies={"converse": CONVERSE, "file": ALICE},
            operators=("alice", "bob", "carol"),
            more=f'tell_files = "all"\nagents = ["{HANDLERS}", "{AGENTS}"]\n',
        )
        self.work = folder / "work"
        self.work.mkdir()
        with self.config.open("a") as file:
            file.write(f'[node]\nagents = ["{AGENTS}"]\n')
        for name in names:
            options = [f"--{key}dir={folder / name / key}" for key in ("conf", "var", "run", "log")]
            with (folder / f"{name}.toml").open("a") as file:
                file.write(f'[agents.puppet]\nfolder = "{folder / name / "puppet"}"\n')
                file.write(f"options = {json.dumps(options)}\n")
                file.write(f'[agents.file]\nroots = ["{self.work}"]\n')

    def options(self) -> list[str]:
        """Of a puppet on the operator's side."""
        places = [f"--{key}dir={self.folder / 'here' / key}" for key in ("conf", "var", "log")]
        return [*places, f"--rundir={self.folder / 'here' / 'run'}"]

    def apply(
        self,
        source: Path,
        out: str,
        nodes: Sequence[str],
        *,
        who: str = "alice",
        noop: bool = False,
    ) -> pd.DataFrame:
        """One run of an operator's, by the nodes named."""
        with self.client(who, state=f"state-{who}-{out}") as client:
            run = PuppetRun(
                client=client,
                folder=self.folder / out,
                source=source,
                noop=noop,
                options=self.options(),
                timeout="60s",
            )
            return run.apply(nodes).set_index("sender")

    def line(self, source: Path, out: str, *words: str) -> Child:
        """The same by its command line, in a process that may be killed."""
        module = ["-m", "mcshell.deploy.puppet.apply", source, "--out", self.folder / out]
        argv = [sys.executable, *module, *words]
        return Child(argv, self.folder / f"{out}.log", self.environ)

    def source(self, name: str, text: str) -> Path:
        """A manifest or a catalog, as a file."""
        path = self.folder / name
        path.write_text(text)
        return path

    def node_file(self, node: str, name: str) -> Path:
        """One of the files that a node keeps of a run."""
        return self.folder / node / "puppet" / name

    def talks(self, node: str) -> list[dict[str, Any]]:
        """What a node's audit says of conversations."""
        return [one for one in self.audit(node) if one.get("agent") == "converse"]


@pytest.fixture(scope="module")
def puppets(embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Puppets]:
    """Five daemons on the embedded broker."""
    with Puppets(embedded, tmp_path_factory.mktemp("puppets")) as fleet:
        fleet.start()
        yield fleet
