"""One session file with 1,000 requests of 1,000 targets: how long it takes to look back.

Run: python tests/bench/bench_session.py [REQUESTS] [TARGETS]

Prints the time of `requests`, and of `ledger` and `replies` for one request, medians of 5, and the
file's size. The first request is kept as a client keeps it, the others are copies of its rows.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

from figures import figure, machine, place

from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.rpc.replies import Replies, ledger_columns
from mcshell.client.store.records import ReplyRecord, RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.message import Filter, Reply, State, Via, new_nonce
from mcshell.pki import Authority
from mcshell.table import frame
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, seal_reply
from mcshell.wire.documents.signatures import Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def fill(path: Path, signer: Signer, requests: int, targets: int) -> None:
    """Make the file."""
    store = SessionStore(path)
    names = [f"web{number:05d}" for number in range(targets)]
    first = _record()
    store.add(first, names)
    words = []
    for name in names:
        reply = Reply(
            requestid=first.id,
            sender=name,
            sequence=2,
            statuscode=0,
            statusmsg="OK",
            data={"pong": 1_700_000_000},
            created=1.0,
            state=State.OK,
        )
        sealed = seal_reply(reply, signer) if name == names[0] else None
        body = sealed.body if sealed else words[0].body.replace(b"web00000", name.encode())
        head = sealed.headers if sealed else None
        signature = head[SIGNATURE] if head else words[0].signature
        certificate = head[CERTIFICATE] if head else words[0].certificate
        words.append(
            ReplyRecord(
                reply=reply,
                kept=2.0,
                body=body,
                signature=signature,
                certificate=certificate,
                target=name,
            )
        )
    store.enter(words, durable=False)
    store.close()
    _copy(path, first, requests)


def _record() -> RequestRecord:
    now = time.time()
    return RequestRecord(
        id=new_nonce(),
        agent="rpcutil",
        action="ping",
        via=Via.QUEUE,
        collective="mcs",
        created=now,
        expires=now + 1e6,
        filter=Filter(),
        data={},
    )


def _copy(path: Path, first: RequestRecord, requests: int) -> None:
    """Copy the rows of the first request under new ids."""
    store = SessionStore(path)
    for _ in range(requests - 1):
        record = _record()
        store.add(record, [])
        with store._commit() as db:
            for table in ("targets", "replies", "counts"):
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
                kept = [name for name in columns if name not in ("request", "number")]
                kept += ["number"] if table == "counts" else []
                names = ", ".join(kept)
                db.execute(
                    f"INSERT OR REPLACE INTO {table} (request, {names})"
                    f" SELECT ?, {names} FROM {table} WHERE request=?",
                    (record.id, first.id),
                )
    store.close()


def median(action: Callable[[], object]) -> float:
    """The median time of five calls, in milliseconds."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    """Fill, look back, print."""
    requests, targets = (
        ([*map(int, sys.argv[1:]), 1000, 1000][:2]) if sys.argv[1:] else (1000, 1000)
    )
    print(machine())
    with place() as folder:
        authority = Authority.init(folder / "pki")
        signer = Signer.from_pem(*authority.issue_pem("web00000", "node"))
        path = folder / "big.sqlite"
        fill(path, signer, requests, targets)
        store = SessionStore(path)
        history = store.requests()
        assert len(history) == requests
        middle = history[len(history) // 2][0]
        tracker = RequestTracker(middle, entries=store.entries(middle.id))
        assert tracker.stats().as_dict()["ok"] == targets
        print(f"{requests} requests of {targets} targets, {path.stat().st_size / 2**20:.0f} MiB")
        looks: dict[str, Callable[[], object]] = {
            "requests": lambda: (store.lapse(time.time()), store.requests()),
            "find by first letters": lambda: store.find_request(middle.id[:10]),
            "ledger": lambda: frame(ledger_columns(store.entries(middle.id))),
            "replies": lambda: Replies(
                RequestTracker(middle, entries=store.entries(middle.id)), None
            ).frame(),
        }
        for name, look in looks.items():
            figure(f"{requests:,} requests of {targets:,}: {name}", median(look), "ms")
        store.close()


if __name__ == "__main__":
    main()
