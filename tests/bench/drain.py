"""One consumer of a backlog, in a process of its own; prints seconds, processor seconds (imports
not counted, those of a process that it starts are) and peak memory as JSON.

drain.py bare|stomp HOST PORT USER PASSCODE QUEUE COUNT
drain.py mcshell CONFIG SESSION REQUESTS.json COUNT
drain.py look CONFIG SESSION REQUESTS.json COUNT (afterwards: what looking at them takes)
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace


def bare(
    host: str, port: str, user: str, passcode: str, queue: str, count: str
) -> tuple[float, float]:
    """A blocking socket and our codec; acknowledges each message."""
    from tests.peers.bare import Bare

    broker = SimpleNamespace(host=host, port=int(port), user=user, passcode=passcode)
    with Bare(broker).connect() as link:
        headers = {"destination": queue, "id": "1", "ack": "client-individual"}
        began, used = time.monotonic(), time.process_time()
        link.put("SUBSCRIBE", {**headers, **link.dialect.subscribe_headers(prefetch=1000)})
        for _ in range(int(count)):
            link.put("ACK", {"id": link.get("MESSAGE").headers["ack"]})
        return time.monotonic() - began, time.process_time() - used


def stomp(
    host: str, port: str, user: str, passcode: str, queue: str, count: str
) -> tuple[float, float]:
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

    began, used = time.monotonic(), time.process_time()
    connection = library.Connection12([(host, int(port))], vhost="/", auto_decode=False)
    connection.set_listener("", Listener())
    connection.connect(user, passcode, wait=True)
    prefetch = {"activemq.prefetchSize": 1000, "prefetch-count": 1000}
    connection.subscribe(queue, "1", "client-individual", headers=prefetch)
    done.wait()
    taken, used = time.monotonic() - began, time.process_time() - used
    connection.disconnect()
    return taken, used


def mcshell(path: str, session: str, wanted: str, count: str) -> tuple[float, float]:
    """A client that attaches the session; every reply is verified and committed."""
    from mcshell import config
    from mcshell.client.client import Client
    from tests.peers.asked import keep_requests

    settings = config.load(Path(path))
    document = json.loads(Path(wanted).read_text())
    keep_requests(settings, session, document["requests"], document["nodes"])
    began, used = time.monotonic(), time.process_time()
    with Client(settings, session=session) as client:
        while client.session.store.latest() < int(count):
            time.sleep(0.05)
        taken = time.monotonic() - began
        used = time.process_time() - used
        assert not client.junk, client.junk
        states = {s for _, counts in client.requests() for s, n in counts.items() if n}
        assert states == {"ok"}, states
        for child in children():
            used += cpu(child)
    return taken, used


def look(path: str, session: str, wanted: str, count: str) -> dict[str, float]:
    """A client that attaches the session and asks for what is in it; seconds, medians of 3."""
    from statistics import median

    from mcshell import config
    from mcshell.client.client import Client

    requests = json.loads(Path(wanted).read_text())["requests"]
    middle = requests[len(requests) // 2]
    counted = "SELECT count(*) AS n FROM replies WHERE state='ok'"
    figures = {}
    with Client(config.load(Path(path)), session=session) as client:
        for name, call in {
            "requests": lambda: len(client.requests()) == len(requests),
            "ledger": lambda: set(client.replies(middle).ledger().state) == {"ok"},
            "replies, frame()": lambda: set(client.replies(middle).frame().pong) != set(),
            "sql, one request": lambda: (
                client.sql(f"SELECT * FROM replies WHERE requestid='{middle}'").shape[0] > 0
            ),
            "sql, all counted": lambda: client.sql(counted).n[0] == int(count),
        }.items():
            times = []
            for _ in range(3):
                began = time.monotonic()
                assert call(), name
                times.append(time.monotonic() - began)
            figures[f"look {name}"] = median(times)
        file = client.session.store.path
    return {**figures, "file": file.stat().st_size}


def children() -> list[int]:
    """The processes that this one has started."""
    found = Path("/proc/self/task").glob("*/children")
    return [int(word) for file in found for word in file.read_text().split()]


def cpu(process: int) -> float:
    """The processor seconds of another process, its start included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run one and print its figures."""
    if sys.argv[1] == "look":
        print(json.dumps({**look(*sys.argv[2:]), "peak_mib": peak()}))
        return
    seconds, used = {"bare": bare, "stomp": stomp, "mcshell": mcshell}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({"seconds": seconds, "cpu": used, "peak_mib": peak()}))


def peak() -> float:
    """The most memory that this program had, in MiB."""
    # getrusage's figure begins with our parent's; this one begins with our own program.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


main()
