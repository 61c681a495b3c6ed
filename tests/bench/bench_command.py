"""`mcshell ping -j` of 25 nodes as a command, process start included; `mco ping` in the same run.

Run: python tests/bench/bench_command.py [NODES [ROUNDS]]

Both commands by turns, on one ActiveMQ: ours asks an emulator (its state is warm: the nodes are
known, the bytecode is there, as in an installation), theirs as many real mcollectived, where
MCollective is installed. Seconds by the clock depend on who else is at work, processor seconds
hardly do. Then what of ours is not ours (the interpreter), and the imports, each by its least of
several (`python -X importtime`), a package and a module a line.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from figures import figure, machine, median, ms, place, running, show

from tests.mcollective.interop.network import Network, Pair
from tests.peers import brokers
from tests.peers.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMIT = 350.0
"""Milliseconds that our command may take."""
_IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
_WORDS = ("ping", "-j")


class Taken(NamedTuple):
    """Seconds by the clock, and of processor."""

    wall: float
    processor: float


def taken(command: Callable[[], object]) -> Taken:
    """What a command takes that is waited for."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command()
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(wall, used)


def ours(fleet: Fleet, nodes: int) -> None:
    """One command of ours."""
    done = fleet.cli(*_WORDS)
    states = [row["state"] for row in json.loads(done.stdout)]
    assert states == ["ok"] * nodes, done


def theirs(network: Network, nodes: int) -> None:
    """One of MCollective's."""
    answer = network.mco("ping")
    assert f"{nodes} replies" in answer.out, answer


def interpreter(fleet: Fleet) -> None:
    """One that does nothing."""
    subprocess.run([sys.executable, "-c", "pass"], check=True, env=fleet.environ)


def imports(fleet: Fleet, rounds: int) -> dict[str, float]:
    """Milliseconds of each module that the command loads, the least of each."""
    least: dict[str, float] = {}
    argv = [sys.executable, "-X", "importtime", "-m", "mcshell", *_WORDS]
    for _ in range(rounds):
        done = subprocess.run(
            argv, check=True, capture_output=True, text=True, cwd=fleet.folder, env=fleet.environ
        )
        for found in _IMPORTED.finditer(done.stderr):
            name, spent = found[2], int(found[1]) / 1000
            least[name] = min(least.get(name, spent), spent)
    return least


def row(what: str, figures: Sequence[Taken]) -> None:
    """One line: medians, and the least by the clock."""
    walls, used = ([one[at] for one in figures] for at in (0, 1))
    show(what, ms(median(walls)), ms(min(walls)), ms(median(used)))


def report(loaded: dict[str, float]) -> None:
    """The imports, by package and the largest modules."""
    show(f"imports: {len(loaded)} modules, ms", f"{sum(loaded.values()):.1f}")
    packages: Counter[str] = Counter()
    counts = Counter(name.partition(".")[0] for name in loaded)
    for name, spent in loaded.items():
        packages[name.partition(".")[0]] += spent
    for name, spent in packages.most_common(12):
        show(f"  {name} ({counts[name]})", f"{spent:.1f}")
    for name, spent in Counter(loaded).most_common(12):
        show(f"    {name}", f"{spent:.1f}")


def main(nodes: int = 25, rounds: int = 15) -> None:
    """Print the figures."""
    print(machine())
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    old = not brokers.missing("mcollective")
    with ExitStack() as stack:
        folder = stack.enter_context(place())
        broker = stack.enter_context(running("activemq", folder))
        (folder / "ours").mkdir()
        fleet = stack.enter_context(Fleet(broker, folder / "ours"))
        fleet.emulate(nodes)
        ours(fleet, nodes)
        if old:
            network = stack.enter_context(Network(broker, folder / "mco", Pair()))
            network.start(nodes)
            theirs(network, nodes)
        mine, other, bare = [], [], []
        for _ in range(rounds):
            mine.append(taken(lambda: ours(fleet, nodes)))
            bare.append(taken(lambda: interpreter(fleet)))
            if old:
                other.append(taken(lambda: theirs(network, nodes)))
        loaded = imports(fleet, rounds)
    show(f"{nodes} nodes, ActiveMQ, {rounds} rounds", "median", "least", "processor")
    row("mcshell ping -j", mine)
    if other:
        row("mco ping", other)
    else:
        show("mco ping", "no mcollective")
    row("limit: the interpreter alone", bare)
    report(loaded)
    walls, used = ([one[at] * 1000 for one in mine] for at in (0, 1))
    figure(f"ping -j of {nodes} nodes as a command, median", median(walls), "ms", most=LIMIT)
    figure("  the least", min(walls), "ms", most=LIMIT)
    figure("  processor", median(used), "ms")
    figure("  imports of it", sum(loaded.values()), "ms")
    if other:
        figure("  mco ping beside it, median", median([one.wall for one in other]) * 1000, "ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
