"""`[agents.NAME]` of an agent that says which keys it has: read as these are meant, or the agent is not served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.ddl.ddl_library import shipped_dir
from mcshell.node.agents.registry import load_agents

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.node.agents.registry import AgentRegistry

SHIPPED = ("exec", "file", "package", "process", "rpcutil", "service")


@pytest.fixture
def agents():
    """Those that ship, as a node loads them."""
    return load_agents([shipped_dir()])


def test_values_are_read_as_those_of_other_sections(agents):
    """A size and a length of time have units, and a text is a list of one."""
    read = agents.configure(
        {
            "file": {"write": "/srv/app", "deny": "*.key", "max_file": "1KiB", "parts_keep": "7d"},
            "exec": {"max_output": "1MiB"},
            "package": {"lock_wait": "1m"},
        }
    )
    assert read["file"] == {
        "write": ("/srv/app",),
        "deny": ("*.key",),
        "max_file": 1024,
        "parts_keep": 7 * 86_400,
    }
    assert (read["exec"]["max_output"], read["package"]["lock_wait"]) == (2**20, 60)
    assert agents.flaws() == []
    assert agents.names == set(SHIPPED)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"wirte": ["/srv"]}, "unknown key agents.file.wirte (did you mean write?)"),
        ({"write": ["app"]}, "agents.file.write: 'app' is no absolute path"),
        ({"roots": [1]}, "agents.file.roots: [1] is no list of strings"),
        ({"max_file": "1 TB or so"}, "agents.file.max_file: '1 TB or so' is no size"),
        ({"parts_keep": "a week"}, "agents.file.parts_keep: 'a week' is no duration"),
        ({"deny": 7}, "agents.file.deny: 7 is no list of strings"),
    ],
)
def test_an_agent_whose_settings_are_wrong_is_not_served(agents, table, why):
    """It is named with the key, and costs nobody else."""
    agents.configure({"file": table})
    assert agents.names == set(SHIPPED) - {"file"}
    assert why in agents.inactive["file"]
    (flaw,) = agents.flaws()
    assert flaw.startswith(f"agent file is not served: {why}")


def test_settings_of_a_misspelt_agent_are_told(agents, caplog):
    """Nobody reads them, and the log and `flaws` say so; those of a conversation's handler are its own."""
    agents.configure({"serivce": {"x": 1}, "puppet": {"folder": "/srv"}})
    assert agents.flaws() == ["agents.serivce: no agent (did you mean service?)"]
    assert caplog.messages == [f"{agents.flaws()[0]}: its settings are nobody's"]


@pytest.mark.parametrize("name", SHIPPED)
def test_each_agent_that_ships_knows_its_keys(agents, name):
    """A key that none of them has is refused by each."""
    assert "unknown key" in agents.wrong_settings({name: {"no_such_key": 1}})[name]


def mine(folder: Path, *lines: str) -> AgentRegistry:
    """The agents that ship, with one of one's own in the place of `rpcutil`."""
    (folder / "rpcutil.json").write_text((shipped_dir() / "rpcutil.json").read_text())
    text = "from mcshell.node.agent import Agent\n\n\nclass Mine(Agent):\n    name = 'rpcutil'\n"
    text += "".join(f"    {line}\n" for line in (*lines, "def ping(self, call): return {}"))
    (folder / "rpcutil.py").write_text(text)
    return load_agents([folder, shipped_dir()])


def test_an_agent_that_declares_none_has_its_table_as_it_stands(tmp_path):
    """An agent of one's own looks at its settings itself, also one in the place of ours."""
    agents = mine(tmp_path, "def __init__(self): self.settings = {'of': 'its own'}")
    tables = {"rpcutil": {"any": "1MiB"}, "elsewhere": {"at": 7}}
    assert agents.configure(tables) == tables
    assert "rpcutil" in agents.names


def test_an_agent_that_declares_what_there_is_not_costs_nobody_else(tmp_path):
    """It is not served, and told what is meant; the node was not started."""
    agents = mine(tmp_path, "settings = {'most': 'number'}")
    agents.configure({"rpcutil": {"most": 7}})
    assert agents.names == set(SHIPPED) - {"rpcutil"}
    said = "agents.rpcutil.most: the agent calls it 'number': one of folders, length of time, "
    assert said in agents.inactive["rpcutil"]
