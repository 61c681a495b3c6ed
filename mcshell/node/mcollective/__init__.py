"""A node that answers MCollective's clients, too: same policies, claims, audit and agents.

`admission` decides about what comes in, `replies` answers, `host` is the node as that network sees
it, `server` holds the connection.
"""

from __future__ import annotations

from mcshell.node.mcollective.server import MCollectiveServer

__all__ = ["MCollectiveServer"]
