"""Starts a real daemon that can be told to die at a step: for tests only, nothing of it ships.

    python daemon_with_steps.py CONFIG [STEP [COUNT [SECONDS]]]

At the COUNT-th time (first) that the daemon reaches STEP it kills itself with SIGKILL, or is held up
for SECONDS. Each step is also written to standard error as `step STEP ID`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

from mcshell import config
from mcshell.node.daemon import Daemon
from mcshell.node.process.service import say_ready


def main() -> None:
    """Serve until SIGTERM, or die where the arguments say."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    left = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0

    def steps(step: str, requestid: str) -> None:
        nonlocal left
        os.write(2, f"step {step} {requestid}\n".encode())
        if step == wanted:
            left -= 1
            if left == 0 and seconds:
                time.sleep(seconds)
            elif left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    daemon = Daemon(config.load(Path(sys.argv[1])), steps)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.serve(say_ready)


if __name__ == "__main__":
    main()
