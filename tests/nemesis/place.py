"""Where a run takes place: one broker, two nodes, two askers, and everything that can break there.

Each node and asker reaches the broker through a proxy of its own, has a clock that can be set, and a
node a disk that can be filled and that forgets at a power cut what was not synced.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from tests.nemesis.power import Disk
from tests.nemesis.proxy import Proxy
from tests.nemesis.script import ASKERS, NODES, SHORT, Ask, Fault
from tests.peers import certificates
from tests.peers.brokers import KINDS, Broker
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import Child, free_ports, wait_until
from tests.peers.small_disk import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from mcshell.client.client import Client
    from tests.peers.cluster import Cluster

__all__ = ["Place", "PoweredFleet", "Single"]

SETTLED: Final = 3.0
"""Seconds: RabbitMQ 3.10 loses what it has confirmed when it dies sooner after a queue was made."""
_NODE: Final = """\
agents = ["{root}/tests/agents_for_tests"]
serve = ["sms"]
slots = 3
[pools.sms]
members = ["n*"]
[agents.effect]
folder = "{folder}/effects"
"""
_ASKER: Final = """\
[node]
agents = ["{root}/tests/agents_for_tests"]
[pools.sms]
members = ["n*"]
"""


class PoweredFleet(Fleet):
    """A fleet whose nodes have an environment of their own, by name."""

    apart: Mapping[str, Mapping[str, str]] = MappingProxyType({})

    def _run(self, name: str, words: Iterable[str]) -> Child:
        argv = [sys.executable, "-m", "mcshell", *words]
        return Child(
            argv, self.folder / f"{name}.log", {**self.environ, **self.apart.get(name, {})}
        )


class Place:
    """Nodes and askers on some broker; a context manager that ends them all.

    `kinds` are the faults that there can be, with their victims.
    """

    fleet: PoweredFleet
    kinds: Mapping[str, tuple[str, ...]]
    length = SHORT
    patience = 60.0
    """Seconds that everything has to end in once all is mended, on a busy machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seed = 0
        self._open = ExitStack()
        self._askers: dict[str, subprocess.Popen[bytes]] = {}
        self._busy = threading.Lock()

    def __enter__(self) -> Self:
        with self._open:
            self._enter()
            self._open.callback(self._end_askers)
            self._open = self._open.pop_all()
        return self

    def _enter(self) -> None:
        """Start the broker and the nodes."""
        raise NotImplementedError

    def _enrol(self, broker: Broker | Cluster) -> None:
        """Make the fleet, with nothing started."""
        folder = self.folder / "fleet"
        (folder / "effects").mkdir(parents=True)
        more = _NODE.format(root=ROOT, folder=folder)
        self.fleet = PoweredFleet(broker, folder, dict.fromkeys(NODES, Node()), more=more)
        self._open.callback(self.fleet.stop)
        with self.fleet.config.open("a") as file:
            file.write(_ASKER.format(root=ROOT))
        for name in ASKERS:
            (folder / f"{name}.toml").write_text(self.fleet.config.read_text())

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def meet(self, seed: int) -> None:
        """Have askers with new sessions know all nodes; returns once their queues are safe."""
        self.seed = seed
        for name in ASKERS:
            self._start_asker(name)
        with self.fleet.client(state="desk") as client:
            ping = client.rpc("rpcutil", "ping", via="broadcast", timeout=30)
            assert ping.stats["ok"] >= len(NODES), ping.rows()
        assert wait_until(lambda: all(self._said(one, "ready") for one in ASKERS), 60)
        time.sleep(SETTLED)

    def reader(self, asker: str) -> Client:
        """The session of an asker that has left."""
        return self.fleet.client(state="desk", session=f"{asker}{self.seed}")

    def session_file(self, asker: str) -> Path:
        """Where that session lies."""
        return self.fleet.folder / "desk" / "sessions" / f"{asker}{self.seed}.sqlite"

    def broken(self, fault: Fault) -> contextlib.AbstractContextManager[None]:
        """A fault: it begins with the context, and is mended at its end."""
        way: Callable[[Fault], contextlib.AbstractContextManager[None]]
        way = getattr(self, f"_{fault.kind.replace('-', '_')}")
        return way(fault)

    # --- askers ----------------------------------------------------------------------------

    def notes(self, asker: str) -> list[dict[str, Any]]:
        """What an asker has written down, over all its lives."""
        path = self.folder / f"{asker}{self.seed}.notes"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _said(self, asker: str, event: str) -> int:
        return sum(note["event"] == event for note in self.notes(asker))

    def _start_asker(self, name: str) -> None:
        config = self.fleet.folder / f"{name}.toml"
        session = f"{name}{self.seed}"
        words = [config, self.fleet.folder / "desk", session, self.folder / f"{session}.notes"]
        with (self.folder / f"{name}.log").open("a") as log:
            self._askers[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.nemesis.asker", *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                bufsize=0,  # nothing is left to be written to who has died
                cwd=ROOT,
                env=self.fleet.environ,
            )

    def put(self, ask: Ask) -> bool:
        """Tell an asker to ask; False when it does not live."""
        line = json.dumps(asdict(ask))
        stdin = self._askers[ask.asker].stdin
        assert stdin is not None
        try:
            stdin.write(f"{line}\n".encode())
        except (OSError, ValueError):  # it has died, and its pipe is closed
            return False
        return True

    def leave(self, seconds: float) -> None:
        """Have the askers leave once no call is under way; whoever does not is killed."""
        for process in self._askers.values():
            assert process.stdin is not None
            process.stdin.close()
        end = time.monotonic() + seconds
        for process in self._askers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
        self._end_askers()

    def _end_askers(self) -> None:
        for process in self._askers.values():
            self._end(process)
        self._askers.clear()

    def _end(self, asker: subprocess.Popen[bytes]) -> None:
        asker.kill()
        asker.wait(30)
        assert asker.stdin is not None
        asker.stdin.close()

    @contextmanager
    def _asker_killed(self, fault: Fault) -> Iterator[None]:
        self._end(self._askers[fault.victim])
        yield
        self._start_asker(fault.victim)

    @contextmanager
    def _asker_stopped(self, fault: Fault) -> Iterator[None]:
        self._askers[fault.victim].send_signal(signal.SIGSTOP)
        yield
        self._askers[fault.victim].send_signal(signal.SIGCONT)

    # --- nodes -----------------------------------------------------------------------------

    @contextmanager
    def _machine_killed(self, fault: Fault) -> Iterator[None]:
        """The daemon and what it runs."""
        self.fleet.kill9(fault.victim)
        yield
        self.fleet.start(fault.victim)

    @contextmanager
    def _daemon_killed(self, fault: Fault) -> Iterator[None]:
        """The daemon alone: what it runs lives on, and is adopted."""
        child = self.fleet.nodes[fault.victim]
        child.family()  # so that its descendants are known, and end with the run
        os.kill(child.pid, signal.SIGKILL)
        child.process.wait(30)
        yield
        self.fleet.start(fault.victim)
        self._open.callback(child.kill9)

    @contextmanager
    def _node_stopped(self, fault: Fault) -> Iterator[None]:
        self.fleet.pause(fault.victim)
        yield
        self.fleet.resume(fault.victim)


class Single(Place):
    """One broker, of a kind in `tests.peers.brokers.KINDS`."""

    def __init__(self, kind: str, folder: Path) -> None:
        super().__init__(folder)
        self.broker_kind = kind
        self._proxies: dict[str, Proxy] = {}
        self._disks: dict[str, Disk] = {}
        self._small: dict[str, SmallDisk] = {}
        ends = (*NODES, *ASKERS)
        self.kinds = {
            "asker-killed": ASKERS,
            "asker-stopped": ASKERS,
            "machine-killed": NODES,
            "daemon-killed": NODES,
            "node-stopped": NODES,
            "power-cut": (*NODES, *(["broker"] if kind == "embedded" else [])),
            "broker-killed": ("broker",),
            "broker-stopped": ("broker",),
            "link-slow": ends,
            "link-lossy": ends,
            "link-dead": ends,
            "link-reset": ends,
            "clock": NODES,
            # a small disk is mounted
            **({"disk-full": NODES} if os.geteuid() == 0 else {}),
        }

    def _enter(self) -> None:
        self.broker = self._broker()
        self._open.callback(self.broker.stop)
        self._enrol(self.broker)
        for name, port in zip((*NODES, *ASKERS), free_ports(4), strict=True):
            self._link(name, port)
        self.fleet.apart = {name: self._machine(name) for name in NODES}
        self.fleet.start()

    def _broker(self) -> Broker:
        pki = self.folder / "tls"
        pki.mkdir()
        data = self.folder / "broker"
        data.mkdir()
        self._disks["broker"] = Disk(data, self.folder / "power-broker")
        powered = self._disks["broker"].environ if self.broker_kind == "embedded" else {}
        return KINDS[self.broker_kind](data, certificates.write(pki), more=powered)

    def _link(self, name: str, port: int) -> None:
        proxy = self._proxies[name] = Proxy(port, self.broker.port, port)
        proxy.start()
        self._open.callback(proxy.stop)
        path = self.fleet.folder / f"{name}.toml"
        direct, through = f":{self.broker.port}", f":{port}"
        path.write_text(path.read_text().replace(direct, through))

    def _machine(self, name: str) -> dict[str, str]:
        """A node's disk and clock, as environment."""
        state = self.fleet.folder / f"state-{name}"
        if os.geteuid() == 0:
            self._small[name] = self._open.enter_context(small_disk(state, "24m"))
        else:
            state.mkdir()
        self._disks[name] = disk = Disk(state, self.folder / f"power-{name}")
        clock = self.fleet.folder / f"{name}.clock"
        clock.write_text("0")
        return {
            **disk.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/tests/peers/clock",
            "TEST_CLOCK": str(clock),
        }

    # --- what breaks -----------------------------------------------------------------------

    @contextmanager
    def _broker_killed(self, _fault: Fault) -> Iterator[None]:
        if self.broker_kind == "rabbitmq":
            Broker.kill9(self.broker)  # its own waits until queues are safe, as `meet` has
        else:
            self.broker.kill9()
        yield
        self.broker.restart()

    @contextmanager
    def _broker_stopped(self, _fault: Fault) -> Iterator[None]:
        self.broker.pause()
        yield
        self.broker.resume()

    @contextmanager
    def _power_cut(self, fault: Fault) -> Iterator[None]:
        if fault.victim == "broker":
            self.broker.kill9()
        else:
            self.fleet.kill9(fault.victim)
        self._disks[fault.victim].cut()
        yield
        if fault.victim == "broker":
            self.broker.restart()
        else:
            self.fleet.start(fault.victim)

    def _linked(self, fault: Fault, mode: str) -> Iterator[None]:
        proxy = self._proxies[fault.victim]
        proxy.mode = mode
        yield
        proxy.mode = "pass"

    @contextmanager
    def _link_slow(self, fault: Fault) -> Iterator[None]:
        yield from self._linked(fault, "slow")

    @contextmanager
    def _link_lossy(self, fault: Fault) -> Iterator[None]:
        yield from self._linked(fault, "lossy")

    @contextmanager
    def _link_dead(self, fault: Fault) -> Iterator[None]:
        yield from self._linked(fault, "dead")

    @contextmanager
    def _link_reset(self, fault: Fault) -> Iterator[None]:
        self._proxies[fault.victim].reset()
        yield

    @contextmanager
    def _clock(self, fault: Fault) -> Iterator[None]:
        self._set_clock(fault.victim, fault.amount)
        yield
        self._set_clock(fault.victim, 0.0)

    def _set_clock(self, name: str, ahead: float) -> None:
        path = self.fleet.folder / f"{name}.clock"
        draft = path.with_suffix(".new")
        draft.write_text(f"{ahead}")
        draft.replace(path)

    @contextmanager
    def _disk_full(self, fault: Fault) -> Iterator[None]:
        disk = self._small[fault.victim]
        disk.fill()
        yield
        disk.empty()
