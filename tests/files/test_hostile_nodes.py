"""Nodes whose agent `file` tells untruths: whoever copies comes to an end, and is told why."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.files.conftest import MORE
from tests.peers.certificates import rsa_leaf
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

AGENT = Path(__file__).resolve().parents[2] / "agents" / "file.json"
LIAR = """
from mcshell.node.agent import Agent

OTHERS = {
    "/nothing-said": {"result": ""},
    "/unasked-noop": {"result": "noop"},
    "/another-file": {"result": "written", "sha256": "f" * 64},
}


class File(Agent):
    name = "file"

    def put(self, call):
        said = {name: call[name] for name in ("path", "size", "sha256")}
        if call["path"] in OTHERS:
            return {**said, "bytes": 100, "missing": [], "changed": True, **OTHERS[call["path"]]}
        missing = [[0, 0]] if call["path"] == "/again" else []
        return {**said, "result": "partial", "bytes": 0, "missing": missing, "changed": False}

    def get(self, call):
        said = {"path": call["path"], "realpath": call["path"], "mode": "0644", "mtime": 0.0}
        size, content = 1 << 62, b"x" * call.get("length", 0)
        return {**said, "size": size, "sha256": "0" * 64, "offset": 0, "content": content}

    def list(self, call):
        names = ("b", "a") if call.get("after") == "b" else ("a", "b")
        entry = {"type": "file", "size": 1, "mode": "0644", "owner": "", "group": "", "mtime": 0.0, "link": None}
        entries = [{"name": name, **entry} for name in names]
        return {"path": call["path"], "realpath": call["path"], "entries": entries, "truncated": True}
"""


@pytest.fixture(scope="module")
def alice(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An operator, and a node whose agent was replaced."""
    folder = tmp_path_factory.mktemp("liars")
    (agents := folder / "agents").mkdir()
    shutil.copy(AGENT, agents)
    (agents / "file.py").write_text(LIAR)
    more = f'agents = ["{agents}"]\n'
    rules = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
    with Fleet(embedded, folder, {"liar": Node()}, policies={"file": rules}, more=more) as fleet:
        fleet.start()
        with fleet.client() as client:
            yield client


@pytest.mark.parametrize("path", ["/again", "/nothing"])
def test_a_node_that_never_has_enough(alice: Client, tmp_path: Path, path: str) -> None:
    """It is sent what it says it lacks some times, then it has failed with that reason."""
    (tmp_path / "app").write_bytes(b"x" * 100)
    frame = alice.files.put(tmp_path / "app", path, identities="liar")
    assert (frame.state[0], "again and again" in frame.reason[0]) == ("failed", True)


@pytest.mark.parametrize("path", ["/nothing-said", "/unasked-noop", "/another-file"])
def test_a_node_that_says_ok_and_not_that_it_has_the_file(
    alice: Client, tmp_path: Path, path: str
) -> None:
    """It has failed: its row says what it answered."""
    (tmp_path / "app").write_bytes(b"x" * 100)
    frame = alice.files.put(tmp_path / "app", path, identities="liar")
    assert (frame.state[0], "not that the file is there" in frame.reason[0]) == ("failed", True)


def test_a_node_whose_file_is_larger_than_the_disk(alice: Client, tmp_path: Path) -> None:
    """It has failed before a byte of it has come: nobody's disk is filled by what a node says."""
    frame = alice.files.get("/endless", tmp_path / "here", identities="liar", by_node=False)
    assert (frame.state[0], "there is room for" in frame.reason[0]) == ("failed", True)
    assert not [*(tmp_path / "here").iterdir()]


def test_a_node_whose_folder_has_no_end(alice: Client) -> None:
    """Names that it has said before are not asked for again."""
    assert list(alice.files.list("/x", identities="liar").name) == ["a", "b", "b", "a"]


def test_a_node_that_is_called_as_the_folder_above(embedded: Broker, tmp_path: Path) -> None:
    """What it has goes nowhere: its name, which only another CA would give, is none of a folder."""
    (folder := tmp_path / "fleet").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "app").write_text("text")
    more = MORE.format(root=tmp_path / "theirs")
    rules = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
    with Fleet(embedded, folder, {"up": Node()}, policies={"file": rules}, more=more) as fleet:
        certificate, key = rsa_leaf(folder / "pki", fleet.authority.certificate, "..")
        (folder / "up.pem").write_bytes(certificate)
        (folder / "up.key").write_bytes(key)
        fleet.start()
        (into := tmp_path / "above" / "into").mkdir(parents=True)
        with fleet.client() as alice:
            frame = alice.files.get(str(tmp_path / "theirs" / "app"), into)
    assert (frame.sender[0], frame.state[0]) == ("..", "failed")
    assert "no name of a folder" in frame.reason[0]
    assert [*(tmp_path / "above").iterdir()] == [into]
