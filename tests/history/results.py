"""What became of seeds: a CSV file with a line for each, so that sittings add up."""

from __future__ import annotations

import csv
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Results", "seeds_of"]


def seeds_of(words: str) -> range:
    """The seeds that `A-B`, or a number, means."""
    first, _, last = words.partition("-")
    return range(int(first), int(last or first) + 1)


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
        self._place = columns[1]
        self._about = {"commit": _commit(), self._place: place}

    def left(self, seeds: Sequence[int]) -> list[int]:
        """Those that have no line."""
        if not self._path.exists():
            return list(seeds)
        with self._path.open(newline="") as file:
            done = {
                int(row["seed"])
                for row in csv.DictReader(file)
                if {name: row[name] for name in self._about} == self._about
            }
        return [seed for seed in seeds if seed not in done]

    def keep(self, row: dict[str, object]) -> None:
        """Append the line of a seed."""
        new = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({**self._about, **row})
