"""A kernel that submits tasks to a pool, and is killed by its own hand amid their results.

    doomed_kernel.py CONFIG SESSION COUNT FILE RESULTS

It submits COUNT times `mark.again` with FILE, commits them, and dies by SIGKILL with the RESULTSth
result, or the next behind the commit.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from pathlib import Path

from mcshell import Executor, config
from mcshell.client.client import Client


def main() -> None:
    """Submit, and die."""
    path, session, count, mark, results = sys.argv[1:]
    seen, committed = itertools.count(1), threading.Event()

    def resolved(_future: object) -> None:
        if next(seen) >= int(results) and committed.is_set():
            os.kill(os.getpid(), signal.SIGKILL)

    client = Client(config.load(Path(path)), session=session)
    pool = Executor("marks", client)
    for number in range(int(count)):
        future = pool.submit("mark.again", file=mark, text=str(number))
        future.add_done_callback(resolved)
    pool.shutdown(wait=False)
    print("committed", flush=True)
    committed.set()
    threading.Event().wait()


main()
