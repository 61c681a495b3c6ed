"""rpcutil: what a node says of itself."""

from __future__ import annotations

import os
import time
from types import MappingProxyType

import pytest

from mcshell.errors import InputError
from mcshell.message import State
from mcshell.node.agents.registry import load_agents
from mcshell.node.builtin import builtin_agents
from mcshell.node.host import Host
from mcshell.version import VERSION

FACTS = {
    "os": {"name": "Debian", "family": "Debian", "release": {"full": "12.11", "major": "12"}},
    "disks": [{"name": "sda"}, {"name": "sdb"}],
    "net.ipv4.ip_forward": 1,
    "role": "web",
    "mountpoints": {"/": {"capacity": "91.5%"}, "/my disk": {"capacity": "2%"}},
    "empty": None,
    "off": False,
    "mcshell": {"version": "0.1.0"},
}


@pytest.fixture(autouse=True)
def _facts(node):
    node.facts = MappingProxyType(FACTS)


def test_ping_answers_with_whole_seconds(tester):
    """Ping gives the node's clock in whole seconds, as MCollective's does."""
    before = int(time.time())
    pong = tester.call("rpcutil", "ping")["pong"]
    assert before <= pong <= time.time()


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("role", "web"),
        ("os", FACTS["os"]),
        ("os.release.major", "12"),
        ("disks.1.name", "sdb"),
        ("net.ipv4.ip_forward", 1),
        ("mountpoints./.capacity", "91.5%"),
        ("mountpoints./my disk.capacity", "2%"),
        ("off", False),
        ("empty", None),
        ("nosuch", None),
        ("os.nosuch.major", None),
        ("role.deeper", None),
    ],
)
def test_get_fact_walks_dotted_paths(tester, fact, value):
    """A fact is found by its dotted path through hashes and lists; what is not there is null."""
    assert tester.call("rpcutil", "get_fact", fact=fact) == {"fact": fact, "value": value}


def test_get_facts_answers_each_name(tester):
    """Several facts are named with commas, spaces around them do not matter."""
    values = tester.call("rpcutil", "get_facts", facts="role, os.family ,nosuch")["values"]
    assert values == {"role": "web", "os.family": "Debian", "nosuch": None}
    name = "mountpoints./.capacity"
    assert tester.call("rpcutil", "get_facts", facts=f"{name},role")["values"][name] == "91.5%"


@pytest.mark.parametrize("fact", ["", "a\nb", "a\x00", "x" * 257])
def test_get_fact_refuses_what_is_no_path(tester, fact):
    """An empty, an endless or a broken line is no path of a fact."""
    with pytest.raises(InputError):
        tester.call("rpcutil", "get_fact", fact=fact)


@pytest.mark.parametrize("facts", ["", ",", "role,,os", "a b"])
def test_get_facts_refuses_what_is_no_list_of_names(tester, facts):
    """A list of facts with a hole or a space in a name never reaches the agent."""
    with pytest.raises(InputError):
        tester.call("rpcutil", "get_facts", facts=facts)


def test_inventory_has_all_that_filters_match(tester, node):
    """The inventory holds agents, facts, classes and collectives, the main one named."""
    node.classes = frozenset({"role::web", "base"})
    node.collectives = ("mcs", "eu")
    found = tester.call("rpcutil", "inventory")
    assert found["facts"] == FACTS
    assert found["classes"] == ["base", "role::web"]
    assert found["agents"] == sorted(node.agents)
    assert (found["main_collective"], found["collectives"]) == ("mcs", ["mcs", "eu"])
    assert found["version"] == VERSION


def test_collective_info_names_the_main_one(tester, node):
    """The first collective is the main one."""
    node.collectives = ("eu", "mcs")
    found = tester.call("rpcutil", "collective_info")
    assert found == {"main_collective": "eu", "collectives": ["eu", "mcs"]}


def test_agent_inventory_tells_versions_and_actions(tester):
    """Each agent is there with its version and its actions."""
    agents = {agent["name"]: agent for agent in tester.call("rpcutil", "agent_inventory")["agents"]}
    assert agents["rpcutil"]["version"] == "0.1.0"
    assert "get_fact" in agents["rpcutil"]["actions"]


def test_daemon_stats_carry_mcollectives_names(tester, node):
    """The node's own counters appear under the names that MCollective gives them."""
    node.counters = {"started": 1700000000.5, "received": 7, "replied": 5, "refused": 2}
    found = tester.call("rpcutil", "daemon_stats")
    assert (found["total"], found["replies"], found["unvalidated"]) == (7, 5, 2)
    assert found["filtered"] is None, "what is not counted is not 0"
    assert found["starttime"] == 1700000000
    assert found["pid"] == os.getpid()
    assert found["rss_bytes"] > 1_000_000
    assert set(found["times"]) == {"utime", "stime", "cutime", "cstime"}
    assert "MainThread" in found["threads"]


def test_seen_tells_what_the_node_recorded(tester, node):
    """A request that the node knows comes back with its state, reason and times."""
    ident = "0123456789abcdef" * 2
    node.records[ident] = {
        "state": "denied",
        "reason": "policy",
        "received": 1.5,
        "started": None,
        "ended": 2.5,
    }
    found = tester.call("rpcutil", "seen", requestid=ident.upper())
    assert found == {"requestid": ident, "seen": True, **node.records[ident]}


def test_seen_says_when_the_node_never_saw_it(tester):
    """An id that the node does not know is no failure: seen is false."""
    found = tester.call("rpcutil", "seen", requestid="f" * 32)
    assert found["seen"] is False
    assert found["state"] == "unknown"


def test_on_the_daemons_own_view_of_a_node(tester):
    """With the daemon's own host behind it, the counters and records are those of its journal."""
    served = load_agents([tester.folder], builtin_agents())
    host = Host("web1.example.com", facts=lambda: FACTS, served=served, classes=["base"])
    served.activate(host)
    tester.node = host
    ident = "ab" * 16
    assert tester.call("rpcutil", "seen", requestid=ident)["seen"] is False
    host.journal.note(ident, State.RUNNING)
    host.journal.count("messages", 3)
    host.journal.refuse("", "expired", "")
    found = tester.call("rpcutil", "seen", requestid=ident)
    assert (found["seen"], found["state"]) == (True, "running")
    assert found["started"] >= found["received"] > 0
    stats = tester.call("rpcutil", "daemon_stats")
    assert (stats["total"], stats["unvalidated"]) == (3, 1)
    assert stats["starttime"] == int(host.journal.started)
    assert "rpcutil" in tester.call("rpcutil", "inventory")["agents"]
