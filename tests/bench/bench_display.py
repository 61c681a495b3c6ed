"""What a live display costs while 50,000 rows come in, and what it leaves in the notebook.

Run: python tests/bench/bench_display.py [NODES] [SECONDS]

A real ledger takes the words in steps, as a receiver does; the painter publishes into a list
instead of a kernel. The share is the painter thread's processor time over the time that passed.
"""

from __future__ import annotations

import sys
import time

from figures import figure, machine, show

from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.replies import Replies
from mcshell.client.store.ledger import LedgerEntry, step
from mcshell.client.store.records import RequestRecord
from mcshell.message import Filter, Reply, State, Via
from mcshell.notebook.display import bundle
from mcshell.notebook.painter import Painter

ID = "0" * 32
STEPS = 100


def words(size: int) -> list[LedgerEntry]:
    """What a final reply of each node makes of its entry."""
    found = []
    for number in range(size):
        name = f"web{number:05}"
        reply = Reply(
            requestid=ID,
            sender=name,
            sequence=2,
            statuscode=0,
            statusmsg="OK",
            data={"version": "3.0.15"},
            created=time.time(),
            state=State.OK,
        )
        found.append(step(LedgerEntry(sender=name), reply, time.time() + number / size))
    return found


def main(size: int = 50_000, seconds: float = 20.0) -> None:
    """Measure, and print the figures."""
    now = time.time()
    record = RequestRecord(
        id=ID,
        agent="package",
        action="status",
        via=Via.DIRECT,
        collective="mcs",
        created=now,
        expires=now + 600,
        filter=Filter(),
        data={},
    )
    asked = RequestTracker(record, [f"web{number:05}" for number in range(size)])
    replies = Replies(asked, None)
    published: list[int] = []
    painter = Painter(lambda data, _name, _update: published.append(sum(map(len, data.values()))))
    coming = words(size)
    painter.show(replies)
    painter.cost = 0.0
    began = time.monotonic()
    for number in range(STEPS):
        asked.enter(coming[number * size // STEPS : (number + 1) * size // STEPS])
        time.sleep(max(0.0, began + seconds * (number + 1) / STEPS - time.monotonic()))
    took = time.monotonic() - began
    share = painter.cost / took
    asked.finish()
    painter.flush()
    painter.stop()
    once = time.thread_time()
    final = bundle(replies)
    once = time.thread_time() - once
    show(machine())
    show(f"{size} rows in {took:.1f} s: {len(published)} drawings, {share:.1%} of a core")
    figure(f"{size:,} rows, drawn live: share of a core", share * 100, "%")
    show(f"one drawing: {once * 1e3:.0f} ms; largest update {max(published)} bytes")
    show(f"left in the notebook: {sum(map(len, final.values()))} bytes")


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((int, float), sys.argv[1:], strict=False)))
