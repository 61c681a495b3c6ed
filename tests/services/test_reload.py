"""SIGHUP: a running node takes another configuration, or refuses it; what is under way goes on."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.peers.processes import wait_until

AGENTS = Path(__file__).resolve().parents[1] / "agents_for_tests"
DENY = "policy default deny\nallow\tcert=alice\tping\t*\t*\n"


@pytest.fixture
def web1(fleet, manager):
    """The node, ready, with a manager and folders that no configuration names yet."""
    fleet.environ |= manager.environ(30.0)
    shutil.copytree(AGENTS, fleet.folder / "agents")
    with fleet.config.open("a") as file:
        file.write(f'[node]\nagents = ["{AGENTS}"]\n')
    fleet.start()
    return fleet.nodes["web1"]


def change(fleet, old, new):
    """Change the node's file."""
    path = fleet.folder / "web1.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def reload(fleet, manager, line):
    """Send SIGHUP; the reload's lines in the log, once it is said to be over."""
    child = fleet.nodes["web1"]
    before = len(child.log.read_text())
    assert manager.came(60, READY="1"), child.tail()  # of its start: not to be taken for this one
    manager.forget()
    child.process.send_signal(signal.SIGHUP)
    assert manager.came(60, READY="1"), child.tail()
    (begun, ended) = manager.all("RELOADING", "READY")
    assert ended == {"READY": "1"}
    assert begun["RELOADING"] == "1"
    assert 0 <= time.monotonic() - int(begun["MONOTONIC_USEC"]) / 1e6 < 60
    said = child.log.read_text()[before:]
    assert line in said
    return said


def rpc(fleet, *words):
    """What a request to the node comes to."""
    done = fleet.cli("rpc", *words, "-I", "web1", "-y", "--json")
    (row,) = json.loads(done.stdout)["replies"]
    return row


def test_a_new_agent_is_served_and_an_old_one_is_not(fleet, manager, web1):
    """From the reload on; the log names them, and the fleet hears of it."""
    assert rpc(fleet, "echo", "say", "text=hello")["state"] == "failed"
    change(fleet, "[node]\n", '[node]\nagents = ["agents"]\n')
    said = reload(fleet, manager, "reloaded: policies, facts, ")
    assert "node.agents, +echo, +effect, +mark" in said
    assert rpc(fleet, "echo", "say", "text=hello")["data"]["text"] == "hello"
    assert rpc(fleet, "echo", "say", "text=hello", "--via", "queue")["data"]["text"] == "hello"
    for path in (fleet.folder / "agents").glob("echo.*"):
        path.unlink()
    assert "-echo" in reload(fleet, manager, "reloaded: ")
    assert rpc(fleet, "echo", "say", "text=hello")["state"] == "failed"
    assert web1.running


def test_an_agent_s_new_code_and_settings_count(fleet, manager, web1):
    """The file is loaded again, though its name is the same."""
    del web1
    change(fleet, "[node]\n", '[node]\nagents = ["agents"]\n')
    reload(fleet, manager, "reloaded: ")
    path = fleet.folder / "agents" / "echo.py"
    path.write_text(path.read_text().replace('call.get("text")', '"another"'))
    reload(fleet, manager, "reloaded: ")
    assert rpc(fleet, "echo", "say", "text=hello")["data"]["text"] == "another"


def test_policies_facts_and_classes_of_other_files_count(fleet, manager, web1):
    """From the reload on."""
    del web1
    assert rpc(fleet, "rpcutil", "get_fact", "fact=role")["data"]["value"] == "web"
    (fleet.folder / "strict").mkdir()
    (fleet.folder / "strict" / "default.policy").write_text(DENY)
    (fleet.folder / "other.yaml").write_text('{"role": "db"}')
    change(fleet, 'facts = ["web1.yaml"]', 'facts = ["other.yaml"]')
    said = reload(fleet, manager, "reloaded: ")
    assert "node.facts" in said
    assert rpc(fleet, "rpcutil", "get_fact", "fact=role")["data"]["value"] == "db"
    change(fleet, 'policies = "policies"', 'policies = "strict"')
    assert "node.policies" in reload(fleet, manager, "reloaded: ")
    assert rpc(fleet, "rpcutil", "get_fact", "fact=role")["state"] == "denied"
    assert rpc(fleet, "rpcutil", "ping")["state"] == "ok"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[node]\n", "[node]\noops\n", "not TOML"),
        ("[node]\n", "[node]\nslotz = 3\n", "unknown key node.slotz"),
        ('policies = "policies"', 'policies = "nowhere"', "nowhere: No such file"),
        ("[node]\n", '[node]\nagents = ["nowhere"]\n', "nowhere: No such file"),
        ('key = "web1.key"', 'key = "alice.key"', "alice.key"),
        ("[node]\n", '[node]\nidentity = "web2"\n', "node.identity is 'web2'"),
        ("[node]\n", '[agents.file]\nwirte = "/srv"\n[node]\n', "unknown key agents.file.wirte"),
    ],
)
def test_a_configuration_that_is_broken_is_refused(fleet, manager, web1, old, new, why):
    """In one line that says why; the old one stays in force, and the next reload is a new chance."""
    path = fleet.folder / "web1.toml"
    whole = path.read_text()
    change(fleet, old, new)
    said = reload(fleet, manager, "not reloaded, all stays as it was: ")
    assert why in said
    assert said.count("\n") == 1
    assert rpc(fleet, "rpcutil", "get_fact", "fact=role")["data"]["value"] == "web"
    path.write_text(whole)
    reload(fleet, manager, "as before")
    assert web1.running


def test_what_wants_a_restart_is_named(fleet, manager, web1):
    """Each time, until it is restarted; what can be taken is taken all the same."""
    change(fleet, "[node]\n", '[node]\nslots = 7\ntell_files = "all"\n')
    change(fleet, "[collective]\n", '[collective]\nmember = ["other"]\n')
    said = reload(fleet, manager, "only after a restart: collective.member, node.slots\n")
    assert "node.tell_files" in said
    said = reload(fleet, manager, "only after a restart: collective.member, node.slots\n")
    assert "as before" in said
    assert web1.running


def test_nothing_that_is_under_way_is_lost(fleet, manager, web1):
    """An action in a thread, one in a shim and what waits behind it, while the agent goes away."""
    del web1
    change(fleet, "[node]\n", '[node]\nagents = ["agents"]\nslots = 1\n')
    fleet.nodes.pop("web1").stop()
    fleet.start()
    marks, go = fleet.folder / "marks", fleet.folder / "go"
    with fleet.client() as client:
        more = {"file": str(marks), "text": str(go), "identities": ["web1"], "wait": False}
        runs = [
            client.rpc("mark", "hold", via="direct", timeout=60, **more),
            client.rpc("mark", "hold", via="queue", ttl=600, **more),
        ]
        assert wait_until(lambda: marks.exists() and len(marks.read_text().splitlines()) == 2, 30)
        runs.append(
            client.rpc(
                "echo", "say", value=1, via="queue", ttl=600, identities=["web1"], wait=False
            )
        )
        for path in (fleet.folder / "agents").glob("mark.*"):
            path.unlink()
        assert "-mark" in reload(fleet, manager, "reloaded: ")
        go.touch()
        states = [run.wait(30).frame().state.tolist() for run in runs]
    assert states == [["ok"], ["ok"], ["ok"]]


def test_one_that_comes_while_the_node_starts_is_heard(fleet):
    """A node that is told before it serves starts all the same, and reads its configuration again then."""
    argv = ["node", "--config", str(fleet.folder / "web1.toml")]
    child = fleet.nodes["web1"] = fleet._run("web1", argv)
    state = fleet.folder / "state-web1"
    assert wait_until(state.exists, 60, 0.001), child.tail()
    child.process.send_signal(signal.SIGHUP)
    fleet._wait("web1", child, 0)
    assert wait_until(lambda: "reloaded" in child.log.read_text(), 60), child.tail()
