"""What became of seeds: a CSV file with a line for each, so that sittings add up."""

from __future__ import annotations

import argparse
import csv
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Results", "seeds_of", "sitting_parser"]


def seeds_of(words: str) -> range:
    """The seeds that `A-B`, or a number, means; raises ArgumentTypeError."""
    first, _, last = words.partition("-")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{words!r} is no A-B, and no number") from None


def sitting_parser(
    module: str, about: str | None, place: str, places: Sequence[str], results: Path
) -> argparse.ArgumentParser:
    """Reads the line of a sitting: where (`--PLACE`), which seeds, which file."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument(f"--{place}", required=True, choices=places)
    parser.add_argument("--seeds", required=True, type=seeds_of, help="A-B, or a number")
    parser.add_argument("--results", type=Path, default=results)
    return parser


def _commit() -> str:
    """What is tried: the commit, with `+` where mcshell differs from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "mcshell")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


class Results:
    """The lines of this commit about one place; `columns` are commit, place, seed, and what is said."""

    def __init__(self, path: Path, columns: Sequence[str], place: str) -> None:
        self._path, self._columns = path, columns
        self._about = {"commit": _commit(), columns[1]: place}

    def _verdicts(self) -> dict[int, str]:
        if not self._path.exists():
            return {}
        with self._path.open(newline="") as file:
            return {
                int(row["seed"]): row["verdict"]
                for row in csv.DictReader(file)
                if {name: row[name] for name in self._about} == self._about
            }

    def left(self, seeds: Sequence[int]) -> list[int]:
        """Those that have no line."""
        done = self._verdicts()
        return [seed for seed in seeds if seed not in done]

    def failed(self, seeds: Sequence[int]) -> list[int]:
        """Those that failed, in this sitting or an earlier one."""
        verdicts = self._verdicts()
        return [seed for seed in seeds if verdicts.get(seed) == "failed"]

    def keep(self, row: dict[str, object]) -> None:
        """Append the line of a seed."""
        new = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({**self._about, **row})
