"""What a node daemon costs its machine, beside a real mcollectived on the same broker.

Run: python tests/bench/bench_node.py [STARTS]

Both run as installed: Python's bytecode is cached by a start that is not counted.

Start: from exec to `ready` (ours: every subscription confirmed; mcollectived: its log says
"Connected to", it subscribes just after). Memory: resident set, once it serves and has answered
a few calls (and in brackets what of it is the process's own: the rest are libraries that other
processes share). Beside it, what the interpreter and the libraries take without us.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil
from figures import ROOT, machine, median, place, running, show

from tests.peers import brokers, mcollective
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.peers.brokers import Broker

MIB = 1 << 20


class Taken(NamedTuple):
    """What one start took: seconds, MiB when ready, MiB after some calls, and its own of these."""

    start: float
    fresh: float
    used: float
    own: float


CALLS = 20
LIBRARIES = {
    "limit: python alone": "pass",
    "limit: python, stomp.py": "import stomp",
    "limit: python, stomp.py, cryptography": (
        "import stomp; from cryptography import x509;"
        "from cryptography.hazmat.primitives.asymmetric import ed25519"
    ),
}


def ours(broker: Broker, folder: Path, starts: int) -> list[Taken]:
    """Our daemon, started so many times."""
    figures = []
    with Fleet(broker, folder, {"node01": Node()}) as fleet, fleet.client() as client:
        fleet.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        fleet.start()
        fleet.nodes.pop("node01").stop()
        for _ in range(starts):
            took = start(fleet)
            node = psutil.Process(fleet.nodes["node01"].pid)
            fresh = node.memory_info().rss / MIB
            for _ in range(CALLS):
                assert client.rpc("rpcutil", "ping", nodes=["node01"]).stats["ok"] == 1
            client.rpc("rpcutil", "inventory", nodes=["node01"])
            figures.append(Taken(took, fresh, *resident(node)))
            fleet.nodes.pop("node01").stop()
    return figures


def resident(process: psutil.Process) -> tuple[float, float]:
    """MiB: the resident set, and what of it no other process shares."""
    memory = process.memory_full_info()
    return memory.rss / MIB, memory.uss / MIB


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


def theirs(broker: Broker, folder: Path, starts: int) -> list[Taken]:
    """The same of mcollectived, which nobody calls."""
    figures = []
    daemon = mcollective.Daemon(broker, folder, "node01")
    for _ in range(starts):
        began = time.monotonic()
        child = daemon.start()
        took = time.monotonic() - began
        time.sleep(1.0)  # it loads its agents after it is connected, and does not say when
        used, own = resident(psutil.Process(child.pid))
        figures.append(Taken(took, used, used, own))
        daemon.stop()
    return figures


def hold_state_directory(code: str, starts: int) -> list[Taken]:
    """An interpreter that only imports."""
    figures = []
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
            took = time.monotonic() - began
            used, own = resident(psutil.Process(process.pid))
            figures.append(Taken(took, used, used, own))
            process.communicate(b"\n")
    return figures


def medians(figures: Sequence[Taken]) -> Taken:
    """The median of each column."""
    return Taken(*map(median, zip(*figures, strict=True)))


def row(what: str, taken: Taken) -> None:
    """One line."""
    used = f"{taken.used:.1f} ({taken.own:.1f})"
    show(what, f"{taken.start:.2f} s", f"{taken.fresh:.1f} MiB", used)


def main() -> None:
    """Start both by turns, on ActiveMQ."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    if package := brokers.missing("mcollective"):
        raise SystemExit(f"needs Debian's {package}")
    print(f"{machine()}\nmedians of {starts} starts")
    with place() as folder, running("activemq", folder) as broker:
        for name in ("ours", "theirs"):
            (folder / name).mkdir()
        mine = medians(ours(broker, folder / "ours", starts))
        other = medians(theirs(broker, folder / "theirs", starts))
    show("", "start", "RSS, ready", "RSS, used (own)")
    row("mcshell node", mine)
    row("mcollectived", other)
    ratios = [f"{one / two:.2f}" for one, two in zip(mine, other, strict=True)]
    show("ratio", ratios[0], ratios[1], f"{ratios[2]} ({ratios[3]})")
    for what, code in LIBRARIES.items():
        row(what, medians(hold_state_directory(code, starts)))


if __name__ == "__main__":
    main()
