"""Closes lids, and keeps what they came to: `python -m tests.lid --on PLACE --seeds A-B`.

Seeds that have a line of this commit in the results are passed over, so that sittings add up. It ends
with 1 when any of them failed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.history.results import Results, sitting_parser
from tests.lid.places import KINDS, place
from tests.lid.trial import trial
from tests.peers.processes import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS: Final = Path(__file__).with_name("RESULTS.csv")
COLUMNS: Final = ("commit", "on", "seed", "verdict", "seconds", "phase", "what")


def sitting(kind: str, seeds: Sequence[int], path: Path) -> list[int]:
    """Try those of the seeds that have no line yet, in one place; returns all that failed."""
    results = Results(path, COLUMNS, kind)
    left = results.left(seeds)
    if not left:
        return results.failed(seeds)
    with (
        tempfile.TemporaryDirectory(prefix=f"lid-{kind}-") as folder,
        place(kind, Path(folder)) as (fleet, crash),
    ):
        for seed in left:
            began = time.monotonic()
            outcome = trial(fleet, seed, crash)
            wrong = outcome.wrong()
            row = {
                "seed": seed,
                "verdict": "failed" if wrong else "passed",
                "seconds": f"{time.monotonic() - began:.1f}",
                "phase": outcome.phase,
                "what": wrong,
            }
            results.keep(row)
            print(kind, *row.values(), flush=True)
    return results.failed(seeds)


def main() -> int:
    """Read the line, and try."""
    options = sitting_parser("tests.lid", __doc__, "on", KINDS, RESULTS).parse_args()
    os.environ[MARK] = uuid.uuid4().hex
    return int(bool(sitting(options.on, options.seeds, options.results)))


if __name__ == "__main__":
    sys.exit(main())
