"""One caller does not hold all the conversations of a node."""

from __future__ import annotations

import pytest

from mcshell.errors import ConversationError
from tests.conversations.conftest import HANDLERS
from tests.peers.fleet import Fleet, Node

POLICY = "policy default deny\nallow\tcert=alice\techo\t*\t*\nallow\tcert=eve\techo\t*\t*\n"


def test_another_has_room(embedded, tmp_path):
    """Eve holds as many as one caller may; alice opens hers, and they talk."""
    fleet = Fleet(
        embedded,
        tmp_path,
        {"n1": Node()},
        policies={"converse": POLICY},
        operators=("alice", "eve"),
        more=f'agents = ["{HANDLERS}"]\ncaller_conversations = 5\n',
    )
    with fleet:
        fleet.start()
        with fleet.client("eve") as eve, fleet.client("alice", state="state-two") as alice:
            for _ in range(5):
                eve.open("n1", "echo", timeout=30)
            with pytest.raises(
                ConversationError, match="holds 5 conversations already of cert=eve"
            ):
                eve.open("n1", "echo", timeout=30)
            mine = alice.open("n1", "echo", timeout=30)
            mine.send("hello")
            assert mine.receive(30) == "hello"
