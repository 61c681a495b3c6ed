"""Settings, each with its origin: flag > environment > file > default.

`load()` reads the TOML file that a flag, `MCSHELL_CONFIG` or the platform's place names. Any
scalar or list key of a section also comes from `MCSHELL_<SECTION>_<KEY>` (lists with commas).
The node daemon loads this package: it stays light.
"""

from __future__ import annotations

from mcshell.config.loading import load, variables
from mcshell.config.mcollective import MCollective
from mcshell.config.readers import seconds, size
from mcshell.config.sections import (
    PKI,
    Broker,
    Client,
    Collective,
    Limit,
    Node,
    Pool,
    Settings,
    Supervisor,
)

__all__ = [
    "PKI",
    "Broker",
    "Client",
    "Collective",
    "Limit",
    "MCollective",
    "Node",
    "Pool",
    "Settings",
    "Supervisor",
    "load",
    "seconds",
    "size",
    "variables",
]
