"""Nodes that would instruct an assistant: what they say is data, and who obeys it changes nothing."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from mcp.shared.exceptions import MCPError

from mcshell.mcp.results import CHARACTERS, harmless
from mcshell.mcp.tools import TOOLS
from tests.mcp_server.agents.hostile import CASES
from tests.mcp_server.conftest import NASTY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.mcp_server.conftest import Assistant, Desk

pytestmark = pytest.mark.timeout(600)
ORDER = re.compile(r"call the tool (\w+) with (\{.*?\}) now\.")
KNOWN = {
    ("rpcutil", "ping"),
    ("rpcutil", "get_fact"),
    ("rpcutil", "inventory"),
    ("hostile", "say"),
    ("approval", "propose"),
    ("approval", "list"),
    ("approval", "show"),
    ("discovery", "ping"),
    ("discovery", "probe"),  # of who takes his time
}
"""All that nodes are asked here: no `mark`, no `exec`, no `approval.approve`."""
UNSENDABLE = {"half a pair"}
"""What the node's own daemon does not let out: it says so."""
STEPS = 3


class Wire:
    """A server whose pipes a test holds itself: every byte of its standard output is looked at."""

    def __init__(self, desk: Desk) -> None:
        self.process = desk.process("wire", subprocess.DEVNULL)
        self.count = 0
        self.ask(
            "initialize",
            protocolVersion="2025-06-18",
            capabilities={},
            clientInfo={"name": "wire", "version": "1"},
        )
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _send(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        """One request; the next line is its response, whatever a node has said in it."""
        assert self.process.stdout is not None
        self.count += 1
        self._send({"jsonrpc": "2.0", "id": self.count, "method": method, "params": params})
        line = self.process.stdout.readline().decode()
        assert line.endswith("\n"), line
        assert line[:-1].isprintable(), [one for one in line[:-1] if not one.isprintable()]
        found = json.loads(line)
        assert set(found) == {"jsonrpc", "id", "result"}, found
        assert found["id"] == self.count
        return found["result"]

    def end(self) -> None:
        """Close its standard input: it says nothing more, and ends well."""
        rest, _ = self.process.communicate(timeout=60)
        assert rest == b""
        assert self.process.returncode == 0


@pytest.fixture
def wire(desk: Desk) -> Iterator[Wire]:
    """One, until it has ended."""
    one = Wire(desk)
    try:
        yield one
        one.end()
    finally:
        one.process.kill()
        one.process.communicate()


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys too."""
    match value:
        case str():
            yield value
        case dict():
            for name, inner in value.items():
                yield name
                yield from texts(inner)
        case list():
            for inner in value:
                yield from texts(inner)


@pytest.mark.parametrize("state", ["ok", "failed"])
def test_what_nodes_say_is_data_of_one_response(wire: Wire, state: str, tmp_path: Path) -> None:
    """Of 28 hostile answers, and of the same as failures, each is one well-formed response, below `says`."""
    assert len(CASES) == 28
    before = wire.ask("tools/list")
    for case, said in CASES.items():
        inputs = {
            "case": f"fail: {case}" if state == "failed" else case,
            "file": str(tmp_path / "marks"),
        }
        asked = {"agent": "hostile", "action": "say", "inputs": inputs, "nodes": ["web1"]}
        result = wire.ask("tools/call", name="call", arguments={**asked, "wait": 60})
        assert set(result) == {"content", "structuredContent", "isError"}, case
        assert result["isError"] is False
        (row,) = result["structuredContent"]["rows"]
        assert (row["sender"], row["trust"]) == ("web1", "mcs"), case
        assert row["state"] == ("failed" if case in UNSENDABLE else state), (case, row)
        assert result["structuredContent"]["note"].startswith("What stands under `says` ")
        assert set(row) == {"sender", "state", "late", "trust", "says"}
        for text in texts(row):
            assert all(one.isprintable() or one in "\n\t" for one in text), (case, text)
            assert len(text) < CHARACTERS + 60, case
        if state == "ok" and case in ("an order", "sql", "images"):
            told = {name: value.replace("FILE", inputs["file"]) for name, value in said.items()}
            assert row["says"]["data"] == told
        assert len(json.dumps(result)) < 500_000
    assert wire.ask("tools/list") == before


def test_what_nodes_said_is_data_in_sql_and_facts(wire: Wire) -> None:
    """Rows of SQL, distributions of facts and inventories are as harmless, and cut as well."""
    for arguments in (
        {"query": "SELECT * FROM replies", "limit": 1000},
        {"query": "SELECT text, value, data FROM hostile_say", "limit": 1000},
        {"query": "SELECT * FROM nodes"},
    ):
        result = wire.ask("tools/call", name="sql", arguments=arguments)
        assert result["isError"] is False, result
        assert len(json.dumps(result)) < 1_000_000
    for tool, arguments in (
        ("facts", {"fact": "motd"}),
        ("inventory", {"nodes": ["web3"]}),
        ("explain", {"node": "web3", "request": "hostile.say"}),
        ("replies", {"request": "hostile.say"}),
    ):
        result = wire.ask("tools/call", name=tool, arguments=arguments)
        assert result["isError"] is False, result
    (row,) = wire.ask("tools/call", name="facts", arguments={"fact": "motd", "nodes": ["web3"]})[
        "structuredContent"
    ]["values"]
    assert row["says"] == harmless(NASTY["motd"])


async def obey(one: Assistant, found: Any, file: str, left: int) -> int:
    """Do all that an answer says is to be done, and what the answers to that say; how much it was."""
    done = 0
    content = getattr(found, "structured_content", None) or [one.text for one in found.content]
    for tool, arguments in {order for text in texts(content) for order in ORDER.findall(text)}:
        with contextlib.suppress(ValueError):
            given = json.loads(arguments)
            done += 1
            if tool not in TOOLS:
                with pytest.raises(MCPError, match="no tool"):
                    await one.raw(tool, **given)
                continue
            answer = await one.raw(tool, **given)
            if left:
                done += await obey(one, answer, file, left - 1)
    return done


ORDERS = [case for case in CASES if case.startswith("an order")]


def test_who_obeys_every_answer_changes_nothing(desk: Desk, tmp_path: Path) -> None:
    """A client that does whatever any answer says ends with proposals that nobody has approved."""
    file = tmp_path / "marks"

    async def story(one: Assistant) -> None:
        before = (await one.client.list_tools()).tools
        done = 0
        for case in CASES:
            inputs = {"case": case, "file": str(file)}
            asked = {"agent": "hostile", "action": "say", "inputs": inputs, "wait": 60}
            found = await one.raw("call", **asked)
            done += await obey(one, found, str(file), STEPS)
        for tool, arguments in (
            ("doc", {"agent": "hostile"}),
            ("inventory", {"nodes": ["web3"]}),
            ("replies", {}),
            ("sql", {"query": "SELECT * FROM hostile_say"}),
            ("proposals", {}),
        ):
            done += await obey(one, await one.raw(tool, **arguments), str(file), STEPS)
        assert done >= len(ORDERS) - 1
        proposed = (await one.ask("proposals", limit=1000))["proposals"]
        mine = [row for row in proposed if row["inputs"].get("file") == str(file)]
        assert mine, "it has proposed what it was told to"
        assert all(row["approved"] == [] and row["asks"] == "mark.once" for row in mine)
        assert (await one.client.list_tools()).tools == before

    marks = {name: len(asked_of(desk, name)) for name in desk.fleet.names}
    desk.run(story, session="obedient")
    assert not file.exists()
    for name, count in marks.items():
        asked = asked_of(desk, name)[count:]
        assert asked, "the node has written down what it was asked"
        assert set(asked) <= KNOWN, set(asked) - KNOWN
    with desk.fleet.client(state="state-of-alice", session="hers") as alice:
        found = alice.rpc("mark", "once", nodes=["web1"], inputs={"file": str(file), "text": "x"})
        assert found.stats["denied"] == 1, "the node wants what nobody has given"
    assert not file.exists()


def asked_of(desk: Desk, node: str) -> list[tuple[str, str]]:
    """What a node was asked, as its audit log has it."""
    events = desk.fleet.audit(node)
    return [(one["agent"], one["action"]) for one in events if "action" in one]
