"""The how-to page: its files as they stand, its lines as they stand; the collection as it is installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from mcshell.docs import markdown, pages
from tests.ansible.conftest import ROOT, Ansible
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)
BLOCKS = [text for _, text in markdown.code(pages.page("run-ansible").text)]


def block(begin: str) -> str:
    """The one that begins so."""
    (found,) = [text for text in BLOCKS if text.startswith(begin)]
    return found


def shell(text: str, folder: Path, environ: dict[str, str]) -> str:
    """What lines say, where Ansible's programs are those under test."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    home = {"HOME": str(folder), "TMPDIR": str(folder), "PATH": path, "PYTHONWARNINGS": ""}
    done = subprocess.run(
        ["sh", "-euc", text],
        cwd=ROOT if "install" in text else folder,
        env={**environ, **home, "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_pages_lines(embedded: Broker, tmp_path: Path) -> None:
    """Policy and settings serve; the collection installs; the inventory has its groups; both pings come back."""
    fleet_folder = tmp_path / "fleet"
    fleet_folder.mkdir()
    rules = block("policy default deny")
    more = re.sub(r'"/root/', f'"{tmp_path}/', block("[node]").replace("[node]\n", ""))
    nodes = {name: Node({"role": "web"}, ["web::server"]) for name in ("web01", "web02")}
    nodes["db01"] = Node({"role": "db"})
    policies = {"exec": rules, "file": rules}
    with Fleet(embedded, fleet_folder, nodes, policies=policies, more=more) as fleet:
        fleet.environ["HOME"] = str(tmp_path)
        fleet.start()
        shell(block("ansible-galaxy"), tmp_path, fleet.environ)
        (tmp_path / "fleet.mcshell.yml").write_text(block("plugin:"))
        graph, ping = block("ansible-inventory").splitlines()
        said = shell(graph, tmp_path, fleet.environ)
        assert "@os_" in said
        assert "@class_web__server:" in said
        assert "db01" not in said
        assert shell(ping, tmp_path, fleet.environ).count('"ping": "pong"') == 2
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(block("web:"))
        assert list(yaml.safe_load(inventory.read_text())["web"]["hosts"]) == ["web01", "web02"]
        again = ping.replace("fleet.mcshell.yml", "hosts.yml")
        assert shell(again, tmp_path, fleet.environ).count('"ping": "pong"') == 2
        fleet.config.touch()  # their client ends when its configuration is another
        sockets = lambda: [one for one in tmp_path.glob("mcshell-ansible-*/*") if one.is_socket()]  # noqa: E731
        assert wait_until(lambda: not sockets(), 30.0)


@pytest.mark.parametrize("kind", ["connection", "inventory"])
def test_what_ansible_doc_shows(kind: str, ansible: Ansible) -> None:
    """Each option of a plugin has its description, and the examples are YAML."""
    done = ansible.program("ansible-doc", "-j", "-t", kind, "mcshell.mcshell.mcshell")
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout).values()
    options = said["doc"]["options"]
    assert {"config", "session", "collective", "persist"} <= options.keys()
    assert all(one["description"] for one in options.values())
    assert yaml.safe_load(said["examples"] or "none")
