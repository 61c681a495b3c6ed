"""Two nodes of ours with two versions of one agent: each is asked by the schema of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import UsageError
from mcshell.message import State, Via
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

AGENT = """from mcshell.node.agent import Agent


class Disk(Agent):
    name = "disk"

    def usage(self, call):
        return {"took": dict(call.data)}
"""


def agent(folder: Path, version: str, **inputs: dict[str, object]) -> Path:
    """An agent with these inputs."""
    folder.mkdir()
    metadata = {"name": "disk", "description": "Disks", "author": "the tests"}
    more = {"license": "Apache-2.0", "url": "urn:mcshell:tests", "timeout": 10, "version": version}
    described = {"prompt": "P", "description": "D", "type": "string", "optional": False}
    action = {
        "action": "usage",
        "description": "How full it is",
        "input": {name: described | one for name, one in inputs.items()},
        "output": {"took": {"description": "Its inputs", "display_as": "Took", "type": "hash"}},
        "mcshell": {"changes": False},
    }
    document = {"metadata": metadata | more, "actions": [action]}
    (folder / "disk.json").write_text(json.dumps(document))
    (folder / "disk.py").write_text(AGENT)
    return folder


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """web1 has the earlier version, web2 the later; the operator has both."""
    folder = tmp_path_factory.mktemp("versions")
    text = {"validation": ".", "maxlength": 90}
    unit = {"type": "list", "list": ["kB", "MB"], "optional": True, "default": "kB"}
    one = agent(folder / "one", "1.0.0", path=text)
    two = agent(folder / "two", "2.0.0", path=text, unit=unit)
    with Fleet(embedded, folder, {"web1": Node(), "web2": Node()}) as fleet:
        for name, agents in {"web1": [one], "web2": [two], "alice": [one, two]}.items():
            path = folder / f"{name}.toml"
            line = f"agents = {json.dumps([str(place) for place in agents])}\n"
            head = "" if "[node]" in path.read_text() else "[node]\n"
            path.write_text(path.read_text() + head + line)
        fleet.start()
        yield fleet


@pytest.fixture(scope="module")
def client(fleet: Fleet) -> Iterator[Client]:
    """Its operator."""
    with fleet.client() as client:
        yield client


def took(client: Client, **inputs: object) -> dict[str, object]:
    """What each node that answered took."""
    rows = client.rpc("disk", "usage", **inputs).rows()
    assert {row.sender for row in rows} == {"web1", "web2"}
    return {row.sender: row.data["took"] for row in rows if row.state is State.OK}


def test_each_gets_its_own_defaults(client: Client) -> None:
    """What both know goes to both, filled in by the schema of each."""
    assert took(client, path="/") == {"web1": {"path": "/"}, "web2": {"path": "/", "unit": "kB"}}


def test_an_input_of_one_version_goes_to_that_version(client: Client) -> None:
    """The other is a row with the reason; nothing is broadcast that only some may get."""
    assert took(client, path="/", unit="MB") == {"web2": {"path": "/", "unit": "MB"}}
    replies = client.rpc("disk", "usage", path="/", unit="MB")
    (row,) = (row for row in replies.rows() if row.sender == "web1")
    assert row.statusmsg == (
        "not sent: disk.usage has no input 'unit': it takes path (its disk is 1.0.0)"
    )
    assert replies.via is Via.DIRECT
    with pytest.raises(UsageError, match="several schemas of disk"):
        client.rpc("disk", "usage", path="/", via="broadcast")
    with pytest.raises(UsageError, match="via=queue asks all alike"):
        client.rpc("disk", "usage", path="/", via="queue")
    alone = client.rpc("disk", "usage", path="/", unit="MB", via="queue", identities=["web2"])
    assert [row.state for row in alone.rows()] == [State.OK]


def test_a_line_and_a_retry(fleet: Fleet) -> None:
    """The words of a line are read by each schema; who was not asked may be, with other inputs."""
    done = fleet.cli("rpc", "disk", "usage", "path=/", "unit=MB", "-j", "--session", "kept")
    assert done.returncode == 5, done.stderr
    again = fleet.cli("retry", "--session", "kept", "-j")
    assert again.returncode == 64
    assert "has no input 'unit'" in again.stderr
