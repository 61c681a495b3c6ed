"""What `Replies` are in Python: rows to go through, and snapshots that nothing changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.client.client import Client
    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def client(fleet: Fleet) -> Iterator[Client]:
    """One that asks web1, web2 and db1."""
    with fleet.client(state="state-replies") as found:
        yield found


def test_replies_are_their_rows(client: Client) -> None:
    """A loop has the rows as they stand, a sender or a place one of them, `in` asks for a sender."""
    replies = client.rpc("rpcutil", "ping", nodes=["web1", "ghost1", "web2"])
    assert (
        [row.sender for row in replies] == ["web1", "ghost1", "web2"] == [*replies.frame().sender]
    )
    assert len(replies) == len(list(replies)) == 3
    assert replies["ghost1"] == replies[1]
    assert replies["ghost1"].state is State.SILENT
    assert "ghost1" in replies
    assert "ghost2" not in replies
    with pytest.raises(KeyError, match="'ghost2': a sender of these rows"):
        replies["ghost2"]
    with pytest.raises(IndexError):
        replies[3]


def test_rows_are_targets(client: Client) -> None:
    """`nodes` takes replies as they are, or some of their rows."""
    first = client.rpc("rpcutil", "ping", nodes=["web1", "ghost1"])
    again = client.rpc("rpcutil", "ping", nodes=first)
    assert [row.sender for row in again] == ["web1", "ghost1"]
    well = client.rpc("rpcutil", "ping", nodes=[row for row in first if row.state is State.OK])
    assert [row.sender for row in well] == ["web1"]


def test_a_change_in_one_table_is_in_no_other(client: Client) -> None:
    """Lists and hashes in cells are each table's own: what was handed out stays as it was."""
    replies = client.rpc("rpcutil", "inventory", nodes=["web1"])
    before = replies.frame()
    changed = replies.ok
    changed.agents[0].append("mine")
    changed.facts[0]["rack"]["row"] = "mine"
    for table in (before, replies.frame()):
        assert "mine" not in table.agents[0]
        assert table.facts[0]["rack"] == {"row": 4}
