"""Discovery methods that a distribution brings: whom they name is asked, and what fails says so."""

from __future__ import annotations

import json

import pytest

from tests.plugins.distributions import install

CODE = """
from mcshell.client.discovery.methods import Discovered

def names(search):
    return Discovered(names=("WEB1", "gone", "web1"))

def down(search):
    raise ValueError("the CMDB is down\\nfor today")

def nothing(search):
    return None

def text(search):
    return Discovered(names="web1")

def numbers(search):
    return Discovered(names=(1, 2))
"""


@pytest.fixture
def cmdb(fleet, site):
    """Install the methods above, each under its own name."""
    methods = ("names", "down", "nothing", "text", "numbers")
    install(site, "cmdb", {"discovery": {one: f"cmdb:{one}" for one in methods}}, CODE)
    return fleet


def test_those_whom_a_plugin_names_are_pinged(cmdb):
    """A method that has asked nobody has found nobody silent: `ping` asks those it names, each once."""
    cmdb.start()
    done = cmdb.cli("ping", "--dm", "names", "--json")
    found = json.loads(done.stdout)
    states = {row["sender"]: row["state"] for row in found}
    assert states == {"web1": "ok", "gone": "silent"}, done.stderr
    assert len(cmdb.cli("find", "--dm", "names", "--one", "--senders").stdout.split()) == 1
    assert len(cmdb.cli("find", "--dm", "names", "--limit", "1", "--senders").stdout.split()) == 1


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("down", "ValueError: the CMDB is down"),
        ("nothing", "it returned NoneType, not a Discovered"),
        ("text", "its names are 'web1', not a list of text"),
        ("numbers", "its names are (1, 2), not a list of text"),
    ],
)
def test_what_a_plugin_finds_that_is_none_is_one_line(cmdb, method, says):
    """A method that fails, or gives what are no names, is told by its name, and nobody is asked."""
    done = cmdb.cli("rpc", "rpcutil", "ping", "--dm", method)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert done.stderr.startswith(f"mcshell: discovery by {method}: {says}")
    assert done.stderr.count("\n") == 1
