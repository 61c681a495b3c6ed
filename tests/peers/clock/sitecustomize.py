"""Python's clock as a test wants it, for whatever process has this folder on its PYTHONPATH.

TEST_CLOCK names a file that holds a number of seconds, by which wall time (`time.time`) runs ahead,
also after the file has changed. What measures lengths (monotonic) is as it is. At SIGUSR1 such a
process writes where its threads are.
"""

import faulthandler
import os
import signal
import time
from pathlib import Path


def _follow(path: Path) -> None:
    true_time = time.time
    time.time = lambda: true_time() + float(path.read_text(encoding="ascii"))


if "TEST_CLOCK" in os.environ:
    _follow(Path(os.environ["TEST_CLOCK"]))
    faulthandler.register(signal.SIGUSR1)
