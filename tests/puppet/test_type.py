"""`mcshell_action` in a real `puppet apply`: what it asks of real daemons, and what it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.puppet.conftest import HANDLERS, Puppets
from tests.rollout.puppet import literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rollout.puppet import Applied

pytestmark = [pytest.mark.timeout(600), pytest.mark.puppet]


@pytest.fixture(scope="module")
def fleet(embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Puppets]:
    """Two daemons, and an operator's machine that has puppet."""
    with Puppets(embedded, tmp_path_factory.mktemp("typed"), ["n1", "n2"]) as one:
        one.start()
        yield one


def action(fleet: Puppets, title: str, **parameters: Any) -> str:
    """One resource: `mark.once` on both nodes, unless something else is said."""
    mark = fleet.work / title.split(":", maxsplit=1)[0]
    said = {
        "agent": "mark",
        "action": "once",
        "inputs": {"file": str(mark)},
        "nodes": ["n[1-2]"],
        "unless": {
            "agent": "file",
            "action": "stat",
            "inputs": {"path": str(mark)},
            "expect": {"exists": True},
        },
        "command": str(Path(sys.executable).with_name("mcshell")),
        "config": str(fleet.config),
        "timeout": "30s",
        **parameters,
    }
    known = {name: value for name, value in said.items() if value is not None}
    lines = "".join(f"  {name} => {literal(value)},\n" for name, value in known.items())
    return f"mcshell_action {{ '{title}':\n{lines}}}\n"


def apply(fleet: Puppets, *resources: str, words: tuple[str, ...] = ()) -> Applied:
    """Apply a manifest on the operator's machine: its exit code, and what it said."""
    from tests.rollout.puppet import Applied

    manifest = fleet.source("typed.pp", "".join(resources))
    options = ["--detailed-exitcodes", "--color=false", *fleet.options(), *words]
    done = subprocess.run(
        ["puppet", "apply", f"--modulepath={HANDLERS}", *options, manifest],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    return Applied(done.returncode, done.stdout + done.stderr)


def marks(fleet: Puppets, name: str) -> int:
    """How many marks the nodes have left."""
    path = fleet.work / name
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_it_asks_once(fleet: Puppets) -> None:
    """With noop nothing is asked, then each node once, and in the next run nobody, as `unless` says."""
    resource = action(fleet, "once: both")
    looked = apply(fleet, resource, words=("--noop",))
    assert "current_value 'false', should be 'true' (noop)" in looked.said, looked.said
    assert marks(fleet, "once") == 0
    done = apply(fleet, resource)
    assert done.code == 2, done.said
    assert "asked: 2 ok" in done.said
    assert marks(fleet, "once") == 2
    again = apply(fleet, resource)
    assert again.code == 0, again.said
    assert marks(fleet, "once") == 2


@pytest.mark.soak  # its time is puppet's
def test_it_asks_when_something_has_changed(fleet: Puppets) -> None:
    """With refreshonly it asks when what it is subscribed to has changed, and not otherwise."""
    other = fleet.work / "refreshed.conf"
    file = f"file {{ '{other}': content => 'x', notify => Mcshell_action['refreshed: both'] }}\n"
    resource = action(fleet, "refreshed: both", unless=None, refreshonly=True)
    assert apply(fleet, file, resource).code == 2
    assert marks(fleet, "refreshed") == 2
    assert apply(fleet, file, resource).code == 0
    assert marks(fleet, "refreshed") == 2


def test_what_a_node_refuses_fails_the_resource(fleet: Puppets) -> None:
    """A node that fails, denies, is silent or does not exist is the reason of a failed resource; others go on."""
    fine = action(fleet, "fine: both")
    failing = action(fleet, "failing: both", inputs={"file": "/nowhere/at/all"})
    denied = action(fleet, "denied: both", agent="exec", action="run", inputs={"argv": "id"})
    nobody = action(fleet, "nobody: both", nodes=None, where="role=none")
    done = apply(fleet, fine, failing, denied, nobody)
    assert done.code == 6, done.said
    assert marks(fleet, "fine") == 2
    assert "mark.once: 2 of 2 not ok: n1 is failed: " in done.said, done.said
    assert "exec.run: " in done.said
    assert "file.stat: " in done.said


WRONG: dict[str, dict[str, Any]] = {
    "unless or refreshonly: it would be asked in each run": {"unless": None},
    "nodes or where: somebody has to be asked": {"nodes": None},
    "no name of nodes": {"nodes": ["--yes"]},
    "no filter": {"where": "--yes"},
    "agent is one word": {"agent": "mark; id"},
    "agent is missing": {"agent": None},
    "no name of an input": {"inputs": {"--file": "x"}},
    "input file is no text, number or boolean": {"inputs": {"file": ["x"]}},
    "unless is a hash": {"unless": "true"},
    "unless wants expect": {"unless": {"agent": "file", "action": "stat"}},
    "unless has no where": {"unless": {"where": "x", "expect": {"exists": True}}},
    "unless wants action": {"unless": {"agent": "file", "expect": {"exists": True}}},
}
MAKE = """
require 'json'
require 'puppet'
Puppet.initialize_settings(ARGV)
JSON.parse(STDIN.read).each do |parameters|
  Puppet::Type.type(:mcshell_action).new(parameters.transform_keys(&:to_sym))
  puts 'taken'
rescue StandardError => error
  puts error.message.lines.first
end
"""


def test_what_means_nothing_is_refused(tmp_path: Path) -> None:
    """A resource that cannot be meant so is refused before anything is asked, and says why."""
    good = {
        "name": "good",
        "agent": "mark",
        "action": "once",
        "nodes": ["n1"],
        "unless": {"agent": "file", "action": "stat", "expect": {"exists": True}},
    }
    each = [good, *({**good, **wrong} for wrong in WRONG.values())]
    known = [{name: value for name, value in one.items() if value is not None} for one in each]
    places = [f"--{one}dir={tmp_path / one}" for one in ("conf", "var", "run", "log")]
    done = subprocess.run(
        ["ruby", "-I", HANDLERS / "mcshell" / "lib", "-e", MAKE, "--", *places],
        input=json.dumps(known),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "taken"
    for line, words in zip(said[1:], WRONG, strict=True):
        assert words in line
