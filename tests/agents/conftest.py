"""The tester (`mcshell.node.testing`) on the project's own agents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.node import testing as kits
from mcshell.node.testing import TestNode

if TYPE_CHECKING:
    from mcshell.node.agent import NodeView

AGENTS = Path(__file__).parents[2] / "agents"


class Kit(kits.AgentTester):
    """Calls actions of the agents in the repository, not of an installed copy."""

    def __init__(self, node: TestNode | None = None) -> None:
        super().__init__(AGENTS, node)


@pytest.fixture
def node() -> NodeView:
    """A node of this test's own."""
    return TestNode()


@pytest.fixture
def tester(node: TestNode) -> Kit:
    """The tester on that node, with the project's agents."""
    return Kit(node=node)
