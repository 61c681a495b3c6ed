"""Agents that do not load leave the daemon, and the other agents, as they are."""

from __future__ import annotations

import json
import logging
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mcshell.ddl.ddl_library import shipped_dir
from mcshell.message import State
from mcshell.node.agent import Agent, Call
from mcshell.node.agents.registry import AgentRegistry, ServedAgent, load_agents
from mcshell.node.execution.action import run_action

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.node.agent import NodeView


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("nonsense", "NameError: name 'nonsense' is not defined"),
        ("class", "invalid syntax"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("", "must hold one Agent"),
    ],
)
def test_an_agent_that_does_not_load_is_inactive(tmp_path: Path, text: str, why: str) -> None:
    """Whatever its module raises is its reason; the others load."""
    schema = json.loads((shipped_dir() / "rpcutil.json").read_text(encoding="utf-8"))
    schema["metadata"]["name"] = "odd"
    (tmp_path / "odd.json").write_text(json.dumps(schema), encoding="utf-8")
    (tmp_path / "odd.py").write_text(text, encoding="utf-8")
    served = load_agents([tmp_path, shipped_dir()])
    assert why in served.inactive["odd"]
    assert served.get("rpcutil") is not None


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A slip in `[node] agents` is a line in the log, not a silent lack of agents."""
    with caplog.at_level(logging.WARNING):
        load_agents([tmp_path / "nowhere"])
    assert f"no agents from {tmp_path / 'nowhere'}" in caplog.text


class Quitter(Agent):
    """An agent of somebody else: it ends the interpreter where it should raise."""

    name = "quitter"

    def activate(self, node: NodeView) -> None:
        """Fail as code fails that has a slip in it."""
        raise KeyError(node.identity)

    def quit(self, call: Call) -> dict[str, object]:
        """End."""
        sys.exit(f"no {call['what']}")


def test_an_agent_that_does_not_activate_is_inactive() -> None:
    """Whatever `activate` raises is its reason."""
    schema = SimpleNamespace(name="quitter", metadata={}, actions={})
    served = AgentRegistry([ServedAgent(Quitter(), schema)])  # type: ignore[arg-type] # no DDL is needed
    served.activate(SimpleNamespace(identity="web1"))  # type: ignore[arg-type] # nor a node
    assert served.inactive == {"quitter": "does not activate: KeyError: 'web1'"}
    assert served.get("quitter") is None


def test_an_action_that_exits_has_failed() -> None:
    """`sys.exit()` in an action is its crash: neither the thread nor the emulator ends with it."""
    request = SimpleNamespace(agent="quitter", action="quit", data={"what": "luck"})
    service = SimpleNamespace(agent=Quitter())
    admitted = SimpleNamespace(
        request=request, service=service, action=SimpleNamespace(name="quit")
    )
    outcome = run_action(admitted, SimpleNamespace(identity="web1"), time.monotonic() + 1)  # type: ignore[arg-type] # as above
    assert (outcome.state, outcome.statuscode) == (State.FAILED, 5)
    assert "SystemExit: no luck" in outcome.statusmsg
