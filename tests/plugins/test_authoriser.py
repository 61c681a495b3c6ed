"""Authorisers: plugins that refuse what a node's policy allows, in a real daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import ConversationError
from tests.plugins.distributions import install

if TYPE_CHECKING:
    from pathlib import Path

NIGHT = """
import os
def night(question):
    with open(os.environ["ASKED"], "a") as file:
        print(question.identity, question.caller, question.agent, question.action, file=file)
    if question.agent == "converse":
        return "silence" if question.action == "broken" else None
    fact = question.data.get("fact")
    if fact == "boom":
        raise RuntimeError("no clock")
    if fact == "vague":
        return False
    return "not at\\nnight" if fact == "secret" else None
"""


@pytest.fixture
def asked(fleet, site, tmp_path) -> Path:
    """Install the authoriser `night`, start the node; the file of what it is asked."""
    where = "nightwatch:night"
    points = {"authoriser": {"night": where}, "authorizer": {"misspelt": where}}
    install(site, "nightwatch", points, NIGHT)
    fleet.environ["ASKED"] = str(tmp_path / "asked")
    fleet.start()
    return tmp_path / "asked"


def rpc(fleet, action, *words, node="web1"):
    """What a request to a node comes to: state, statuscode and statusmsg."""
    done = fleet.cli("rpc", "rpcutil", action, *words, "-I", node, "-y", "--json")
    (row,) = json.loads(done.stdout)["replies"]
    return row["state"], row["statuscode"], row["statusmsg"]


def test_an_authoriser_refuses_what_the_policy_allows(fleet, asked):
    """What it has nothing against is done; a reason or an error of its own denies, also in queues."""
    assert rpc(fleet, "get_fact", "fact=os.name")[0] == "ok"
    refused = ("denied", 1, "denied by the authoriser night: not at night")
    assert rpc(fleet, "get_fact", "fact=secret") == refused
    assert rpc(fleet, "get_fact", "fact=secret", "--via", "queue") == refused
    failed = "denied by the authoriser night: it failed: RuntimeError"
    assert rpc(fleet, "get_fact", "fact=boom") == ("denied", 1, failed)
    vague = "denied by the authoriser night: it gave no reason"
    assert rpc(fleet, "get_fact", "fact=vague") == ("denied", 1, vague)
    assert rpc(fleet, "get_fact", "fact=os.name")[0] == "ok"
    log = fleet.nodes["web1"].tail(200)
    assert "nightwatch-1.0 brings authoriser night: in force" in log
    assert "nightwatch-1.0 brings authorizer misspelt: there is no such kind of plugin" in log
    assert "RuntimeError: no clock" in log
    denied = [event for event in fleet.audit("web1") if event["event"] == "denied"]
    assert [event["reason"] for event in denied] == [refused[2], refused[2], failed, vague]
    assert set(asked.read_text().splitlines()) == {"web1 cert=alice rpcutil get_fact"}


def test_emulated_nodes_ask_it_too(fleet, asked):
    """Each by its own name."""
    fleet.emulate(2)
    assert rpc(fleet, "get_fact", "fact=os.name", node="emu0001")[0] == "ok"
    assert rpc(fleet, "get_fact", "fact=secret", node="emu0002")[0] == "denied"
    assert {line.split()[0] for line in asked.read_text().splitlines()} == {"emu0001", "emu0002"}


def test_a_conversation_is_refused_as_a_request_is(fleet, asked):
    """Its agent is `converse`, its action the protocol."""
    with fleet.client() as client:
        client.open("web1", "echo", timeout=30).close()
        with pytest.raises(ConversationError, match="denied by the authoriser night: silence"):
            client.open("web1", "broken", timeout=30)
    assert "web1 cert=alice converse echo" in asked.read_text().splitlines()


def test_an_authoriser_allows_nothing_that_the_policy_denies(fleet, asked):
    """It is not even asked."""
    state, statuscode, text = rpc(fleet, "agent_inventory")
    assert (state, statuscode) == ("denied", 1)
    assert text.startswith("denied by policy: rpcutil.policy")
    assert not asked.exists()


BROKEN = [
    (
        {"night": "nowhere:night"},
        "authoriser 'night' (nowhere:night) does not load: ModuleNotFound",
    ),
    ({"night": "nightwatch:day"}, "authoriser 'night' (nightwatch:day) does not load: Attribute"),
]


@pytest.mark.parametrize("kind", ["authoriser", "audit"])
@pytest.mark.parametrize(("points", "says"), BROKEN)
def test_a_node_does_not_start_without_one_that_does_not_load(fleet, site, kind, points, says):
    """It ends with one line that names the plugin, and serves nobody before."""
    install(site, "nightwatch", {kind: points}, NIGHT)
    done = fleet.cli("node", "--config", str(fleet.folder / "web1.toml"))
    assert done.returncode == 70
    (line,) = done.stderr.splitlines()
    assert says.replace("authoriser", kind) in line


def test_a_node_does_not_choose_between_two_of_one_name(fleet, site):
    """Two distributions that bring an authoriser of one name are named, and none is left out."""
    for name in ("nightwatch", "nightshift"):
        install(site, name, {"authoriser": {"night": f"{name}:night"}}, NIGHT)
    done = fleet.cli("node", "--config", str(fleet.folder / "web1.toml"))
    assert done.returncode == 70
    assert "'night' is brought by nightshift-1.0 and nightwatch-1.0" in done.stderr
