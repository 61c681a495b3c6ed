"""A program that asks, and is interrupted in each phase of what it asks: `python interrupted.py`.

Ctrl-C comes from a thread that watches for the phase, as SIGINT to the whole process. What became of
each is printed as one JSON document.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mcshell
from mcshell import interrupts

FOUND = {}
MARK = str(Path.cwd() / "mark")


def interrupt_when(condition, *, asks=True):
    """Send SIGINT once, as soon as it holds, and the main thread `asks` something."""

    def watch():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if (interrupts._main.calls or not asks) and condition():
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()


def questions(client):
    """A function that says how many questions of discovery or probe were put since now."""
    listeners = client._hub._listeners
    before = set(listeners.questions)
    return lambda: len(set(listeners.questions) - before)


def newest(client, before):
    """The entries of the newest request, where it came after `before` others."""
    return client.replies().entries() if len(client.requests()) > before else []


PHASES = {
    "discovery": (
        {"where": "role=none", "discovery_timeout": 60},
        lambda client, before, put: put() > 0 and len(client.requests()) == before,
    ),
    "waiting": (
        {"nodes": ["web1"]},
        lambda client, before, put: any(one.sent for one in newest(client, before)),
    ),
    "probe": (
        {"nodes": ["ghost1"]},
        lambda client, before, put: bool(newest(client, before)) and put() > 0,
    ),
    "drain": (
        {"nodes": ["web2", "web3", "web1"], "batch": 1, "batch_sleep": 60, "sleep": 0.0},
        lambda client, before, put: any(one.done for one in newest(client, before)),
    ),
}


def asked(client, arguments):
    """One turn of a loop."""
    return client.rpc("mark", "nap", timeout=60, **{"sleep": 5.0, **arguments})


def told(client, stopped, before):
    """What is to be known of one that was stopped."""
    replies = stopped.replies
    rows = [] if replies is None else replies.rows()
    return {
        "error": type(stopped).__name__,
        "rows": [[row.sender, row.state.value, row.statusmsg] for row in rows],
        "asked": len(client.requests()) - before,
        "frame": None if replies is None else len(replies.frame()),
        "again": client.again(replies.requestid).names if rows else [],
    }


def loop(client, phase):
    """A loop of requests."""
    arguments, reached = PHASES[phase]
    before, turns = len(client.requests()), 0
    put = questions(client)
    interrupt_when(lambda: reached(client, before, put))
    try:
        for _ in range(3):
            asked(client, arguments)
            turns += 1
    except KeyboardInterrupt as stopped:
        FOUND[f"loop {phase}"] = {**told(client, stopped, before), "turns": turns}


def pool(client, phase):
    """Two threads with six requests to put."""
    arguments, reached = PHASES[phase]
    before = len(client.requests())
    put = questions(client)
    all_put = threading.Event()
    interrupt_when(lambda: all_put.is_set() and reached(client, before, put), asks=False)
    threads = ThreadPoolExecutor(2)
    futures = [threads.submit(asked, client, arguments) for _ in range(6)]
    try:
        all_put.set()  # not before: a busy machine may take its time for them
        for future in futures:
            future.result()
    except KeyboardInterrupt as stopped:
        error = type(stopped).__name__
    threads.shutdown()
    errors = [future.exception() for future in futures]
    kept = [one.replies.frame()["state"].tolist() for one in errors if one and one.replies]
    FOUND[f"pool {phase}"] = {
        "error": error,
        "errors": [type(one).__name__ for one in errors],
        "asked": len(client.requests()) - before,
        "kept": kept,
    }
    client.find(mcshell.client.discovery.targeting.targeting_of(nodes=["web1"]))  # asks again
    with ThreadPoolExecutor(1) as again:
        later = again.submit(client.rpc, "rpcutil", "ping", nodes=["web1"]).result()
    FOUND[f"pool {phase}"]["later"] = [row.state.value for row in later.rows()]


def stopped_by(client, name, condition, work):
    """One call of any kind."""
    before = len(client.requests())
    interrupt_when(condition)
    began = time.monotonic()
    try:
        work()
    except mcshell.Stopped as stopped:
        found = told(client, stopped, before)
        found["plan"] = None if stopped.plan is None else stopped.plan.state
        FOUND[name] = found
    FOUND.setdefault(name, {"error": None})["took"] = time.monotonic() - began


def others(client):
    """What else waits: queues, jobs, plans, conversations, replies of the background."""
    count = len(client.requests())
    queue = {"via": "queue", "nodes": ["ghost2"], "timeout": 60, "file": MARK}
    stopped_by(
        client,
        "queue",
        lambda: bool(newest(client, count)),
        lambda: client.rpc("mark", "once", **queue),
    )
    count = len(client.requests())
    behind = client.rpc("mark", "nap", sleep=5.0, nodes=["web1", "ghost3"], batch=1, wait=False)
    stopped_by(
        client,
        "background",
        lambda: any(one.sent for one in behind.entries()),
        lambda: behind.wait(60),
    )
    rows = client.rpc("mark", "nap", sleep=5.0, nodes=["web2"], wait=False)
    stopped_by(
        client,
        "arrivals",
        lambda: any(one.sent for one in rows.entries()),
        lambda: list(rows.arrivals()),
    )
    put = questions(client)
    stopped_by(client, "explain", lambda: put() > 0, lambda: client.explain("ghost1"))
    replies = client.jobs.submit("mark", "once", file=MARK, every=86400.0, nodes=["ghost2"])
    stopped_by(
        client, "job", lambda: waits("wait_quiet"), lambda: client.jobs.wait_quiet(replies, 60)
    )
    plan = Path("slow.yaml")
    plan.write_text(
        f"plan: slow\nsteps:\n"
        f"  - {{step: a, ask: mark.once, inputs: {{file: {MARK}}}, nodes: ghost2}}\n"
        f"  - {{step: b, ask: mark.once, inputs: {{file: {MARK}}}, nodes: web1, after: {{a: ok}}}}\n"
    )
    count = len(client.requests())
    stopped_by(
        client,
        "plan",
        lambda: len(client.requests()) > count,
        lambda: client.plans.run(plan, timeout=60),
    )
    talk = client.open("web1", "echo")
    stopped_by(client, "receive", lambda: waits("receive"), talk.receive)
    talk.send({"say": "still here"})
    FOUND["receive"]["goes_on"] = talk.receive(timeout=30)
    talk.close()
    stopped_by(client, "open", lambda: waits("wait_open"), lambda: client.open("ghost1", "echo"))


def waits(function):
    """Whether the main thread is in a function of that name."""
    frame = sys._current_frames().get(threading.main_thread().ident)
    while frame is not None:
        if frame.f_code.co_name == function:
            return True
        frame = frame.f_back
    return False


def attach(client):
    """A session whose holder, on another machine, does not answer."""
    mcshell.connect(session="theirs").close()
    session = mcshell.client.session.session
    folder = session.folder_of(client.settings.state_dir)
    store = mcshell.client.store.store.SessionStore(folder / "theirs.sqlite")
    store.set_meta("holder", "elsewhere:1:abcd")
    store.close()
    stopped_by(client, "attach", lambda: waits("claim"), lambda: mcshell.connect(session="theirs"))
    again = mcshell.connect(session="study")  # the interrupted one holds nothing
    FOUND["attach"]["free"] = again.session.holds
    again.close()


def main():
    """All of them, one after the other."""
    client = mcshell.connect()
    for phase in PHASES:
        loop(client, phase)
    for phase in PHASES:
        pool(client, phase)
    others(client)
    attach(client)
    print(json.dumps(FOUND))
    sys.stdout.flush()
    client.rpc("rpcutil", "ping", nodes=["web1"])
    interrupt_when(lambda: waits("wait_finished"))
    client.rpc("mark", "once", file=MARK, via="queue", nodes=["ghost2"], timeout=60)


if __name__ == "__main__":
    main()
