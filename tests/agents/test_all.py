"""What holds for every agent: its DDL is sound and says exactly what the code does."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pytest

from mcshell import ddl
from mcshell.node.agent import Agent

AGENTS = Path(__file__).parents[2] / "agents"
NAMES = sorted(path.stem for path in AGENTS.glob("*.py"))
POLICY_OF_ITS_OWN = {"exec", "file", "package", "process"}


def test_the_agents_that_were_promised_are_there():
    """The six agents of the first release each have code and a DDL."""
    assert NAMES == ["exec", "file", "package", "process", "rpcutil", "service"]
    assert sorted(path.stem for path in AGENTS.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_ddl_is_sound(name):
    """The DDL passes the full check of an installer and bears the agent's name."""
    document = json.loads((AGENTS / f"{name}.json").read_text())
    ddl.check(document)
    assert document["metadata"]["name"] == name


@pytest.mark.parametrize("name", NAMES)
def test_every_action_is_a_method_and_every_method_an_action(tester, name):
    """Nothing is promised that the code has not, and no public method is out of the DDL."""
    own = {
        key
        for key, value in inspect.getmembers(type(tester.load(name)), inspect.isfunction)
        if not key.startswith("_") and key not in vars(Agent)
    }
    assert own == set(tester.ddl(name).actions)


@pytest.mark.parametrize("name", NAMES)
def test_every_action_says_what_it_does_to_a_node(name):
    """Each action states `changes` and `rerun_safe`; aggregates are about declared outputs."""
    for action in json.loads((AGENTS / f"{name}.json").read_text())["actions"]:
        assert {"changes", "rerun_safe", "sensitive"} <= set(action["mcshell"])
        for aggregate in action.get("aggregate", ()):
            assert aggregate["args"][0] in action["output"]


@pytest.mark.parametrize("name", NAMES)
def test_of_ours_agents_import_only_the_agent_module(name):
    """An agent's only import of ours is mcshell.node.agent."""
    tree = ast.parse((AGENTS / f"{name}.py").read_text())
    ours = {
        module
        for node in ast.walk(tree)
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if module.startswith("mcshell")
    }
    assert ours == {"mcshell.node.agent"}
