"""External agents that do not say whether they serve the machine hold up nothing but themselves."""

from __future__ import annotations

import json
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.peers.fleet import Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(300)

PATIENCE = 60.0
HANGS = "#!/bin/sh\necho $$ > {pid}\nsleep 300\n"
SERVES = """#!/bin/sh
case "$3" in
*activation*) while [ ! -e {gate} ]; do sleep 0.1; done; echo '{{"activate": true}}' > "$2" ;;
*) echo '{{"statuscode": 0, "statusmsg": "OK", "data": {{"status": "up"}}}}' > "$2" ;;
esac
"""

ACTIVE = """#!/bin/sh
case "$3" in *activation*) echo '{"activate": true}' > "$2"; exit ;; esac
"""
WRITES_ON = """(setsid sh -c 'for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  mkdir -p a$n/b c$n/d; : > a$n/e; sleep 0.02; done' > /dev/null 2>&1 &)
sleep 0.05
echo '{"statuscode": 0, "statusmsg": "OK", "data": {"status": "done"}}' > "$2"
"""


def schema(name: str) -> str:
    """An agent with one action."""
    about = dict.fromkeys(("author", "license", "version", "url"), "x")
    output = {"status": {"description": "State", "display_as": "State", "type": "string"}}
    action = {"action": "status", "description": "State", "input": {}, "output": output}
    metadata = {"name": name, "description": "x", "timeout": 10, "provider": "external", **about}
    return json.dumps({"metadata": metadata, "actions": [{"display": "always", **action}]})


@contextmanager
def node_with(broker: Broker, place: Path, texts: dict[str, str]) -> Iterator[Fleet]:
    """A node, not started yet, and the programs that are its agents, by name."""
    agents = place / "agents"
    agents.mkdir()
    for name, text in texts.items():
        (agents / name).write_text(text, newline="")
        (agents / name).chmod(0o755)
        (agents / f"{name}.json").write_text(schema(name))
    folder = place / "fleet"
    folder.mkdir()
    where = f"agents = {json.dumps([str(agents)])}\n"
    with Fleet(broker, folder, {"web1": Node()}, more=where) as fleet:
        fleet.config.write_text(f"{fleet.config.read_text()}[node]\n{where}")
        yield fleet


@pytest.fixture
def fleet(embedded: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """A node with two agents that hang, and one that serves once a file is there."""
    texts = {
        "hanga": HANGS.format(pid=tmp_path / "a.pid"),
        "hangb": HANGS.format(pid=tmp_path / "b.pid"),
        "late": SERVES.format(gate=tmp_path / "gate"),
    }
    with node_with(embedded, tmp_path, texts) as fleet:
        yield fleet


def test_they_hold_up_nothing_but_themselves(fleet: Fleet, tmp_path: Path) -> None:
    """The node serves at once, says why it has not the agent, and has it once that has said yes.

    What was queued for it meanwhile waits, and runs.
    """
    began = time.monotonic()
    fleet.start()
    with fleet.client() as client:
        assert client.rpc("rpcutil", "ping", nodes=["web1"]).stats["ok"] == 1
        assert time.monotonic() - began < 28, "before the first of them is given up"
        (row,) = client.rpc("late", "status", nodes=["web1"]).rows()
        assert (row.state, row.statuscode) == (State.FAILED, 2)
        assert "has not said yet whether it serves this machine" in row.statusmsg
        queued = client.rpc("late", "status", nodes=["web1"], via="queue", wait=False, ttl="1h")
        assert queued.wait_confirmed(PATIENCE)
        (tmp_path / "gate").touch()

        def active() -> bool:
            (row,) = client.rpc("late", "status", nodes=["web1"]).rows()
            return row.state is State.OK

        assert wait_until(active, PATIENCE)
        queued.wait(PATIENCE)
        (row,) = queued.rows()
        assert (row.state, row.data) == (State.OK, {"status": "up"})
        (row,) = client.rpc("hanga", "status", nodes=["web1"]).rows()
        assert "its activation check failed" in row.statusmsg


def test_a_daemon_that_ends_takes_them_along(fleet: Fleet, tmp_path: Path) -> None:
    """No program that was being asked outlives it."""
    fleet.start()
    pids = [tmp_path / f"{name}.pid" for name in "ab"]
    assert wait_until(lambda: all(one.exists() and one.read_text() for one in pids), PATIENCE)
    fleet.nodes["web1"].signal(signal.SIGTERM)
    assert fleet.nodes["web1"].process.wait(20) == 0
    running = [Path(f"/proc/{one.read_text().strip()}") for one in pids]
    assert wait_until(lambda: not any(one.exists() for one in running), PATIENCE)


def test_what_an_agent_leaves_costs_its_call_alone(embedded: Broker, tmp_path: Path) -> None:
    """No pipe or device in place of its reply holds up the node or fills its memory.

    What it left running and still writes makes no failure of what it has done.
    """
    texts = {
        "pipe": f'{ACTIVE}rm "$2"; mkfifo "$2"\n',
        "writeson": f"{ACTIVE}{WRITES_ON}\n",
        "crlf": f"{ACTIVE}exit\n".replace("\n", "\r\n"),
        "red": f"{ACTIVE}printf '\\033[31m' >&2\n",
    }
    with node_with(embedded, tmp_path, texts) as fleet:
        fleet.start()
        with fleet.client() as client:

            def said(agent: str) -> tuple[State, str]:
                (row,) = client.rpc(agent, "status", nodes=["web1"], timeout=PATIENCE).rows()
                return row.state, row.statusmsg

            def all_asked() -> bool:
                return not any("not said yet" in said(name)[1] for name in texts)

            assert wait_until(all_asked, PATIENCE)
            assert said("pipe")[1] == "pipe left something that is no file as its reply"
            assert "red: '\\x1b[31m'" in fleet.nodes["web1"].tail(200)
            assert said("writeson") == (State.OK, "OK")
            assert "what its #! line names is not there" in said("crlf")[1]
