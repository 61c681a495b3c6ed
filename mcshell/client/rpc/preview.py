"""Who would be hit: what an operator is shown before a request that changes nodes goes out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mcshell.filters.nodes import fold

__all__ = ["Preview"]


@dataclass(frozen=True, slots=True)
class Preview:
    """A request whose action changes nodes, before anything is sent.

    `known` is how many nodes there are, the targets among them; `limit` is
    `client.confirm_share`, a percentage of them or a number of nodes.
    """

    agent: str
    action: str
    names: tuple[str, ...]
    known: int
    limit: str

    @property
    def share(self) -> float:
        """The targets' share of the known fleet, 0 to 1."""
        return len(self.names) / max(self.known, len(self.names), 1)

    @property
    def exceeds(self) -> bool:
        """Whether there are more of them than the operator wants to hit unasked.

        One node is never many, however small the fleet.
        """
        if len(self.names) <= 1:
            return False
        number = int(self.limit.removesuffix("%"))
        if self.limit.endswith("%"):
            number = math.floor(max(self.known, len(self.names)) * number / 100)
        return len(self.names) > number

    def __str__(self) -> str:
        """One line for the eye."""
        count = len(self.names)
        nodes = f"{count} node{'' if count == 1 else 's'}, {self.share:.0%} of the known fleet"
        return f"{self.agent}.{self.action} changes {nodes}: {fold(self.names)}"
