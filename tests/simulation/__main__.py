"""Plays seeds, one after the other, and appends what became of each to a results file.

    python -m tests.simulation --seeds 1-5000 [--results FILE] [--show]

A line has commit, seed, verdict, seconds of processor, faults, steps and simulated seconds, as JSON. A
seed that the file has for this commit is not played again: sittings add up. `--show` prints the
history of a seed. The exit code is 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.history.results import seeds_of
from tests.simulation.run import run

ROOT = Path(__file__).resolve().parents[2]


def commit() -> str:
    """The last that changed this code, with a mark where something is not committed."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    about = ("--", "mcshell/*.py", "tests/simulation", "tests/history")
    changed = git("status", "--porcelain", *about)
    return git("log", "-1", "--format=%h", "--abbrev=12", *about) + ("+" if changed else "")


def known(path: Path, version: str) -> dict[int, dict[str, object]]:
    """The lines of a results file about this code, by seed."""
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {line["seed"]: line for line in lines if line["commit"] == version}


def play(seed: int, version: str, *, show: bool) -> dict[str, object]:
    """Play one; its line."""
    begun = time.process_time()
    result = run(seed)
    if show:
        print(*sorted(result.history, key=lambda one: one.at), sep="\n")
    if not result.good or show:
        print(result, flush=True)
    return {
        "commit": version,
        "seed": seed,
        "verdict": "good" if result.good else str(result),
        "seconds": round(time.process_time() - begun, 3),
        "faults": dict(result.faults),
        "steps": result.steps,
        "simulated": round(result.seconds, 1),
    }


def total(lines: list[dict[str, object]]) -> str:
    """What all of them come to."""
    faults: Counter[str] = Counter()
    for line in lines:
        faults.update(line["faults"])
    good = sum(line["verdict"] == "good" for line in lines)
    seconds = sum(line["seconds"] for line in lines)
    rate = f"{3600 * len(lines) / seconds:,.0f} seeds an hour of one core" if seconds else ""
    each = ", ".join(f"{count:,} {name}" for name, count in faults.most_common())
    return (
        f"{good:,} of {len(lines):,} seeds good, {seconds:,.0f} s of processor, {rate},"
        f" {sum(line['simulated'] for line in lines) / 3600:,.1f} simulated hours,"
        f" {sum(line['steps'] for line in lines):,} steps, {faults.total():,} faults: {each}"
    )


def main() -> int:
    """Read the line, play, and say how it came out."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=seeds_of, default=range(1, 101), metavar="A-B")
    parser.add_argument("--results", type=Path, metavar="FILE")
    parser.add_argument("--show", action="store_true")
    words = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is the seed's too
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    version = commit()
    done = known(words.results, version) if words.results else {}
    lines = []
    for seed in words.seeds:
        line = done.get(seed) or play(seed, version, show=words.show)
        lines.append(line)
        if words.results and seed not in done:
            with words.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
    print(total(lines))
    return int(any(line["verdict"] != "good" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
