"""The lines of the how-to page, run as they stand, in folders of the test's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.docs import markdown, pages
from tests.peers.fleet import Fleet, Node
from tests.puppet.conftest import AGENTS, ALICE, HANDLERS, ROOT

if TYPE_CHECKING:
    from tests.peers.brokers import Broker

pytestmark = [pytest.mark.timeout(600), pytest.mark.puppet]
BLOCKS = [text for _, text in markdown.code(pages.page("run-puppet").text)]
NAMES = ["web01", "web02"]


def block(begin: str) -> str:
    """The one that begins so."""
    (found,) = [text for text in BLOCKS if text.startswith(begin)]
    return found


class Place:
    """The page's machines, in one folder."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.options = [f"--{one}dir={folder / 'puppet' / one}" for one in ("conf", "var", "log")]
        self.options.append(f"--rundir={folder / 'puppet' / 'run'}")
        policies = {"converse": block("policy default deny"), "file": ALICE}
        operators = ("alice", "carol")
        nodes = {name: Node() for name in NAMES}
        self.fleet = Fleet(broker, folder, nodes, policies=policies, operators=operators)
        self.shell(block("mkdir -p"), cwd=ROOT)
        for name in NAMES:
            settings = tomllib.loads(self.here(block("[node]")))
            agents = [*settings["node"]["agents"], str(AGENTS)]
            kept = f"{settings['agents']['puppet']['folder']}-{name}"
            with (folder / f"{name}.toml").open("a") as file:
                file.write(f'tell_files = "all"\nagents = {json.dumps(agents)}\n')
                file.write(f"[agents.puppet]\nfolder = {json.dumps(kept)}\n")
                file.write(f"options = {json.dumps(self.options)}\n")
                file.write(f"[agents.file]\nroots = {json.dumps([str(folder)])}\n")
        with self.fleet.config.open("a") as file:
            file.write(f"[node]\nagents = {json.dumps([str(AGENTS)])}\n")

    def here(self, text: str) -> str:
        """Lines of the page, with folders of the test's."""
        for path in ("/etc/", "/var/lib/", "/var/tmp/", "/srv/puppet/"):
            text = text.replace(path, f"{self.folder}{path}")
        return text

    def shell(self, text: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run lines; python and mcshell are those under test."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-euc", self.here(text)],
            cwd=cwd or self.folder,
            env={**self.fleet.environ, "PATH": path, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.soak
def test_the_pages_lines(embedded: Broker, tmp_path: Path) -> None:
    """Handlers, settings and policy serve; the line looks, then applies; Python does the same; the type asks."""
    place = Place(embedded, tmp_path)
    for folder in ("etc", "var/tmp", "srv/puppet/modules"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    motd = tmp_path / "etc" / "motd.web"
    (tmp_path / "site.pp").write_text(place.here(block("file {")))
    with place.fleet:
        place.fleet.start()
        look, run = block("python -m").splitlines()
        more = " ".join(place.options)
        looked = place.shell(f"{look} {more}")
        assert looked.returncode == 0, looked.stdout + looked.stderr
        assert not motd.exists()
        done = place.shell(f"{run} {more}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert motd.read_text() in {f"This is {name}, a Linux.\n" for name in NAMES}
        assert {f"runs/monday/{name}/report.yaml" in done.stdout for name in NAMES} == {True}
        script = tmp_path / "again.py"
        script.write_text(f"{block('import mcshell')}print(sorted(rows.state))\n")
        again = place.shell(f"python {script}")
        assert again.stdout == "['ok', 'ok']\n", again.stderr
        (tmp_path / "typed.pp").write_text(place.here(block("mcshell_action")))
        words = f"--detailed-exitcodes --modulepath={HANDLERS} {more}"
        assert [place.shell(f"puppet apply {words} typed.pp").returncode for _ in range(2)] == [
            2,
            0,
        ]
        assert len((tmp_path / "var/tmp/marked").read_text().splitlines()) == 2
