"""The server's own life: tasks over its death, a broker that goes, two of them, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from mcp.shared.exceptions import MCPError

from mcshell.client.session.session import listing
from tests.mcp_server.conftest import AGENTS, HOSTILE, PATIENCE, POLICY, Desk
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.mcp_server.conftest import Assistant
    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(600)


def servers(session: str) -> list[psutil.Process]:
    """The processes that serve a session."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended, and is no server any more
            words = one.cmdline()
            if "mcp" in words and session in words:
                found.append(one)
    return found


async def waiting(one: Assistant, file: Path) -> str:
    """A call that is a task until a file is there."""
    task = await one.begun(
        "call", agent="hostile", action="wait", inputs={"file": str(file)}, wait=0.5
    )
    assert task.status == "working"
    assert task.task_id
    return task.task_id


def taken_up(desk: Desk, file: Path) -> None:
    """A task is begun, its server killed, its work done, and another server asked for the result."""
    names = desk.fleet.names

    async def first() -> str:
        async with desk.assistant(session="killed") as one:
            task = await waiting(one, file)
            state = await one.task(task)
            assert (state["status"], state["taskId"]) == ("working", task)
            assert f"{len(names)} nodes" in state["statusMessage"]
            for process in servers("killed"):
                process.kill()
            with pytest.raises(MCPError):
                await one.raw("doc")
            return task

    task = asyncio.run(first())
    file.touch()

    async def second(one: Assistant) -> None:
        found = await one.completed(task)
        rows = found["result"]["structuredContent"]["rows"]
        assert [row["says"]["data"]["text"] for row in rows] == ["it is there"] * len(names)
        assert found["result"]["structuredContent"]["states"] == {"ok": len(names)}
        asked = await one.ask("replies", request=task)
        assert asked["rows"] == rows

    desk.run(second, session="killed")


def test_a_task_is_taken_up_after_the_servers_death(desk: Desk, tmp_path: Path) -> None:
    """Killed without a warning while nodes are at it; the next one, of the same session, has the result."""
    taken_up(desk, tmp_path / "there")


def test_a_task_is_taken_up_on_rabbitmq(rabbitmq: Broker, tmp_path: Path) -> None:
    """The same where the replies wait in RabbitMQ."""
    with small_fleet(rabbitmq, tmp_path) as fleet:
        fleet.start()
        taken_up(Desk(fleet), tmp_path / "there")


@contextmanager
def small_fleet(broker: Broker, folder: Path) -> Iterator[Fleet]:
    """One node, not started, with the tests' agents."""
    agents = f'agents = ["{AGENTS}", "{HOSTILE}"]\n'
    nodes = {"web1": Node()}
    with Fleet(broker, folder, nodes, policies={"default": POLICY}, more=agents) as one:
        with one.config.open("a") as file:
            file.write(f"[node]\n{agents}")
        yield one


def test_a_task_ends_as_it_stands_when_its_time_is_over(desk: Desk) -> None:
    """A node that never comes is `expired`; asking to cancel is acknowledged, and changes nothing."""

    async def story(one: Assistant) -> None:
        task = await one.begun(
            "call", agent="rpcutil", action="ping", nodes=["web1", "absent"], ttl="8s", wait=0.2
        )
        await one.task(task.task_id, "tasks/cancel")
        found = await one.completed(task.task_id)
        assert found["result"]["structuredContent"]["states"] == {"ok": 1, "expired": 1}
        for other in ("0" * 32, "x", "../../x"):
            with pytest.raises(MCPError, match=r"no request|no task"):
                await one.task(other)
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            with pytest.raises(MCPError):
                await one.task("0" * 32, method)

    desk.run(story, session="ending")


def test_who_knows_no_tasks_has_none(desk: Desk) -> None:
    """Without the extension a call that goes on is a result that says so, and tasks are refused."""

    async def story(one: Assistant) -> None:
        asked = await one.ask(
            "call", agent="rpcutil", action="ping", nodes=["absent"], ttl="1m", wait=0.2
        )
        assert asked["complete"] is False
        with pytest.raises(MCPError, match="Missing required client capability"):
            await one.task(asked["request"])

    desk.run(story, session="plain", tasks=False)


def test_two_servers_share_a_session(desk: Desk, tmp_path: Path) -> None:
    """The second follows the first: each has the other's requests, and goes on when that is gone."""
    file = tmp_path / "there"

    async def story() -> None:
        async with desk.assistant(session="shared") as one:
            mine = await one.ask("call", agent="rpcutil", action="ping", wait=60)
            async with desk.assistant(session="shared") as other:
                found = await other.ask("replies", request=mine["request"])
                assert found["states"] == {"ok": 3}
                theirs = await other.ask("call", agent="rpcutil", action="ping", wait=60)
                assert (theirs["complete"], theirs["states"]) == (True, {"ok": 3})
                task = await waiting(other, file)
                assert (await one.task(task))["status"] == "working"
            file.touch()
            found = await one.completed(task)
            assert found["result"]["structuredContent"]["states"] == {"ok": 3}
            found = await one.ask("replies", request=theirs["request"])
            assert found["states"] == {"ok": 3}

    asyncio.run(story())


def test_a_broker_that_goes_and_comes_back(
    fresh_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """Without a broker what is kept can be read, and what asks says so in a line; then it goes on."""
    broker = fresh_broker("embedded")
    with small_fleet(broker, tmp_path) as one:
        desk = Desk(one)

        async def story() -> None:
            broker.kill9()
            async with desk.assistant() as client:
                line = await client.refused("discover")
                assert "cannot connect" in line
                assert (await client.ask("sql", query="SELECT 1 AS one"))["rows"]
                broker.restart()
                one.start()
                asked = await client.ask("call", agent="rpcutil", action="ping", wait=60)
                assert asked["states"] == {"ok": 1}
                broker.kill9()
                task = await client.begun(
                    "call", agent="rpcutil", action="ping", nodes=["web1"], wait=0.2
                )
                assert (await client.task(task.task_id))["status"] == "working"
                broker.restart()
                found = await client.completed(task.task_id)
                assert found["result"]["structuredContent"]["states"] == {"ok": 1}

        asyncio.run(story())


def ended(
    desk: Desk,
    lines: list[dict[str, Any]],
    until: Callable[[], bool] = lambda: True,
    **environ: str,
) -> tuple[int, str, str, float]:
    """A server that is told some lines, and whose input ends when something is so.

    Gives its exit code, what it wrote to both outputs, and how long its end took.
    """
    how = desk.parameters(session="ended")
    process = subprocess.Popen(
        [how.command, *how.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**(how.env or {}), **environ},
        cwd=ROOT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = ""
    for line in lines:
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()
        if "id" in line and line["id"] == 1:
            said += process.stdout.readline()
    assert wait_until(until, PATIENCE)
    before = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    out, errors = process.communicate(timeout=PATIENCE)
    took = time.monotonic() - began
    assert wait_until(lambda: not any(one.is_running() for one in before), 30)
    return process.returncode, said + out, errors, took


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def test_it_ends_with_its_input_whatever_waits(desk: Desk) -> None:
    """A call that would wait a minute holds nobody up: code 0, and no process is left."""
    arguments = {"agent": "rpcutil", "action": "ping", "nodes": ["absent"], "wait": 60}
    asked = {"name": "call", "arguments": arguments}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": asked}
    state = desk.fleet.folder / "state-mcp-alice"

    def asked_it() -> bool:
        return any(one.name == "ended" and one.open for one in listing(state))

    code, out, errors, took = ended(desk, [HELLO, READY, call], asked_it)
    assert code == 0, errors
    assert took < 40
    assert all(json.loads(line)["id"] in (1, 2) for line in out.splitlines())
    assert "Traceback" not in errors
    assert ended(desk, [])[:2] == (0, "")


def test_what_is_no_protocol_is_answered_or_left(desk: Desk) -> None:
    """Lines that are none do not end it, and nothing but the protocol comes out."""
    junk = [{"jsonrpc": "2.0", "id": 5, "method": "no/such"}, {"a": 1}, HELLO]
    code, out, errors, _ = ended(desk, junk)
    assert code == 0, errors
    for line in out.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(desk: Desk, number: signal.Signals) -> None:
    """As a client does where a server does not end by itself, or somebody at a terminal."""
    process = desk.process("terminated")
    assert process.stderr is not None
    assert b"session terminated" in process.stderr.readline()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(HELLO).encode() + b"\n")
    process.stdin.flush()
    assert process.stdout.readline()
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode == -number


def test_a_client_that_is_gone(desk: Desk) -> None:
    """It ends well, with no traceback, when its words find nobody."""
    process = desk.process("unread")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(json.dumps(HELLO).encode() + b"\n", timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors


def test_what_is_wrong_at_its_start_is_one_line(desk: Desk, tmp_path: Path) -> None:
    """The SDK that is not installed, and a configuration without a key; standard output stays empty."""
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError('no', name='mcp')\n")
    code, out, errors, _ = ended(desk, [], PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (code, out) == (64, "")
    assert errors == "mcshell: mcp: Python's mcp is not here: pip install 'mcshell[mcp]'\n"
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    code, out, errors, _ = ended(desk, [], MCSHELL_CONFIG=str(empty))
    assert (code, out) == (64, "")
    assert errors.splitlines()[-1].startswith("mcshell: pki.ca is not set")


def test_the_configuration_narrows_it(desk: Desk, tmp_path: Path) -> None:
    """Agents that `[mcp]` leaves out are neither shown, nor called, nor proposed."""
    narrow = desk.fleet.folder / "narrow.toml"
    text = desk.fleet.config.read_text()
    narrow.write_text(text + '[mcp]\nagents = ["rpc*", "service"]\n')

    async def story(one: Assistant) -> None:
        shown = (await one.ask("doc"))["agents"]
        assert [row["agent"] for row in shown] == ["rpcutil", "service"]
        assert (await one.ask("call", agent="rpcutil", action="ping", wait=60))["states"]
        asked = {"agent": "mark", "action": "once", "inputs": {"file": "x"}}
        assert "mcp.agents" in await one.refused("call", agent="echo", action="say")
        assert "mcp.agents" in await one.refused("propose", **asked, why="x")
        assert "mcp.agents" in await one.refused("doc", agent="echo")

    desk.run(story, MCSHELL_CONFIG=str(narrow), session="narrow")
