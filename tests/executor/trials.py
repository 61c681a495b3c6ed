"""Two trials that the ordinary tests make small and the long ones at full size."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell import Executor, TaskError
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from mcshell.client.rpc.pool_tasks import PoolFuture
    from tests.peers.fleet import Fleet

__all__ = ["kernel_killed", "marks", "workers_killed"]

_UNSAID = 8
"""Tasks of two workers with two slots each: begun, or done and not said."""
_WINDOW = 250
"""Messages that a client sends before it waits for their confirmation (`wire/stomp/confirmed`)."""
KERNEL = Path(__file__).with_name("doomed_kernel.py")


def marks(path: Path) -> Counter[str]:
    """How often each request has run."""
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(line.split()[0] for line in lines)


def begun(path: Path) -> int:
    """How many runs there were."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def workers_killed(fleet: Fleet, session: str, count: int, mark: Path) -> dict[str, object]:
    """Half the tasks are safe to run twice, half are not; two workers die -9 on the way.

    Every future is resolved, once: safe ones ran at least once and came out well; the others ran at
    most once, and where that cannot be told are `interrupted`.
    """
    resolved: Counter[str] = Counter()
    killed: list[str] = []
    with fleet.client(session=session) as client, Executor("marks", client) as pool:
        began = time.monotonic()
        futures: list[PoolFuture] = []
        for number in range(count):
            action = ("mark.again", "mark.once")[number % 2]
            future = pool.submit(action, file=str(mark), text=str(number), sleep=0.02)
            future.add_done_callback(lambda one: resolved.update([one.requestid]))
            futures.append(future)
        submitted = time.monotonic() - began
        for number, name in enumerate(list(fleet.nodes)[:2], 1):
            assert wait_until(lambda least=count * number // 4: begun(mark) >= least, 300, 0.005)
            fleet.kill9(name)
            killed.append(name)
        # What a worker had done, and not said yet, is in its outbox: it comes when that is back.
        wait_until(lambda: len(resolved) >= count - _UNSAID, 300, 0.01)
        unsaid = count - len(resolved)
        fleet.start(*killed)
        ended = [one.exception(300) for one in futures]
        took = time.monotonic() - began
    assert resolved == Counter(one.requestid for one in futures)
    runs = marks(mark)
    cut = 0
    for number, (future, error) in enumerate(zip(futures, ended, strict=True)):
        if error is None:
            assert future.result()["text"] == str(number)
            assert runs[future.requestid] >= 1
        else:
            assert isinstance(error, TaskError)
            assert (error.state, future.action) == ("interrupted", "once")
            cut += 1
        if future.action == "once":
            assert runs[future.requestid] <= 1
    twice = sum(number > 1 for number in runs.values())
    assert cut <= _UNSAID, cut
    figures = {"seconds": took, "submit_us": submitted / count * 1e6}
    return {**figures, "unsaid": unsaid, "interrupted": cut, "twice": twice}


def kernel_killed(fleet: Fleet, session: str, count: int, mark: Path) -> dict[str, object]:
    """A kernel dies -9 amid its results; this process has them all from its session, none twice.

    What it was sending when it died goes out once more: of these, one window, a worker may run one again.
    """
    argv = [sys.executable, KERNEL, fleet.config, session, str(count), mark, str(count // 3)]
    done = subprocess.run(argv, env=fleet.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-9, "committed\n"), done.stderr
    began = time.monotonic()
    with fleet.client(session=session) as client, Executor("marks", client) as pool:
        futures = pool.futures()
        at_once = sum(one.done() for one in futures)
        texts = [one.result(300)["text"] for one in futures]
    took = time.monotonic() - began
    assert texts == [str(number) for number in range(count)]
    assert len({one.requestid for one in futures}) == count
    assert at_once >= count // 3 - 1  # the file had what the kernel had seen
    runs = marks(mark)
    assert runs.keys() == {one.requestid for one in futures}
    twice = sum(number > 1 for number in runs.values())
    assert twice <= _WINDOW
    return {"seconds": took, "kept": at_once, "twice": twice}
