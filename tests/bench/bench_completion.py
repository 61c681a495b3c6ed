"""Completion with 10,000 known nodes: what a key costs, idle and while the cache is made anew.

Then what an answer to a shell costs (`mcshell completion bash`), its process included: processor
time, which hardly depends on who else is at work, in whole and without what Python takes to start.

Run: python tests/bench/bench_completion.py
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mcshell import config
from mcshell.client.discovery.node_cache import CachedNode, NodeCache
from mcshell.commands.completion import Refresher, candidates
from mcshell.pki import Authority
from mcshell.wire.credentials import load_credentials
from tests.bench.figures import figure, machine, ms, place, show

NODES = 10_000
LINES = (
    "rpc package status name=openssl -F os.name=Debian -I node0999",
    "find -C role::we -F site=site3 -S 'os.name=Debian and serial=S99",
    "rpc service restart name=nginx --via queue --ttl 7d -I node",
    "replies ",
    "find -F serial=",
)
SHELL_LINES = (
    "fin",
    "find --se",
    "rpc package status na",
    "find -I node0999",
    "find -F os.name=",
    "find -F serial=S99",
    "find -F ",
    "find -C role::",
    "replies ",
)
ROUNDS = 9
LIMIT = 200.0
"""Milliseconds of processor that an answer to a shell may take."""
CONFIG = '[pki]\nca = "pki/ca.pem"\ncert = "alice.pem"\nkey = "alice.key"\n'


def fleet(state: Path, realm: str) -> None:
    """Put 10,000 nodes with some thirty facts each into what is known."""
    rng = random.Random(1)
    now = time.time()
    known = NodeCache(state / "nodes.sqlite", realm)
    known.learn(
        "mcs",
        (
            CachedNode(
                identity=f"node{number:05d}.site{number % 9}.example.com",
                seen=now,
                facts={
                    "os": {"name": rng.choice(["Debian", "Rocky", "Ubuntu"]), "major": number % 4},
                    "serial": f"S{number}",
                    "site": f"site{number % 9}",
                    **{f"fact{which}": rng.randrange(1000) for which in range(26)},
                },
                classes=frozenset(
                    {f"role::{rng.choice(['web', 'db', 'cache'])}", f"rack{number % 90}"}
                ),
                agents=frozenset({"rpcutil", "package", "service"}),
                collectives=("mcs",),
            )
            for number in range(NODES)
        ),
    )
    known.close()


def typed(refresher: Refresher, seconds: float) -> list[float]:
    """Type the lines again and again, letter by letter; seconds a key."""
    took: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for line in LINES:
            for cursor in range(1, len(line) + 1):
                began = time.perf_counter()
                candidates(line, cursor, refresher.cache)
                took.append(time.perf_counter() - began)
    return took


def processor(argv: list[str], folder: Path) -> float:
    """Processor seconds of a command, the median of some."""
    environ = {**os.environ, "MCSHELL_CONFIG": str(folder / "c.toml")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    took: list[float] = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, check=True, capture_output=True, env=environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(took)


def answers(folder: Path) -> None:
    """What a shell's Tab costs, for each line."""
    bare = processor([sys.executable, "-c", "pass"], folder)
    show("a shell's Tab, processor", "in whole", "above Python's")
    worst = 0.0
    for line in SHELL_LINES:
        ask = [sys.executable, "-m", "mcshell", "completion", "--answer", "zsh", f"mcshell {line}"]
        took = processor(ask, folder)
        worst = max(worst, took)
        show(line, ms(took), ms(took - bare))
    figure(f"{NODES:,} known nodes: a shell's Tab, the dearest", worst * 1000, "ms", most=LIMIT)


def percentiles(took: list[float]) -> list[str]:
    """Median, 95th percentile and the worst."""
    cuts = statistics.quantiles(took, n=100)
    return [ms(value) for value in (cuts[49], cuts[94], max(took))]


def main() -> None:
    """Measure and print."""
    with place() as folder:
        Authority.init(folder / "pki", "bench").issue("alice", "operator", out=folder)
        (folder / "c.toml").write_text(f'state = "{folder}/state"\n{CONFIG}')
        settings = config.load(folder / "c.toml")
        settings.state_dir.mkdir()
        realm = load_credentials(settings.pki).realm
        fleet(settings.state_dir, realm)
        refresher = Refresher(lambda: settings)
        began = time.perf_counter()
        refresher.start()
        assert refresher.wait(60)
        first = time.perf_counter() - began
        assert len(refresher.cache.nodes) == NODES
        idle = typed(refresher, 5)
        stop = threading.Event()

        def disturb() -> None:
            known = NodeCache(settings.state_dir / "nodes.sqlite", realm)
            while not stop.wait(0.5):
                known.touch("mcs", ["node00001.site1.example.com"], time.time())
                refresher.hurry()
            known.close()

        thread = threading.Thread(target=disturb)
        thread.start()
        busy = typed(refresher, 10)
        stop.set()
        thread.join()
        refresher.stop()
        answers(folder)
    print(f"{machine()}\n{NODES} nodes cached; the first cache took {first:.2f} s")
    show("a key", "median", "p95", "worst")
    show("idle", *percentiles(idle))
    show("while the cache is made anew", *percentiles(busy))
    figure(f"{NODES:,} known nodes: a key, median", statistics.median(idle) * 1000, "ms")


if __name__ == "__main__":
    main()
