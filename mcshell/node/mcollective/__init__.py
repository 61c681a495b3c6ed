"""A node that answers MCollective's clients, too: same gate, claims, audit and agents.

`door` decides about what comes in, `mouth` answers, `member` holds the connection.
"""

from __future__ import annotations

from mcshell.node.mcollective.server import MCollectiveServer

__all__ = ["MCollectiveServer"]
