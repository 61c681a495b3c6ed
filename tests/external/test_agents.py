"""Agents that were written for Choria run under our node unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.errors import InputError
from mcshell.message import State

if TYPE_CHECKING:
    from mcshell.client.client import Client
    from mcshell.client.rpc.replies import Row
    from tests.peers.fleet import Fleet

NODES = ["node01"]


def only(client: Client, agent: str, action: str, **inputs: object) -> Row:
    """The one row of a call."""
    (row,) = client.rpc(agent, action, nodes=NODES, inputs=inputs).rows()
    return row


def test_one_written_with_the_library(client: Client) -> None:
    """An agent of py-mco-agent gets inputs, caller and settings, and its outputs come back."""
    row = only(client, "parrot", "echo", message="Zürich ", times=2)
    assert (row.state, dict(row.data)) == (
        State.OK,
        {"message": "Zürich Zürich ", "caller": "cert=alice", "prefix": "polly"},
    )


def test_defaults_and_checks_are_the_ddls(client: Client) -> None:
    """Its DDL fills in defaults and refuses inputs, as for any agent."""
    assert only(client, "parrot", "echo", message="x").data["message"] == "x"
    with pytest.raises(InputError, match="message"):
        client.rpc("parrot", "echo", nodes=NODES)


def test_its_failure_has_its_code_and_words(client: Client) -> None:
    """What it says about a failure arrives as it said it."""
    row = only(client, "parrot", "fail")
    assert (row.state, row.statuscode) == (State.FAILED, 1)
    assert "asked to fail" in row.statusmsg


def test_an_end_without_a_reply(client: Client) -> None:
    """A program that ends with an error is a failure that names its exit code."""
    row = only(client, "parrot", "crash")
    assert (row.state, row.statuscode) == (State.FAILED, 1)
    assert "exit code 3" in row.statusmsg


def test_one_in_shell_with_a_ruby_ddl(client: Client) -> None:
    """An agent in shell beside a .ddl gets files and variables as Choria gives them."""
    row = only(client, "shelly", "where")
    assert dict(row.data) == {"protocol": "io.choria.mcorpc.external.v1.rpc_request", "files": 4}


def test_one_that_takes_too_long(client: Client) -> None:
    """A program that runs past its DDL's timeout is ended, and said to have failed."""
    row = only(client, "shelly", "slow")
    assert row.state is State.FAILED
    assert "time" in row.statusmsg


def test_one_that_does_not_serve_this_machine(client: Client, fleet: Fleet) -> None:
    """An agent whose activation check says no is not there, and the log says why."""
    (row,) = client.rpc("rpcutil", "agent_inventory", nodes=NODES).rows()
    names = {agent["name"] for agent in row.data["agents"]}
    assert {"parrot", "shelly"} <= names
    assert "elsewhere" not in names
    log = (fleet.folder / "node01.log").read_text()
    assert "elsewhere is not active: it says that it does not serve this machine" in log


def test_over_the_work_queue(client: Client) -> None:
    """An external agent runs in a shim, too."""
    replies = client.rpc(
        "parrot", "echo", nodes=NODES, via="queue", message="later", timeout=30
    ).wait(60)
    (row,) = replies.rows()
    assert (row.state, row.data["message"]) == (State.OK, "later")


def test_what_it_writes_is_logged(client: Client, fleet: Fleet) -> None:
    """What it writes to standard error stands in the node's log."""
    only(client, "parrot", "echo", message="logged")
    assert "parrot: said logged" in (fleet.folder / "node01.log").read_text()
