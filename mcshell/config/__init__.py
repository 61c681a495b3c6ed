"""Settings, each with its origin: flag > environment > file > default.

`load()` reads the TOML file that a flag, `MCSHELL_CONFIG` or the platform's place names. Any
scalar or list key of a section also comes from `MCSHELL_<SECTION>_<KEY>` (lists with commas).
The node daemon loads this package: it stays light.
"""

from __future__ import annotations

from mcshell.config.loading import load, named_file, variables
from mcshell.config.mcollective import MCollective
from mcshell.config.readers import read_duration, seconds, size
from mcshell.config.sections import (
    BrokerSettings,
    ClientSettings,
    CollectiveSettings,
    KeyReference,
    Limit,
    MCPSettings,
    Measured,
    NodeSettings,
    PKISettings,
    Pool,
    Settings,
    SupervisorSettings,
)

__all__ = [
    "BrokerSettings",
    "ClientSettings",
    "CollectiveSettings",
    "KeyReference",
    "Limit",
    "MCPSettings",
    "MCollective",
    "Measured",
    "NodeSettings",
    "PKISettings",
    "Pool",
    "Settings",
    "SupervisorSettings",
    "load",
    "named_file",
    "read_duration",
    "seconds",
    "size",
    "variables",
]
