"""Runs seeds, and keeps what they came to: `python -m tests.nemesis --topology T --seeds A-B`.

Seeds that have a line of this commit in the results are passed over, so that sittings add up. It ends
with 1 when any of them failed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.history.results import Results, sitting_parser
from tests.nemesis.clustered import Clustered
from tests.nemesis.place import Place, Single
from tests.nemesis.run import run
from tests.nemesis.script import NODES, written
from tests.peers.processes import MARK

if TYPE_CHECKING:
    import argparse

RESULTS: Final = Path(__file__).with_name("RESULTS.csv")
COLUMNS: Final = (
    *("commit", "topology", "seed", "verdict", "seconds", "worst_wait"),
    *("asked", "effects", "faults", "what"),
)
TOPOLOGIES: Final = ("embedded", "activemq", "rabbitmq", "cluster", "cluster-classic")


def place_of(topology: str, folder: Path) -> Place:
    """Where a run of a topology takes place."""
    if topology.startswith("cluster"):
        return Clustered(folder, classic=topology.endswith("classic"))
    return Single(topology, folder)


def one(topology: str, place: Place, seed: int) -> dict[str, object]:
    """Run a seed; returns its line, and prints what is wrong."""
    began = time.monotonic()
    script = written(seed, place.kinds, place.length)
    outcome = run(place, script)
    print(f"{topology} {seed}: {outcome.asked} asked, {outcome.effects} effects", flush=True)
    print(f"  worst wait {outcome.worst:.1f} s, {dict(outcome.states)}")
    for text in (*map(str, script.faults), *outcome.faults):
        print(f"  {text}")
    if outcome.faults:
        for node in NODES:  # a small disk is gone with the place
            left = place.folder / f"left-{seed}-{node}"
            shutil.copytree(place.fleet.folder / f"state-{node}", left)
    return {
        "seed": seed,
        "verdict": "failed" if outcome.faults else "passed",
        "seconds": f"{time.monotonic() - began:.1f}",
        "worst_wait": f"{outcome.worst:.1f}",
        "asked": outcome.asked,
        "effects": outcome.effects,
        "faults": len(script.faults),
        "what": outcome.faults[0] if outcome.faults else "",
    }


def sitting(options: argparse.Namespace, seeds: list[int], results: Results) -> None:
    """Run these in one place."""
    folder = Path(tempfile.mkdtemp(prefix=f"nemesis-{options.topology}-{seeds[0]}-"))
    failed = False
    with place_of(options.topology, folder) as place:
        for seed in seeds:
            row = one(options.topology, place, seed)
            results.keep(row)
            print(f"  {row['verdict']} in {row['seconds']} s", flush=True)
            failed |= row["verdict"] == "failed"
    if options.keep and failed:
        print(f"  {folder}")
    else:
        shutil.rmtree(folder)


def main() -> int:
    """Run them one after the other: a cluster serves all, any other place is made anew for each."""
    parser = sitting_parser("tests.nemesis", __doc__, "topology", TOPOLOGIES, RESULTS)
    parser.add_argument("--keep", action="store_true", help="keep the folders of those that fail")
    options = parser.parse_args()
    os.environ[MARK] = uuid.uuid4().hex
    results = Results(options.results, COLUMNS, options.topology)
    left = results.left(options.seeds)
    each = [left] if left and options.topology == "cluster" else [[one] for one in left]
    for seeds in each:
        sitting(options, seeds, results)
    return int(bool(results.failed(options.seeds)))


if __name__ == "__main__":
    sys.exit(main())
