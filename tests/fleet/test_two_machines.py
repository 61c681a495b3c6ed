"""Two machines under one name: the row, `ping` and `explain` say so, with both ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcshell.node.facts.machine_id import machine_id
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

PATIENCE = 60.0


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A machine, a clone of it with a state of its own, and one more."""
    nodes = {"web1": Node(), "web2": Node()}
    with Fleet(embedded, tmp_path_factory.mktemp("twins"), nodes) as fleet:
        text = (fleet.folder / "web1.toml").read_text()
        (fleet.folder / "clone.toml").write_text(text.replace("state-web1", "state-clone"))
        fleet.start("web1", "web2", "clone")
        yield fleet


@pytest.fixture(scope="module")
def ids(fleet: Fleet) -> list[str]:
    """What tells the two apart."""
    folders: list[Path] = [fleet.folder / f"state-{name}" / "node" for name in ("web1", "clone")]
    return sorted(map(machine_id, folders))


def test_the_row_says_that_two_machines_have_answered(fleet: Fleet, ids: list[str]) -> None:
    """A broadcast is answered by both: the row is `duplicate` and its reason has both ids."""
    with fleet.client() as alice:
        asked = alice.rpc("rpcutil", "ping", via="broadcast")
        asked.wait(PATIENCE)

        def row() -> dict[str, object]:
            return asked.ledger().set_index("sender").loc["web1"].to_dict()

        assert wait_until(lambda: bool(row()["duplicate"]), PATIENCE)
        assert all(one in str(row()["reason"]) for one in ids)
        assert not asked.ledger().set_index("sender").loc["web2"].duplicate
        assert row()["state"] == "ok"


def test_ping_says_that_two_machines_answer(fleet: Fleet, ids: list[str]) -> None:
    """One row for the name, with both ids, and a line on standard error."""
    found: dict[str, tuple[str, str | None]] = {}

    def told() -> bool:  # whose answer comes when the window is closed is late, not there
        rows = json.loads(fleet.cli("ping", "--json").stdout)
        found.update({row["sender"]: (row["state"], row.get("duplicate")) for row in rows})
        return found == {"web1": ("ok", ", ".join(ids)), "web2": ("ok", None)}

    assert wait_until(told, PATIENCE), found
    assert wait_until(lambda: "web1: duplicate: 2 machines" in fleet.cli("ping").stderr, PATIENCE)


def test_explain_says_that_two_machines_answer(fleet: Fleet, ids: list[str]) -> None:
    """Of the name under which there are two, and of no other."""
    causes = json.loads(fleet.cli("explain", "web1", "--json").stdout)
    (found,) = [row for row in causes if row["cause"] == "several machines under this name"]
    assert found["kind"] == "observed"
    assert all(one in found["evidence"] for one in ids)
    assert "several" not in fleet.cli("explain", "web2").stdout
