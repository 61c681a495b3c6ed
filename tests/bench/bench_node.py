"""What a node daemon costs its machine, beside a real mcollectived on the same broker.

Run: python tests/bench/bench_node.py [STARTS]

Start: from exec to `ready` (ours: every subscription confirmed; mcollectived: its log says
"Connected to", it subscribes just after). Memory: resident set, once it serves and has answered
a few calls. Beside it, what the interpreter and the libraries take without us.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
from figures import ROOT, machine, median, place, running, show

from tests.peers import brokers, mcollective
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.peers.brokers import Broker

MIB = 1 << 20
CALLS = 20
LIBRARIES = {
    "limit: python alone": "pass",
    "limit: python, stomp.py": "import stomp",
    "limit: python, stomp.py, cryptography": (
        "import stomp; from cryptography import x509;"
        "from cryptography.hazmat.primitives.asymmetric import ed25519"
    ),
}


def ours(broker: Broker, folder: Path, starts: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds to start, MiB when ready, MiB after some calls: one of each for every start."""
    times, fresh, used = [], [], []
    with Fleet(broker, folder, {"node01": Node()}) as fleet, fleet.client() as client:
        for _ in range(starts):
            took = start(fleet)
            node = psutil.Process(fleet.nodes["node01"].pid)
            fresh.append(node.memory_info().rss / MIB)
            times.append(took)
            for _ in range(CALLS):
                assert client.rpc("rpcutil", "ping", nodes=["node01"]).stats["ok"] == 1
            client.rpc("rpcutil", "inventory", nodes=["node01"])
            used.append(node.memory_info().rss / MIB)
            fleet.nodes.pop("node01").stop()
    return times, fresh, used


def start(fleet: Fleet) -> float:
    """Start the node; seconds from exec to `ready`, by reading what it writes as it comes."""
    log = fleet.folder / "node01.log"
    log.unlink(missing_ok=True)
    began = time.monotonic()
    fleet.nodes["node01"] = child = fleet._run(
        "node01", ["node", "--config", str(fleet.folder / "node01.toml")]
    )
    while b"ready\n" not in log.read_bytes():
        assert child.running, child.tail()
        time.sleep(0.002)
    return time.monotonic() - began


def theirs(broker: Broker, folder: Path, starts: int) -> tuple[list[float], list[float]]:
    """The same of mcollectived."""
    times, memory = [], []
    daemon = mcollective.Daemon(broker, folder, "node01")
    for _ in range(starts):
        began = time.monotonic()
        child = daemon.start()
        times.append(time.monotonic() - began)
        time.sleep(1.0)  # it loads its agents after it is connected, and does not say when
        memory.append(psutil.Process(child.pid).memory_info().rss / MIB)
        daemon.stop()
    return times, memory


def alone(code: str, starts: int) -> tuple[list[float], list[float]]:
    """Seconds and MiB of an interpreter that only imports."""
    times, memory = [], []
    for _ in range(starts):
        began = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-c", f"{code}\nprint(1, flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            times.append(time.monotonic() - began)
            memory.append(psutil.Process(process.pid).memory_info().rss / MIB)
            process.communicate(b"\n")
    return times, memory


def row(what: str, times: Sequence[float], *memory: Sequence[float]) -> None:
    """One line of medians."""
    show(what, f"{median(times):.2f} s", *(f"{median(each):.1f} MiB" for each in memory))


def main() -> None:
    """Start both by turns, on ActiveMQ."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    if package := brokers.missing("mcollective"):
        raise SystemExit(f"needs Debian's {package}")
    print(f"{machine()}\nmedians of {starts} starts")
    with place() as folder, running("activemq", folder) as broker:
        for name in ("ours", "theirs"):
            (folder / name).mkdir()
        times, fresh, used = ours(broker, folder / "ours", starts)
        their_times, their_memory = theirs(broker, folder / "theirs", starts)
    show("", "start", "RSS, ready", "RSS, used")
    row("mcshell node", times, fresh, used)
    row("mcollectived", their_times, their_memory)
    show(
        "ratio",
        f"{median(times) / median(their_times):.2f}",
        f"{median(fresh) / median(their_memory):.2f}",
        f"{median(used) / median(their_memory):.2f}",
    )
    for what, code in LIBRARIES.items():
        row(what, *alone(code, starts))


if __name__ == "__main__":
    main()
