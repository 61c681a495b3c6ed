"""What the benchmarks that run as scripts share: a broker for a while, medians, lines to print.

Importing it makes `tests` and `mcshell` importable when a benchmark runs as
`python tests/bench/bench_X.py` from anywhere.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.peers.brokers import Broker
    from tests.peers.processes import Child

__all__ = ["ROOT", "bare_peers", "machine", "median", "ms", "place", "running", "show"]


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mcshell-bench-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def running(kind: str, folder: Path) -> Iterator[Broker]:
    """A broker of this kind; ends the program with one line when its package is not there."""
    from tests.peers import brokers, certificates

    if package := brokers.missing(kind):
        raise SystemExit(f"needs Debian's {package}")
    broker = brokers.start(kind, folder / kind, certificates.write(folder / "tls"))
    try:
        yield broker
    finally:
        broker.stop()


@contextlib.contextmanager
def bare_peers(broker: Broker, folder: Path, count: int, connections: int) -> Iterator[Child]:
    """A process with so many bare peers (see bare_peers.py), serving."""
    from tests.peers.processes import Child, PeerError, wait_until

    script = Path(__file__).with_name("bare_peers.py")
    log = folder / f"bare-{count}.log"
    words = [broker.url, broker.user, broker.passcode, str(count), str(connections)]
    child = Child([sys.executable, script, *words], log)
    try:
        wait_until(lambda: not child.running or "ready" in child.tail(), 60.0)
        if not child.running:
            raise PeerError(child.tail())
        yield child
    finally:
        child.stop()


def machine() -> str:
    """What the figures were taken on, in one line."""
    load = os.getloadavg()[0]
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} at start"


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def ms(seconds: float) -> str:
    """Milliseconds for people."""
    return f"{seconds * 1000:,.1f} ms"


def show(what: str, *values: str) -> None:
    """One line of a table."""
    print(f"{what:<46}" + "".join(f"{value:>16}" for value in values), flush=True)
