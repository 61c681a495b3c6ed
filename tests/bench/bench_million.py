"""A session with a million replies: drained from a broker, each verified and committed, then looked at.

Run: python tests/bench/bench_million.py [--count 1000000] [--nodes 1000] [--broker rabbitmq]

The replies are signed and put into the queue while a client drains it. A second process then asks
for what an operator asks: `requests`, `ledger`, `replies` with `frame()`, `sql`, medians of 3. Prints
the times, the file's size and the peak memory of both processes, which has to stay below 512 MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

from bench_backlog import child, fill, seal, signers
from figures import machine, place, running, show

from mcshell.message import new_request_id
from mcshell.wire import destinations
from tests.peers.fleet import Fleet

SESSION = "million"
PORTION = 20_000
LIMIT = 512.0


def main() -> None:
    """Fill, drain, look, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--broker", default="rabbitmq")
    options = parser.parse_args()
    print(machine())
    with place() as folder, running(options.broker, folder) as broker:
        (folder / "fleet").mkdir()
        fleet = Fleet(broker, folder / "fleet")
        keys = signers(fleet, "ed25519", options.nodes)
        requests = [
            new_request_id("cert=alice")[0] for _ in range(max(1, options.count // len(keys)))
        ]
        total = len(requests) * len(keys)
        wanted = folder / "wanted.json"
        names = [key.identity.name for key in keys]
        wanted.write_text(json.dumps({"requests": requests, "nodes": names}))
        queue = destinations.reply(fleet.collective, "cert=alice", SESSION)
        words = str(fleet.config), SESSION, str(wanted), str(total)
        with ThreadPoolExecutor(1) as drains:
            began = time.monotonic()
            drained = drains.submit(child, "mcshell", *words)
            some = max(1, PORTION // len(keys))
            for at in range(0, len(requests), some):
                asyncio.run(fill(broker, queue, seal(keys, requests[at : at + some], 0)))
            figure = drained.result()
        show(f"{total:,} replies signed, sent and drained", f"{time.monotonic() - began:.0f} s")
        show("  of the client, each", f"{figure['cpu'] / total * 1e6:.0f} us of processor")
        show("  its peak memory", f"{figure['peak_mib']:.0f} MiB", f"limit {LIMIT:.0f}")
        looked = child("look", *words)
        for name, value in looked.items():
            if name.startswith("look "):
                show(f"  {name[5:]}", f"{value * 1000:,.0f} ms")
        show("the file, each reply", f"{looked['file'] / total:.0f} bytes")
        show("peak memory of looking", f"{looked['peak_mib']:.0f} MiB", f"limit {LIMIT:.0f}")
        fleet.stop()
        if max(figure["peak_mib"], looked["peak_mib"]) > LIMIT:
            raise SystemExit("more memory than it may take")


if __name__ == "__main__":
    main()
