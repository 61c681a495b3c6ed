"""`cp` where a disk takes nothing: it says whose, leaves nothing behind, and goes on once there is room."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import ExitCode
from tests.files.conftest import MORE
from tests.peers.fleet import Fleet, Node
from tests.peers.small_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

MIB = 1 << 20
POLICIES = {"file": "policy default deny\nallow\tcert=alice\t*\t*\t*\n"}


@pytest.mark.timeout(240)
def test_the_disk_that_is_full_is_named(embedded: Broker, tmp_path: Path) -> None:
    """The node's own, the one that the file is for and the client's are told apart; the same line goes on."""
    source, root = tmp_path / "app", tmp_path / "root"
    source.write_bytes(os.urandom(2 * MIB))
    (tmp_path / "fleet").mkdir()
    more = f"{MORE.format(root=root)}keep_free = 0\n"
    with (
        Fleet(embedded, tmp_path / "fleet", {"n1": Node()}, policies=POLICIES, more=more) as fleet,
        small_disk(root, "16m") as there,
        small_disk(fleet.folder / "state-n1", "16m") as state,
        small_disk(fleet.folder / "state-alice", "16m") as ours,
    ):
        fleet.start()
        line = ("cp", str(source), f"n1:{root}/app", "-y")
        kept = "no space left where the node keeps what has come: 0 bytes"
        for disk, code, said in (
            (state, ExitCode.FAILED, kept),
            (there, ExitCode.FAILED, f"{root}/app: no space left: 0 bytes"),
            (ours, ExitCode.MACHINE, "state-alice/nodes.sqlite cannot be opened: its disk is full"),
        ):
            (root / "app").unlink(missing_ok=True)
            disk.fill()
            full = fleet.cli(*line)
            assert (full.returncode, said in full.stdout + full.stderr) == (code, True), full
            assert not [*root.glob("*app*"), *fleet.folder.glob("state-n1/node/files/*.part")]
            disk.empty()
            again = fleet.cli(*line)
            assert again.returncode == 0, again.stdout + again.stderr
        fleet.stop()
