"""`agent new NAME`: an agent to begin with: its DDL, its code, and a test that passes."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcshell.commands.output.result import Table
from mcshell.ddl.ddl_library import Library, builtin_dir, shipped_dir
from mcshell.errors import UsageError
from mcshell.private import replace_file
from mcshell.storage import not_written

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import AgentNewOptions

__all__ = ["new"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")

_CODE = '''\
"""The agent {name}: say here what it is for."""

from __future__ import annotations

from typing import Any

from mcshell.node.agent import Agent, AgentError, Call, Unavailable, lookup


class {title}(Agent):
    """Each public method is an action; {name}.json says what it takes and gives."""

    name = "{name}"

    def activate(self, node: Any) -> None:
        """Refuse a platform that cannot serve this agent: it is then not offered there."""
        if lookup(node.facts, "kernel", "Linux") != "Linux":
            raise Unavailable("{name} needs Linux")

    def greet(self, call: Call) -> dict[str, Any]:
        """Return the outputs; what goes wrong is an AgentError, in one line."""
        who = call["who"]
        if who == "nobody":
            raise AgentError("there is nobody to greet")
        return {{"text": f"Hello {{who}}, this is {{call.node.identity}}"}}
'''

_TEST = '''\
"""What the agent {name} does, run as a node runs it, without a broker."""

from __future__ import annotations

from pathlib import Path

from mcshell.node.testing import AgentTester, TestNode

tester = AgentTester(Path(__file__).parent, TestNode(identity="web1"))


def test_it_greets() -> None:
    """The output names who was greeted, and the node."""
    assert tester.call("{name}", "greet", who="you") == {{"text": "Hello you, this is web1"}}


def test_it_fails_in_one_line() -> None:
    """What cannot be done is said, not raised."""
    assert "nobody" in str(tester.fails("{name}", "greet", who="nobody"))
'''


def new(context: Context, options: AgentNewOptions) -> Table:
    """Write NAME.json, NAME.py and test_NAME.py; nothing that is there is overwritten.

    Raises:
        UsageError: the name is none for an agent, or that of one that ships, in whose place it would be
            served; or a file of it is there.
    """
    del context
    name = options.name
    if not _NAME.fullmatch(name):
        raise UsageError(f"agent new: {name!r}: lower-case letters, digits and _ are meant")
    if name in Library([shipped_dir(), builtin_dir()]).agents():
        raise UsageError(f"agent new: {name!r} is an agent that ships: another name is meant")
    folder = Path(options.dir or ".")
    title = "".join(part.capitalize() for part in name.split("_"))
    files = {
        folder / f"{name}.json": json.dumps(_schema(name), indent=2) + "\n",
        folder / f"{name}.py": _CODE.format(name=name, title=title),
        folder / f"test_{name}.py": _TEST.format(name=name),
    }
    there = [str(path) for path in files if path.exists()]
    if there:
        raise UsageError(f"agent new: {', '.join(there)} is there already")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            replace_file(path, text.encode(), 0o666)
    except OSError as error:
        for path in files:  # all or none: what is there would be refused the next time
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise not_written(folder, error) from error
    notes = (
        f"try it:  python -m pytest {folder / f'test_{name}.py'}",
        f'serve it:  [node] agents = ["{folder.absolute()}"], and a policy {name}.policy',
    )
    return Table(("file",), [(str(path),) for path in files], notes=notes)


def _schema(name: str) -> dict[str, Any]:
    return {
        "$schema": "https://choria.io/schemas/mcorpc/ddl/v1/agent.json",
        "metadata": {
            "name": name,
            "description": "Say here what it is for",
            "author": "you",
            "license": "Apache-2.0",
            "version": "0.1.0",
            "url": f"urn:mcshell:agent:{name}",
            "timeout": 10,
        },
        "actions": [
            {
                "action": "greet",
                "description": "Greet somebody",
                "display": "always",
                "input": {
                    "who": {
                        "prompt": "Who",
                        "description": "Whom to greet",
                        "type": "string",
                        "optional": False,
                        "validation": "^[A-Za-z ]+$",
                        "maxlength": 40,
                    }
                },
                "output": {
                    "text": {
                        "description": "The greeting",
                        "display_as": "Greeting",
                        "type": "string",
                    }
                },
                "mcshell": {"rerun_safe": True, "changes": False},
            }
        ],
    }
