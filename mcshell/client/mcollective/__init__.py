"""MCollective's nodes beside our own: one client, one call, one table.

`lane` speaks the old wire, `routes` knows which node is asked over which, `mixed` are the courier
and the prober that ask over both. Everything else of the client sees the same requests and replies.
"""

from __future__ import annotations

from mcshell.client.mcollective.mixed import Mixed

__all__ = ["Mixed"]
