"""What the benchmarks that run as scripts share: a broker for a while, medians, lines to print.

A `figure` is what a benchmark is run for: it is printed beside its limit, and `tests/bench/all`
gathers it in its table and in RESULTS.md.

Importing it makes `tests` and `mcshell` importable when a benchmark runs as
`python tests/bench/bench_X.py` from anywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
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

__all__ = [
    "KEPT",
    "ROOT",
    "bare_peers",
    "figure",
    "machine",
    "median",
    "ms",
    "place",
    "running",
    "show",
]

KEPT = "MCSHELL_BENCH_FIGURES"
"""The variable that names a file for the figures: a line of JSON each."""


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that is gone afterwards, also when the benchmark is told to end: its peers end, too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
def bare_peers(
    broker: Broker, folder: Path, count: int, connections: int, config: Path | None = None
) -> Iterator[Child]:
    """A process with so many bare peers (see bare_peers.py), serving; `config`: who they sign as."""
    from tests.peers.processes import Child, PeerError, wait_until

    script = Path(__file__).with_name("bare_peers.py")
    log = folder / f"bare-{count}{config.stem if config else ''}.log"
    words = [broker.url, broker.user, broker.passcode, str(count), str(connections)]
    words += [] if config is None else [str(config)]
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


def figure(
    what: str,
    value: float,
    unit: str = "",
    *,
    most: float | None = None,
    least: float | None = None,
) -> None:
    """Print a figure beside its limit, if it has one, and keep it where `KEPT` says."""
    limit = "" if most is None and least is None else f"{'≤' if least is None else '≥'} "
    bound = most if least is None else least
    kept = (most is None or value <= most) and (least is None or value >= least)
    row = {
        "bench": Path(sys._getframe(1).f_code.co_filename).stem.removeprefix("bench_"),
        "what": what,
        "value": f"{_short(value)} {unit}".rstrip(),
        "limit": "" if bound is None else f"{limit}{_short(bound)} {unit}".rstrip(),
        "verdict": "" if bound is None else "kept" if kept else "over",
    }
    show(what, row["value"], row["limit"], row["verdict"])
    if path := os.environ.get(KEPT):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _short(value: float) -> str:
    """Three digits that count, and all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
