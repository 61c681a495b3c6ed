"""A program that forks in each state of its client: `python forking.py`; says what became of it."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import mcshell

FOUND = {}
MARK = str(Path.cwd() / "mark")
STATE = os.environ["MCSHELL_STATE"]


def held():
    """What of ours this process holds: files of the state directory, sockets, mapped files."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that looks
            found.append(str(one.readlink()))
    maps = Path("/proc/self/maps").read_text().splitlines()
    ours = [one for one in found if STATE in one or one.startswith("socket:")]
    return ours + [line.split()[-1] for line in maps if STATE in line]


def said(work):
    """What a call says, and how long that took."""
    began = time.monotonic()
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        return type(error).__name__, time.monotonic() - began
    return repr(value), time.monotonic() - began


def fork(work):
    """Have a child do this; its process id, and where its answer comes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        signal.alarm(60)
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    return pid, reading


def answer(pid, reading):
    """What a child says, or how it ended without a word."""
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return json.loads(text) if text else {"status": status}


def in_child(works, sockets):
    """Fork; what the child says of each, and holds beyond the sockets that are not ours."""

    def work():
        left = [one for one in held() if one not in sockets]
        threads = [one.name for one in threading.enumerate()]
        found = {name: said(work) for name, work in works.items()}
        gc.collect()
        return {"said": found, "held": left, "threads": threads}

    return answer(*fork(work))


def state(name, client, works=None, sockets=()):
    """Fork in this state; the parent goes on as before."""
    child = in_child(
        {
            "rpc": lambda: client.rpc("rpcutil", "ping", nodes=["web1"]),
            "discover": client.discover,
            "replies": client.replies,
            "jobs": client.jobs.rows,
            "plans": client.plans.list,
            "sql": lambda: client.sql("select 1"),
            "explain": lambda: client.explain("web1"),
            "open": lambda: client.open("web1", "echo"),
            "save": lambda: client.session.save("other"),
            "session": lambda: client.session.holder,
            **(works or {}),
            "close": client.close,
        },
        sockets,
    )
    again = client.rpc("rpcutil", "ping", nodes=["web1"]).rows()
    FOUND[name] = {**child, "parent": [row.state.value for row in again]}


def anew():
    """A child's own client."""
    with mcshell.connect() as client:
        return [row.state.value for row in client.rpc("rpcutil", "ping", nodes=["web2"]).rows()]


def main():
    """Each state in turn."""
    sockets = held()
    client = mcshell.connect()
    state("idle", client, {"anew": anew}, sockets)
    behind = client.rpc("mark", "nap", sleep=3.0, nodes=["web1", "web2"], wait=False)
    state("waiting", client, {"wait": behind.wait, "frame": behind.frame}, sockets)
    FOUND["waiting"]["behind"] = behind.wait(60).stats["ok"]
    sending = threading.Thread(target=send, args=(client,))
    sending.start()
    state("sending", client, {}, sockets)
    sending.join()
    FOUND["sending"]["confirmed"] = client.replies().confirmed
    named = mcshell.connect(session="study")
    state("session held", named, {}, sockets)
    FOUND["session held"]["holds"] = named.session.holds
    talk = named.open("web3", "echo")
    works = {"send": lambda: talk.send({}), "receive": talk.receive, "bye": talk.close}
    state("in a conversation", named, works, sockets)
    talk.send({"say": "hello"})
    FOUND["in a conversation"]["echo"] = talk.receive(timeout=30)
    talk.close()
    FOUND["children"] = twenty(client)
    FOUND["pool"] = processes()
    FOUND["parent"] = [
        row.state.value for row in client.rpc("rpcutil", "ping", nodes=["web1"]).rows()
    ]
    FOUND["intact"] = intact()
    named.close()
    client.close()
    print(json.dumps(FOUND))


def send(client):
    """Queue many requests, so that a fork comes in the middle of it."""
    client.rpc("mark", "once", file=MARK, via="queue", nodes="ghost[001-300]", wait=False)


def twenty(client):
    """Children that use the parent's client, and their own, all at once, while it is at work."""
    behind = client.rpc("mark", "nap", sleep=1.0, nodes=["web1", "web2", "web3"], wait=False)
    children = [
        fork(lambda: [said(lambda: client.rpc("rpcutil", "ping"))[0], said(anew)[0]])
        for _ in range(20)
    ]
    answers = [answer(*one) for one in children]
    return answers, behind.wait(60).stats["ok"]


def processes():
    """A pool of processes by fork, each with a client of its own."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(work, range(4))


def work(_number):
    """What such a process does."""
    return anew()


def intact():
    """Whether each file of the state directory is sound."""
    import sqlite3

    found = {}
    for path in Path(STATE).rglob("*.sqlite"):
        db = sqlite3.connect(path)
        found[path.name] = db.execute("PRAGMA integrity_check").fetchone()[0]
        db.close()
    return found


def orphan():
    """A process that dies, and leaves a child that knows nothing of its session."""
    client = mcshell.connect(session="orphaned")
    assert client.session.holds
    child = os.fork()
    if child == 0:
        os.close(1)
        os.close(2)
        time.sleep(120)
    os.write(1, f"{child}".encode())
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:] == ["orphan"]:
        orphan()
    main()
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
