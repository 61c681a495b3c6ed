"""fork(2) in each state of a client: the child says so at once and holds nothing, the parent goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.stopping.conftest import made

if TYPE_CHECKING:
    from tests.peers.brokers import Broker
    from tests.peers.fleet import Fleet

PROGRAM = Path(__file__).with_name("forking.py")
STATES = ("idle", "waiting", "sending", "session held", "in a conversation")
QUIET = {"anew": "['ok']", "close": "None", "bye": "None"}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def environ(fleet: Fleet) -> dict[str, str]:
    """A state directory that no other test uses."""
    return {**fleet.environ, "MCSHELL_STATE": str(fleet.folder / "state-forks")}


@pytest.fixture(scope="module")
def found(fleet: Fleet, environ: dict[str, str]) -> dict[str, Any]:
    """What the program says of each state."""
    return said_of(fleet, environ)


def said_of(fleet: Fleet, environ: dict[str, str]) -> dict[str, Any]:
    """Run the program; a busy machine may take its time over a ping."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=fleet.folder,
        env={**environ, "MCSHELL_CLIENT_PROBE": "60s"},
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("state", STATES)
def test_the_child_says_so_at_once(found: dict[str, Any], state: str) -> None:
    """Whatever asks or waits raises ForkedClient; to close it does nothing; another can be opened."""
    says_so(found[state])


def says_so(one: dict[str, Any]) -> None:
    """The child of one state does."""
    said = {name: word for name, (word, _took) in one["said"].items()}
    assert said == {name: QUIET.get(name, "ForkedClient") for name in said}
    slow = {name: took for name, (_word, took) in one["said"].items() if name != "anew"}
    assert max(slow.values()) < 5, slow


@pytest.mark.parametrize("state", STATES)
def test_the_child_holds_nothing(found: dict[str, Any], state: str) -> None:
    """No file, no mapped file, no socket and no thread of the parent's client is in the child."""
    holds_nothing(found[state])


def holds_nothing(one: dict[str, Any]) -> None:
    """The child of one state does not."""
    assert one["held"] == []
    assert [name for name in one["threads"] if name != "MainThread"] == []


@pytest.mark.parametrize("state", STATES)
def test_the_parent_goes_on(found: dict[str, Any], state: str) -> None:
    """What it had under way comes to its end, and it asks the next."""
    goes_on(found[state])


def goes_on(one: dict[str, Any]) -> None:
    """The parent does, after the fork of one state."""
    assert one["parent"] == ["ok"]
    assert one.get("behind", 2) == 2
    assert one.get("confirmed", True)
    assert one.get("holds", True)
    assert one.get("echo", "") is not None


def test_twenty_children_of_a_client_at_work(found: dict[str, Any]) -> None:
    """Each is told so and asks for itself; the parent's request is answered by all."""
    twenty_answered(found)


def twenty_answered(found: dict[str, Any]) -> None:
    """All of them, and the parent after them."""
    assert found["children"] == [[["ForkedClient", "['ok']"]] * 20, 3]
    assert found["parent"] == ["ok"]


@pytest.mark.parametrize(
    "kind",
    [
        "embedded",
        pytest.param("activemq", marks=[pytest.mark.activemq, pytest.mark.soak]),
        pytest.param("rabbitmq", marks=[pytest.mark.rabbitmq, pytest.mark.soak]),
    ],
)
def test_over_tls_and_on_every_broker(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """In each state it is the same where the connection is encrypted, whatever the broker."""
    broker: Broker = request.getfixturevalue(kind)
    with made(broker, tmp_path) as fleet:
        (tmp_path / "both.pem").write_bytes(
            (broker.pki / "ca.pem").read_bytes() + (tmp_path / "pki" / "ca.pem").read_bytes()
        )
        fleet.environ |= {
            "MCSHELL_BROKER_URLS": broker.tls_url,
            "MCSHELL_BROKER_CERT": str(broker.pki / "alice.pem"),
            "MCSHELL_BROKER_KEY": str(broker.pki / "alice.key"),
            "MCSHELL_PKI_CA": str(tmp_path / "both.pem"),
        }
        fleet.start()
        found = said_of(fleet, {**fleet.environ, "MCSHELL_STATE": str(tmp_path / "state-forks")})
    assert set(STATES) < set(found)
    for state in STATES:
        says_so(found[state])
        holds_nothing(found[state])
        goes_on(found[state])
    twenty_answered(found)


def test_a_pool_of_processes(found: dict[str, Any]) -> None:
    """Multiprocessing's children by fork have clients of their own."""
    assert found["pool"] == [["ok"]] * 4


def test_no_file_is_damaged(found: dict[str, Any]) -> None:
    """Every file that parent and children have written is sound."""
    assert found["intact"]
    assert set(found["intact"].values()) == {"ok"}


def test_a_child_does_not_keep_the_session(fleet: Fleet, environ: dict[str, str]) -> None:
    """A process has died and its child lives: whoever comes next holds the session."""
    started = subprocess.run(
        [sys.executable, PROGRAM, "orphan"],
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
        cwd=fleet.folder,
        env=environ,
    )
    line = ["rpc", "rpcutil", "ping", "-I", "web1", "--session", "orphaned", "--json"]
    try:
        done = fleet.cli(*line, MCSHELL_STATE=environ["MCSHELL_STATE"])
    finally:
        os.kill(int(started.stdout), signal.SIGKILL)
    assert done.returncode == 0, done.stderr
    assert "following" not in done.stderr
