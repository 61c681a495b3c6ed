"""What `[agents.file]` says is what is meant: a text is one folder, and not each of its letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.brokers import Broker

MORE = """\
tell_files = "all"
[agents.file]
roots = "{root}/app"
write = "{root}/app"
"""
RULES = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one that the node may write to, and another."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "app").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "secret").write_text("not for her")
    return folder


@pytest.fixture(scope="module")
def alice(
    embedded: Broker, tmp_path_factory: pytest.TempPathFactory, root: Path
) -> Iterator[Client]:
    """An operator of a node whose folders are each a text."""
    folder, more = tmp_path_factory.mktemp("fleet"), MORE.format(root=root)
    with Fleet(embedded, folder, {"n1": Node()}, policies={"file": RULES}, more=more) as fleet:
        fleet.start()
        with fleet.client() as client:
            yield client


def test_a_text_is_one_folder(alice: Client, root: Path, tmp_path: Path) -> None:
    """Below it files are put and read; elsewhere neither, though its first letter is the root of all."""
    (tmp_path / "motd").write_text("hello")
    table = alice.files.put(tmp_path / "motd", f"{root}/app/motd", nodes="n1")
    assert list(table.state) == ["ok"], table.to_dict("records")
    assert (root / "app" / "motd").read_text() == "hello"
    table = alice.files.put(tmp_path / "motd", f"{root}/other/motd", nodes="n1")
    assert list(table.state) == ["failed"]
    assert not (root / "other" / "motd").exists()
    (row,) = alice.rpc("file", "read", path=f"{root}/other/secret", nodes="n1")
    assert row.state == "failed"
    assert "not below the roots" in row.statusmsg
