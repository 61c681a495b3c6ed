"""One consumer of a backlog, in a process of its own; prints seconds, processor seconds and
peak memory as JSON.

drain.py bare|stomp HOST PORT USER PASSCODE QUEUE COUNT
drain.py mcshell CONFIG SESSION REQUESTS.json COUNT
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace


def bare(host: str, port: str, user: str, passcode: str, queue: str, count: str) -> float:
    """A blocking socket and our codec; acknowledges each message."""
    from tests.peers.bare import Bare

    broker = SimpleNamespace(host=host, port=int(port), user=user, passcode=passcode)
    with Bare(broker).connect() as link:
        headers = {"destination": queue, "id": "1", "ack": "client-individual"}
        began = time.monotonic()
        link.put("SUBSCRIBE", {**headers, **link.dialect.subscribe_headers(prefetch=1000)})
        for _ in range(int(count)):
            link.put("ACK", {"id": link.get("MESSAGE").headers["ack"]})
        return time.monotonic() - began


def stomp(host: str, port: str, user: str, passcode: str, queue: str, count: str) -> float:
    """stomp.py as it comes; its listener only counts and acknowledges."""
    import stomp as library

    done = threading.Event()
    total = int(count)

    class Listener(library.ConnectionListener):
        seen = 0

        def on_message(self, frame):
            connection.ack(frame.headers["ack"])
            self.seen += 1
            if self.seen == total:
                done.set()

    connection = library.Connection12([(host, int(port))], vhost="/", auto_decode=False)
    connection.set_listener("", Listener())
    connection.connect(user, passcode, wait=True)
    began = time.monotonic()
    prefetch = {"activemq.prefetchSize": 1000, "prefetch-count": 1000}
    connection.subscribe(queue, "1", "client-individual", headers=prefetch)
    done.wait()
    taken = time.monotonic() - began
    connection.disconnect()
    return taken


def mcshell(path: str, session: str, wanted: str, count: str) -> float:
    """A client that attaches the session; every reply is verified and committed."""
    from mcshell import config
    from mcshell.client.client import Client
    from mcshell.client.session.session import Session
    from mcshell.client.store.records import RequestRecord
    from mcshell.message import Filter, Via

    settings = config.load(Path(path))
    document = json.loads(Path(wanted).read_text())
    prepared = Session.open(settings.state_dir, "cert=alice", settings.collective.main, session)
    now = time.time()
    for request in document["requests"]:
        record = RequestRecord(
            id=request,
            agent="rpcutil",
            action="ping",
            via=Via.QUEUE,
            collective=settings.collective.main,
            created=now,
            expires=now + 1e6,
            filter=Filter(),
            data={},
        )
        prepared.store.add(record, document["nodes"])
    prepared.close()
    began = time.monotonic()
    with Client(settings, session=session) as client:
        while client.session.store.reply_count() < int(count):
            time.sleep(0.05)
        taken = time.monotonic() - began
        assert not client.junk, client.junk
        states = {s for _, counts in client.requests() for s, n in counts.items() if n}
        assert states == {"ok"}, states
    return taken


def main() -> None:
    """Run one and print its figures."""
    seconds = {"bare": bare, "stomp": stomp, "mcshell": mcshell}[sys.argv[1]](*sys.argv[2:])
    # getrusage's figure begins with our parent's; this one begins with our own program.
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "peak_mib": peak}))


main()
