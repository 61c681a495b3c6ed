"""How a node daemon starts where something is not as it should be."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.fleet import Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.brokers import Broker

pytestmark = pytest.mark.timeout(240)


def test_a_node_waits_for_its_broker(fresh_broker: Callable[[str], Broker], tmp_path: Path) -> None:
    """Started before its broker it says so, tries again, and serves once the broker is there."""
    broker = fresh_broker("embedded")
    broker.kill9()
    with Fleet(broker, tmp_path, {"early": Node()}) as fleet:
        child = fleet.nodes["early"] = fleet._run(
            "early", ["node", "--config", str(tmp_path / "early.toml")]
        )
        assert wait_until(lambda: child.tail().count("next try in") >= 2, 60), child.tail()
        broker.restart()
        fleet._wait("early", child, 0)
        with fleet.client() as client:
            assert client.rpc("rpcutil", "ping", nodes="early").stats["ok"] == 1


@pytest.mark.parametrize("service", ["node", "supervisor"])
def test_a_service_that_waits_for_its_broker_ends_when_told(
    fresh_broker: Callable[[str], Broker], tmp_path: Path, service: str
) -> None:
    """SIGTERM ends it with code 0, also while there is no broker."""
    broker = fresh_broker("embedded")
    broker.kill9()
    with Fleet(broker, tmp_path, {"early": Node()}) as fleet:
        child = fleet.nodes["early"] = fleet._run(
            "early", [service, "--config", str(tmp_path / "early.toml")]
        )
        assert wait_until(lambda: "next try in" in child.tail(), 60), child.tail()
        os.kill(child.pid, signal.SIGTERM)
        assert child.process.wait(20) == 0, child.tail()
        assert "ready" not in child.tail().splitlines()


@pytest.mark.parametrize("broker_is_there", [True, False])
@pytest.mark.parametrize("service", ["node", "supervisor", "emulate"])
def test_a_service_that_was_stopped_for_a_while_ends_when_told(
    fresh_broker: Callable[[str], Broker], tmp_path: Path, service: str, *, broker_is_there: bool
) -> None:
    """As `systemctl stop` does it: SIGTERM, then SIGCONT. Any thread may get the first."""
    broker = fresh_broker("embedded")
    with Fleet(broker, tmp_path, {"held": Node()}) as fleet:
        words = ["3", "--pki", str(tmp_path / "pki")] if service == "emulate" else []
        if not broker_is_there:
            broker.kill9()
        for _ in range(5):
            child = fleet.nodes["held"] = fleet._run(
                "held", [service, *words, "--config", str(tmp_path / "held.toml")]
            )
            last = "ready" if broker_is_there else "next try in"
            assert wait_until(lambda: last in child.tail(), 60), child.tail()  # noqa: B023 - of this turn
            for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
                os.kill(child.pid, number)
            assert child.process.wait(60) == 0, child.tail()
            (tmp_path / "held.log").unlink()


STOPS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize(
    ("service", "more"),
    [
        ("node", [signal.SIGHUP]),
        ("supervisor", [signal.SIGHUP]),
        ("emulate 3 --pki pki", []),
        ("broker --listen 127.0.0.1:0 --data data", []),
    ],
)
def test_a_service_that_ends_is_not_killed_by_what_comes_then(
    embedded: Broker, tmp_path: Path, service: str, more: list[signal.Signals]
) -> None:
    """SIGTERM and Ctrl-C that come again, and a reload, until it is gone: it ends with code 0."""
    with Fleet(embedded, tmp_path, {"twice": Node()}) as fleet:
        words = service.split()
        words += [] if words[0] == "broker" else ["--config", "twice.toml"]
        argv = ["env", "-C", str(tmp_path), sys.executable, "-m", "mcshell", *words]
        child = fleet.nodes["twice"] = Child(argv, tmp_path / "twice.log", fleet.environ)
        assert wait_until(lambda: "\nready" in f"\n{child.log.read_text()}", 60), child.tail()

        def gone() -> bool:
            for number in (*STOPS, *more):
                child.process.send_signal(number)
            return not child.running

        assert wait_until(gone, 60, pause=0.002), child.tail()
        assert child.process.returncode == 0, child.tail()
        assert "Traceback" not in child.log.read_text()


def test_a_daemon_loads_no_compressors_and_no_tables_of_letters(
    fresh_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    """What `shutil` and a host's name as text would bring along is a megabyte that nobody uses."""
    with Fleet(fresh_broker("embedded"), tmp_path, {"lean": Node()}) as fleet:
        fleet.start()
        with fleet.client() as client:
            assert client.rpc("package", "status", name="bash", nodes="lean").stats["ok"] == 1
        maps = Path(f"/proc/{fleet.nodes['lean'].pid}/maps").read_text()
    assert "_sqlite3" in maps
    assert not [name for name in ("_lzma", "_bz2", "unicodedata") if name in maps]


def test_one_daemon_works_in_a_state_directory(
    fresh_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    """A second one is refused with one line; after a kill -9 the next one starts at once."""
    with Fleet(fresh_broker("embedded"), tmp_path, {"only": Node()}) as fleet:
        fleet.start()
        second = fleet.cli("node", "--config", "only.toml")
        assert second.returncode == 64
        assert "another daemon is at work in" in second.stderr
        third = fleet.cli("node", "--config", "only.toml", "--log-json")
        assert json.loads(third.stderr)["message"] == second.stderr.strip()
        fleet.kill9("only")
        fleet.start()


@pytest.mark.parametrize("log", ["2>/dev/full", "2> >(:)", "2>&-", "<&- >&- 2>&-"])
def test_a_log_that_takes_nothing_holds_up_no_node(
    embedded: Broker, tmp_path: Path, log: str
) -> None:
    """Its disk is full, its reader gone, or it was never open: the node serves all the same, and ends with 0."""
    with Fleet(embedded, tmp_path, {"mute": Node()}) as fleet:
        line = f"exec {sys.executable} -m mcshell node --config {tmp_path}/mute.toml {log}"
        child = Child(["bash", "-c", line], tmp_path / "mute.log", fleet.environ)
        fleet.nodes["mute"] = child
        with fleet.client() as client:

            def answers() -> bool:
                return client.rpc("rpcutil", "ping", nodes="mute", timeout=1).stats["ok"] == 1

            assert wait_until(answers, 30), child.tail()
        os.kill(child.pid, signal.SIGTERM)
        assert child.process.wait(20) == 0


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal", "Ctrl-S"])
def test_a_log_whose_reader_sleeps_holds_up_no_node(
    embedded: Broker, tmp_path: Path, kind: str
) -> None:
    """What standard error does not take is lost, and is told once somebody reads it again."""
    ours, theirs = filled(kind)
    with Fleet(embedded, tmp_path, {"mute": Node()}) as fleet:
        argv = [sys.executable, "-m", "mcshell", "node", "--config", f"{tmp_path}/mute.toml"]
        node = subprocess.Popen(
            [*argv, "--log-json", "--log-level", "info"],
            stderr=theirs,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **fleet.environ},
        )
        try:
            with fleet.client() as client:

                def answers() -> bool:
                    return client.rpc("rpcutil", "ping", nodes="mute", timeout=5).stats["ok"] == 1

                assert wait_until(answers, 60)
            if kind == "Ctrl-S":
                termios.tcflow(theirs, termios.TCOON)
            read: list[bytes] = []
            threading.Thread(target=read_all, args=(ours, read), daemon=True).start()

            def told() -> bool:
                node.send_signal(signal.SIGHUP)
                return b"are lost" in b"".join(read)

            assert wait_until(told, 60)
            node.send_signal(signal.SIGTERM)
            assert node.wait(60) == 0
        finally:
            node.kill()
            node.wait()
            os.close(theirs)
    (line,) = [one for one in b"".join(read).split(b"\n") if b"are lost" in one]
    said = json.loads(line.lstrip(FILLING))
    assert said["level"] == "warning"


FILLING = b"x"


def filled(kind: str) -> tuple[int, int]:
    """Both ends of what takes no more until it is read: whose reads it, and whose writes."""
    if kind == "pipe":
        ours, theirs = os.pipe()
    elif kind == "socket":
        ours, theirs = (one.detach() for one in socket.socketpair())
    else:
        ours, theirs = os.openpty()
    if kind == "Ctrl-S":
        termios.tcflow(theirs, termios.TCOOFF)
        return ours, theirs
    os.set_blocking(theirs, False)
    room = select.poll()
    room.register(theirs, select.POLLOUT)
    while room.poll(500):  # what a terminal holds moves on to its reader's side
        with suppress(BlockingIOError):
            os.write(theirs, FILLING * 4096)
    os.set_blocking(theirs, True)
    return ours, theirs


def read_all(source: int, into: list[bytes]) -> None:
    """Read until the other end is gone."""
    with suppress(OSError):  # a terminal whose last writer is gone
        while part := os.read(source, 65536):
            into.append(part)


@pytest.mark.parametrize(
    "line", ["node --config {0}", "node --log-level info --config {0}", "supervisor --config {0}"]
)
def test_a_service_that_cannot_start_says_so_as_its_log_is(tmp_path: Path, line: str) -> None:
    """Under --log-json a wrong setting is an object too, with the line as its message."""
    path = tmp_path / "wrong.toml"
    path.write_text("[node]\nslots = 0\n")
    argv = [sys.executable, "-m", "mcshell", *line.format(path).split(), "--log-json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 64
    said = json.loads(done.stderr)
    assert said["level"] == "error"
    assert said["message"].startswith(f"mcshell: {path}: node.slots: 0 is less than 1")
