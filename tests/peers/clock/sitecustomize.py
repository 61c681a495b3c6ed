"""Python's clock as a test wants it, for whatever process has this folder on its PYTHONPATH.

TEST_CLOCK names a file that holds a number of seconds, by which wall time (`time.time`) runs ahead,
also after the file has changed. What measures lengths (monotonic) is as it is.
"""

import os
import time
from pathlib import Path


def _follow(path: Path) -> None:
    true_time = time.time
    looked, ahead = 0.0, 0.0

    def clock() -> float:
        nonlocal looked, ahead
        now = true_time()
        if not 0 <= now - looked < 0.01:
            with path.open(encoding="ascii") as file:
                looked, ahead = now, float(file.read())
        return now + ahead

    time.time = clock


if "TEST_CLOCK" in os.environ:
    _follow(Path(os.environ["TEST_CLOCK"]))
