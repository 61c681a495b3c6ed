"""DDLs: what an agent can be asked, what each action takes, and what it gives back.

The document is Choria's JSON form; what is ours stands under the key `mcshell` of an action::

    {"action": "install", "description": "…", "input": {…}, "output": {…},
     "mcshell": {"rerun_safe": false, "changes": true, "sensitive": ["token"], "times": ["installed"],
     "timeout": 600}}

`load` reads one lightly, as a node does; `check` reads it in full, as an installer does.
"""

from __future__ import annotations

from mcshell.ddl.aggregates import Aggregate
from mcshell.ddl.load import load
from mcshell.ddl.model import DDL, REDACTED, Action, Input, Output, joint
from mcshell.ddl.schema import check

__all__ = ["DDL", "REDACTED", "Action", "Aggregate", "Input", "Output", "check", "joint", "load"]
