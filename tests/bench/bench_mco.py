"""Our client beside the real `mco`, on the same real MCollective nodes in the same run.

Run: python tests/bench/bench_mco.py [NODES [ROUNDS]]

`mco rpc rpcutil ping` and `mcshell rpc rpcutil ping` as commands, process start included; then the
same in a session that stays open, first and last reply from the call on. The first command of ours
has never seen the fleet, those after it have. The limits below say what of it is not ours: the
start of the interpreters.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from figures import ROOT, figure, machine, median, ms, place, running, show

from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import Network, Pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.client import Client
    from tests.peers.fleet import Fleet


class Taken(NamedTuple):
    """Seconds from the call to its end, the first and the last reply, and how many answered."""

    wall: float
    first: float
    last: float
    found: int


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that it took, and what it gave."""
    began = time.monotonic()
    given = action()
    return time.monotonic() - began, given


def theirs(network: Network) -> Taken:
    """One command of MCollective's; the last reply by its own account."""
    wall, answer = timed(lambda: network.mco("rpc", "rpcutil", "ping"))
    found = re.search(r"processing (\d+) / \d+ hosts in ([\d.]+) ms", answer.out)
    assert found, answer.out + answer.err
    return Taken(wall, float("nan"), float(found[2]) / 1000, int(found[1]))


def command(fleet: Fleet) -> Taken:
    """One command of ours."""
    wall, done = timed(lambda: fleet.cli("rpc", "rpcutil", "ping", "-j"))
    rows = [row for row in json.loads(done.stdout)["replies"] if row["state"] == "ok"]
    lags = [row["lag"] for row in rows]
    return Taken(wall, min(lags), max(lags), len(rows))


def session(client: Client) -> Taken:
    """One call in an open session, rows as they come."""
    began = time.monotonic()
    replies = client.rpc("rpcutil", "ping", wait=False)
    times = [time.monotonic() - began for row in replies.arrivals(30) if row.state == "ok"]
    replies.wait(30)
    return Taken(time.monotonic() - began, times[0], times[-1], len(times))


def start_of(argv: list[str], **more: Any) -> float:
    """Seconds that a process takes which does nothing."""
    return timed(lambda: subprocess.run(argv, check=True, capture_output=True, **more))[0]


def line(name: str, taken: list[Taken]) -> list[str]:
    """The medians of one row."""
    first = median([one.first for one in taken])
    found = sorted({one.found for one in taken})
    return [
        name,
        ms(median([one.wall for one in taken])),
        "" if first != first else ms(first),  # noqa: PLR0124 - nan
        ms(median([one.last for one in taken])),
        "/".join(map(str, found)),
    ]


def main(nodes: int = 50, rounds: int = 5) -> None:
    """Print the table."""
    print(machine())
    with place() as folder, running("activemq", folder) as broker:
        (folder / "ours").mkdir()
        with Network(broker, folder / "mco", Pair()) as network:
            network.start(nodes)
            with fleet_beside(broker, folder / "ours", network, 0) as fleet:
                fleet.environ.pop("PYTHONDONTWRITEBYTECODE", None)
                fleet.cli("agents")  # bytecode is there, as in an installation
                fresh = command(fleet)
                pairs = [(theirs(network), command(fleet)) for _ in range(rounds)]
                with fleet.client() as client:
                    client.rpc("rpcutil", "ping")
                    open_session = [session(client) for _ in range(rounds)]
                ruby = [start_of(["ruby", "-e", "require 'mcollective'"]) for _ in range(rounds)]
                python = [
                    start_of([sys.executable, "-c", "import mcshell.client.client"], cwd=ROOT)
                    for _ in range(rounds)
                ]
    rows = [
        line("mco rpc rpcutil ping", [one for one, _ in pairs]),
        line("mcshell rpc rpcutil ping, the very first", [fresh]),
        line("mcshell rpc rpcutil ping", [one for _, one in pairs]),
        line("client.rpc in an open session", open_session),
        ["limit: ruby with mcollective loaded", ms(median(ruby)), "", "", ""],
        ["limit: python with our client loaded", ms(median(python)), "", "", ""],
    ]
    mco, ours, inside = (
        median([one.wall for one in some])
        for some in ([a for a, _ in pairs], [b for _, b in pairs], open_session)
    )
    title = f"{nodes} real nodes, ActiveMQ, psk; medians of {rounds}"
    print(title)
    show("", "wall", "first reply", "last reply", "nodes")
    for row in rows:
        show(*row)
    figure(f"{nodes} real MCollective nodes: our command, of mco's time", ours / mco)
    figure("  a call in an open session, of mco's time", inside / mco)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
