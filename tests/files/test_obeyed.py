"""Who may `put`, and no more, gets no more by it: what a node obeys is written by no agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.files.conftest import MORE
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

RULES = "policy default deny\nallow\tcert=alice\tput get\t*\t*\n"


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A node that writes and reads in the folder that its own configuration lies in."""
    folder = tmp_path_factory.mktemp("obeyed")
    (folder / "code").mkdir()
    (folder / "link").symlink_to("policies")
    (folder / "shared").mkdir()
    for name in ("exec.policy", "handler.py"):
        (folder / "shared" / name).write_text("")
    (folder / "code" / "converse").mkdir()
    (folder / "code" / "converse" / "handler.py").symlink_to(folder / "shared" / "handler.py")
    more = f'agents = ["{folder}/code"]\naudit = "{folder}/audit.jsonl"\n' + MORE.format(
        root=folder
    )
    with Fleet(embedded, folder, {"n1": Node()}, policies={"file": RULES}, more=more) as fleet:
        for name in ("exec.policy", "not-there-yet.policy"):
            (folder / "policies" / name).symlink_to(folder / "shared" / name)
        fleet.start()
        yield fleet


@pytest.mark.parametrize(
    "name",
    [
        *("policies/exec.policy", "code/exec.py", "n1.yaml", "n1.toml", "n1.pem"),
        *("pki/ca.pem", "audit.jsonl", "audit.jsonl.1", "broker.pass"),
        *("shared/exec.policy", "shared/handler.py", "shared/not-there-yet.policy"),
    ],
)
def test_what_a_node_obeys_is_not_written(fleet: Fleet, tmp_path: Path, name: str) -> None:
    """Its configuration, policies, code, facts and certificates, and what it has noted, stay as they are."""
    path = fleet.folder / name
    path.parent.mkdir(exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    (tmp_path / "mine").write_text("policy default allow\n")
    with fleet.client() as alice:
        frame = alice.files.put(tmp_path / "mine", str(path), identities="n1")
    assert (frame.state[0], "obeys" in frame.reason[0] or "own" in frame.reason[0]) == (
        "failed",
        True,
    )
    if name != "audit.jsonl":
        assert (path.read_bytes() if path.exists() else None) == before


def test_the_brokers_passcode_is_not_read(fleet: Fleet, tmp_path: Path) -> None:
    """It is a secret as a key is, also where all files are told."""
    with fleet.client() as alice:
        frame = alice.files.get(str(fleet.folder / "broker.pass"), tmp_path, identities="n1")
    assert (frame.state[0], "own keys" in frame.reason[0]) == ("failed", True)


def test_a_folder_beside_what_it_obeys_is_anybodys(fleet: Fleet, tmp_path: Path) -> None:
    """A log that was rotated is named after it; a folder whose name only begins so is another's."""
    path = fleet.folder / "policies-of-others" / "mine"
    path.parent.mkdir()
    (tmp_path / "mine").write_text("text")
    with fleet.client() as alice:
        frame = alice.files.put(tmp_path / "mine", str(path), identities="n1")
    assert (frame.state[0], path.read_text()) == ("ok", "text")
