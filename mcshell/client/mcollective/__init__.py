"""MCollective's nodes beside our own: one client, one call, one table.

`connection` speaks the old wire, `inventory` asks its nodes what they are, `routes` knows which
node is asked over which wire, `mixed` makes the sender and the queries that ask over both.
Everything else of the client sees the same requests and replies.
"""

from __future__ import annotations

from mcshell.client.mcollective.mixed import Mixed

__all__ = ["Mixed"]
