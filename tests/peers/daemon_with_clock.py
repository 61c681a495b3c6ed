"""Starts a real daemon whose clock is off: for tests only, no clock switch ships.

    python daemon_with_clock.py CONFIG SECONDS

Wall time (`time.time`) runs so many seconds ahead; what measures lengths (monotonic) is as it is.
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
    from mcshell import config
    from mcshell.node.daemon import run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    run(config.load(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
