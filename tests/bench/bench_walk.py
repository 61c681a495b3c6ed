"""The way of a request: how many files and functions of ours it passes, from the call to its end.

Run: python tests/bench/bench_walk.py [--list]

A client, a node's daemon and the embedded broker in one process, every thread of theirs under
`sys.setprofile`. Warm: one request of each kind goes before. Then a broadcast, a queued request
and a job, each of `rpcutil.get_fact` to those that match a compound filter, from the call until
the table of its replies is made, and for the moment in which acknowledgements and receipts come.
Counted are the functions of `mcshell/` and `agents/` that were entered, each once; comprehensions,
lambdas, generator expressions and class bodies are none, and what runs in the shim's process is
not seen. A change of file is a call from one of our files into another. Once without the broker's
threads, once with them.

What a walk passes changes a little from one to the next (which thread waited for which), so the
medians of five are printed. `--list` prints the functions of the last, by file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from figures import ROOT, figure, machine, place, show

from mcshell import config
from mcshell.broker.server import Broker
from mcshell.node.daemon import Daemon
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    from mcshell.client.client import Client

TIMES = 5
QUIET = 0.7  # seconds, in which what a request leaves to be done behind it is done
WHERE = "os.name=/./ and not customer=nobody"
OURS = tuple(str(Path(ROOT) / name) for name in ("mcshell/", "agents/"))
BROKER = "broker"
FUNCTION = 2  # CO_NEWLOCALS: the body of a class or a module is without it
NO_FUNCTIONS = ("<lambda>", "<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>")


class Walk:
    """What was entered while it was `on`, by the broker's thread or by others."""

    def __init__(self) -> None:
        self.on = False
        self.entered: set[tuple[CodeType, bool]] = set()
        self.changes = [0, 0]

    def profile(self, frame: FrameType, event: str, _arg: object) -> None:
        """Note a call of one of our functions."""
        code = frame.f_code
        if not self.on or event != "call" or not code.co_filename.startswith(OURS):
            return
        if code.co_name in NO_FUNCTIONS or not code.co_flags & FUNCTION:
            return
        brokers = threading.current_thread().name == BROKER
        self.entered.add((code, brokers))
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(OURS):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != code.co_filename:
            self.changes[brokers] += 1

    def take(self, request: Callable[[], None]) -> None:
        """Make a request, and see what it passes."""
        self.entered, self.changes = set(), [0, 0]
        time.sleep(QUIET)
        self.on = True
        request()
        time.sleep(QUIET)
        self.on = False

    def functions(self, *, broker: bool) -> dict[str, set[str]]:
        """The names of the functions that were entered, by file."""
        found: dict[str, set[str]] = defaultdict(set)
        for code, brokers in self.entered:
            if broker or not brokers:
                found[code.co_filename.removeprefix(ROOT).lstrip("/")].add(code.co_qualname)
        return found

    def figures(self) -> tuple[int, ...]:
        """Files, functions and changes of file: without the broker, and with it."""
        return tuple(
            figure
            for broker in (False, True)
            for found in [self.functions(broker=broker)]
            for figure in (
                len(found),
                sum(map(len, found.values())),
                sum(self.changes[: 1 + broker]),
            )
        )


@contextlib.contextmanager
def broker_here(folder: Path) -> Iterator[SimpleNamespace]:
    """The embedded broker in a thread of this process."""
    folder.mkdir()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=BROKER)
    thread.start()

    async def start() -> tuple[Broker, tuple[str, int]]:
        broker = Broker(folder, user="mcs", passcode="secret")
        return broker, await broker.start("127.0.0.1", 0, None)

    broker, (host, port) = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield SimpleNamespace(url=f"stomp://{host}:{port}", user="mcs", passcode="secret")
    finally:
        asyncio.run_coroutine_threadsafe(broker.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def node_here(config_file: Path) -> Iterator[None]:
    """A node's daemon in a thread of this process."""
    daemon = Daemon(config.load(config_file))
    ready = threading.Event()
    thread = threading.Thread(target=daemon.serve, args=(ready.set,), name="node")
    thread.start()
    try:
        assert ready.wait(10.0)
        yield
    finally:
        daemon.stop()
        thread.join()


def requests(client: Client) -> dict[str, Callable[[], None]]:
    """The three kinds, by what they are called."""

    def ask(via: str) -> None:
        replies = client.rpc("rpcutil", "get_fact", fact="os.name", where=WHERE, via=via)
        assert list(replies.frame().state) == ["ok"], replies.ledger()

    def job() -> None:
        replies = client.jobs.submit("rpcutil", "get_fact", inputs={"fact": "os.name"}, where=WHERE)
        assert list(replies.wait(10.0).frame().state) == ["ok"], replies.ledger()

    return {"broadcast": lambda: ask("broadcast"), "queued": lambda: ask("queue"), "job": job}


def measure(client: Client, walk: Walk, *, listed: bool) -> None:
    """Warm up, walk, print."""
    kinds = requests(client)
    for request in kinds.values():
        request()
    show("", "files", "functions", "changes", "with broker:", "functions", "changes")
    for kind, request in kinds.items():
        walks = []
        for _ in range(TIMES):
            walk.take(request)
            walks.append(walk.figures())
        columns = [statistics.median(column) for column in zip(*walks, strict=True)]
        show(kind, *(f"{one:.0f}" for one in columns))
        figure(f"the way of {kind}: functions", columns[1])
        for file, names in sorted(walk.functions(broker=False).items()) if listed else ():
            print(f"  {file}: {', '.join(sorted(names))}")


def main() -> None:
    """One broker, one node, one client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    walk = Walk()
    sys.setprofile(walk.profile)
    threading.setprofile(walk.profile)
    print(machine())
    with place() as folder, broker_here(folder / "broker") as broker:
        (folder / "fleet").mkdir()
        fleet = Fleet(broker, folder / "fleet", {"node01": Node()})  # type: ignore[arg-type] - for its files
        with node_here(fleet.folder / "node01.toml"), fleet.client() as client:
            measure(client, walk, listed=options.list)


if __name__ == "__main__":
    main()
