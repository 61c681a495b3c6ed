"""DDL documents for the tests, in Choria's form."""

from __future__ import annotations

import copy
from typing import Any

from mcshell.ddl import Action, load

METADATA = {
    "name": "sample",
    "description": "A sample",
    "author": "the tests",
    "license": "Apache-2.0",
    "version": "1.0.0",
    "url": "urn:mcshell:sample",
    "timeout": 10,
}


def an_input(kind: str = "string", **more: Any) -> dict[str, Any]:
    """Describe one input; strings get the validation and maxlength that Choria wants."""
    described: dict[str, Any] = {"prompt": "P", "description": "D", "type": kind, "optional": False}
    if kind == "string":
        described |= {"validation": ".*", "maxlength": 0}
    return described | more


def document(**action: Any) -> dict[str, Any]:
    """Make a DDL with the one action `act`."""
    made = {"action": "act", "description": "Acts", "display": "always", "input": {}, "output": {}}
    return {"metadata": copy.deepcopy(METADATA), "actions": [made | action]}


def run_action(inputs: dict[str, Any], **action: Any) -> Action:
    """Make a DDL with these inputs, and return its action."""
    return load(document(input=inputs, **action)).action("act")
