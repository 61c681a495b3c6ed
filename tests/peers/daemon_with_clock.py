"""Starts a real daemon whose clock is off: for tests only, no clock switch ships.

    python daemon_with_clock.py CONFIG SECONDS [FILE]

Wall time (`time.time`) runs so many seconds ahead; what measures lengths (monotonic) is as it is.
With FILE its number of seconds is added, whatever it is at the moment: a test that writes it sets
the clock of a running daemon.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path


def main() -> None:
    """Serve until SIGTERM."""
    true_time, ahead = time.time, float(sys.argv[2])
    time.time = lambda: true_time() + ahead
    if len(sys.argv) > 3:
        time.time = _by_file(Path(sys.argv[3]), ahead)
    from mcshell import config
    from mcshell.node.daemon import run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    run(config.load(Path(sys.argv[1])))


def _by_file(path: Path, ahead: float):
    """A clock that looks at the file each time: who sets it is heard at once."""
    true_time = time.time
    return lambda: true_time() + ahead + float(path.read_text())


if __name__ == "__main__":
    main()
