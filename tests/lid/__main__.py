"""Closes lids, and keeps what they came to: `python -m tests.lid --on PLACE --seeds A-B`.

Seeds that have a line of this commit in the results are passed over, so that sittings add up. It ends
with 1 when any of them failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.history.results import Results, seeds_of
from tests.lid.places import KINDS, place
from tests.lid.trial import trial
from tests.peers.processes import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS: Final = Path(__file__).with_name("RESULTS.csv")
COLUMNS: Final = ("commit", "on", "seed", "verdict", "seconds", "phase", "what")


def sitting(kind: str, seeds: Sequence[int], path: Path) -> int:
    """Try those of the seeds that have no line yet, in one place; returns how many failed."""
    results = Results(path, COLUMNS, kind)
    left = results.left(seeds)
    failed = 0
    if not left:
        return failed
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
            failed += bool(wrong)
    return failed


def main() -> int:
    """Read the line, and try."""
    parser = argparse.ArgumentParser(prog="python -m tests.lid", description=__doc__)
    parser.add_argument("--on", required=True, choices=KINDS)
    parser.add_argument("--seeds", required=True, help="A-B, or a number")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    os.environ[MARK] = uuid.uuid4().hex
    return int(sitting(options.on, seeds_of(options.seeds), options.results) > 0)


if __name__ == "__main__":
    sys.exit(main())
