"""Starts a real daemon that drops its connection at SIGUSR1: for tests only, nothing of it ships.

python daemon_that_drops.py CONFIG
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from mcshell import config
from mcshell.node.daemon import Daemon
from mcshell.node.process.service import say_ready


def main() -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    daemon = Daemon(config.load(Path(sys.argv[1])))
    drop = threading.Event()

    def drops() -> None:
        while drop.wait():
            drop.clear()
            daemon.server._connections[0].transport.renew("dropped by the test")

    threading.Thread(target=drops, daemon=True).start()
    signal.signal(signal.SIGUSR1, lambda *_: drop.set())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.serve(say_ready)


if __name__ == "__main__":
    main()
