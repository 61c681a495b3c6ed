"""Mutants of what keeps the promises, and whether the unit tests notice: `python -m tests.mutants`.

Each sitting adds lines to a file of results, with the commit and a mark of what was tried: a module, its
tests, and how mutants are made. What has been tried as it is now is not run again, so that sittings add
up to one table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.history.results import seeds_of
from tests.mutants.modules import TESTS
from tests.mutants.mutations import Mutation, chosen, defaults_of, mutations
from tests.mutants.trial import Place, Trial, copied, load_libraries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PROJECT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.jsonl")
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
LEAST_SECONDS = 120.0
"""What a run of tests has at least; else fifteen times what it takes without a mutant."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what is asked for, print the table; 1 when a mutant is neither noticed nor equivalent."""
    asked = _parser().parse_args(arguments)
    modules = [
        name for name in TESTS if not asked.module or any(one in name for one in asked.module)
    ]
    marks = {name: _mark(name) for name in modules}
    known = _results(asked.results, marks)
    left = [(s, name) for s in asked.seeds for name in modules if (s, name) not in known]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        bench = Bench(PROJECT, Path(folder), asked.jobs)
        for seed, module in left:
            text = _text_mark(module)
            about = {"commit": _commit(), "text": text, "mark": marks[module], "seed": seed}
            only = _unnoticed(asked.results, seed, module, text) if asked.again else None
            entry = about | bench.sitting(module, seed, asked.count, only)
            with asked.results.open("a", encoding="utf-8") as results:
                results.write(json.dumps(entry) + "\n")
    known = _results(asked.results, marks)
    return _table([one for (seed, _module), one in known.items() if seed in asked.seeds])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--seeds", type=seeds_of, default=range(1, 2), metavar="A-B")
    parser.add_argument("--module", action="append", metavar="PART", help="of a module's path")
    parser.add_argument("--count", type=int, default=20, help="mutants a module and seed")
    parser.add_argument(
        "--again",
        action="store_true",
        help="where tests were added since, only what was not noticed before",
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


def _commit() -> str:
    """Where the tree stands; with a + where it has what no commit has."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=PROJECT, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "mcshell", "tests", f":!{RESULTS}")
    return git("rev-parse", "--short=8", "HEAD") + ("+" if changed else "")


def _text_mark(module: str) -> str:
    """What tells the mutants of a module from any other: its text, and how mutants are made."""
    paths = (PROJECT / module, Path(__file__).with_name("mutations.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def _mark(module: str) -> str:
    """What tells their trial: the tests too."""
    texts = [
        _text_mark(module).encode(),
        *((PROJECT / path).read_bytes() for path in TESTS[module]),
    ]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]


def _unnoticed(path: Path, seed: int, module: str, text: str) -> set[tuple[str, str]] | None:
    """Which of the same mutants were not noticed the last time; None where they were not tried."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    wanted = {"seed": seed, "module": module, "text": text}
    found = [one for one in map(json.loads, lines) if wanted.items() <= one.items()]
    if not found:
        return None
    return {(before, after) for _line, _kind, before, after in found[-1]["unnoticed"]}


def _results(path: Path, marks: Mapping[str, str]) -> dict[tuple[int, str], dict[str, Any]]:
    """What was tried as it is now, by seed and module."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [one for one in map(json.loads, lines) if marks.get(one["module"]) == one["mark"]]
    return {(one["seed"], one["module"]): one for one in found}


def equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, str, str], str]:
    """Mutants that nobody can notice, by module, line and what became of it; each with the reason."""
    known = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        (module, one["line"], one["mutant"]): one["why"]
        for module, some in known.items()
        for one in some
    }


class Bench:
    """Tries mutants in copies of a project, `jobs` at a time."""

    def __init__(self, project: Path, folder: Path, jobs: int) -> None:
        load_libraries()
        self._places = [Place(copied(project, folder / str(one))) for one in range(jobs)]
        self._project = self._places[0].folder
        texts = (one.read_text(encoding="utf-8") for one in self._project.rglob("mcshell/**/*.py"))
        self._defaults = defaults_of(texts)
        self._known: dict[tuple[str, ...], tuple[float, dict[str, list[str]]]] = {}

    def sitting(
        self, module: str, seed: int, count: int, only: set[tuple[str, str]] | None = None
    ) -> dict[str, Any]:
        """Try some mutants of a module, or `only` these of them; returns the entry of the results."""
        began = time.monotonic()
        text = (self._project / module).read_text(encoding="utf-8")
        drawn = chosen(mutations(text, self._defaults), count, random.Random(f"{seed} {module}"))
        known = equivalents()
        tried = [one for one in drawn if (module, one.before, one.after) not in known]
        left = [one for one in tried if only is None or (one.before, one.after) in only]
        unnoticed = self.unnoticed(module, left, TESTS[module]) if left else []
        seconds = time.monotonic() - began
        print(
            f"{module} seed {seed}: {len(tried) - len(unnoticed)} of {len(tried)}, {seconds:.0f} s",
            flush=True,
        )
        for one in unnoticed:
            print(
                f"  {one.line} {one.function}: {one.kind}\n  - {one.before}\n  + {one.after}",
                flush=True,
            )
        return {
            "module": module,
            "mutants": len(drawn),
            "equivalent": len(drawn) - len(tried),
            "again": only is not None,
            "unnoticed": [[one.line, one.kind, one.before, one.after] for one in unnoticed],
            "seconds": round(seconds, 1),
        }

    def unnoticed(
        self, module: str, tried: Iterable[Mutation], tests: Sequence[str]
    ) -> list[Mutation]:
        """Those of some mutants with which all the tests pass.

        Each meets the tests that call its function, with a few examples; if these pass, all, with all.
        """
        took, touching = self._without(tuple(tests))
        seconds = max(LEAST_SECONDS, 15 * took)
        waiting = [(mutation, True) for mutation in tried]
        passed: list[Mutation] = []
        running: dict[Place, tuple[Mutation, bool, Trial]] = {}
        while waiting or running:
            for place in self._places:
                if place not in running and waiting:
                    mutation, few = waiting.pop(0)
                    place.put(module, mutation.text)
                    own = touching.get(f"{module}::{mutation.function}", ()) if few else ()
                    running[place] = mutation, few, place.start(tests, seconds, few=few, only=own)
            for place, (mutation, few, trial) in list(running.items()):
                if (code := trial.outcome()) is not None:
                    del running[place]
                    place.restore()
                    if code == 0 and few:
                        waiting.append((mutation, False))
                    elif code == 0:
                        passed.append(mutation)
            time.sleep(0.02)
        return passed

    def _without(self, tests: tuple[str, ...]) -> tuple[float, dict[str, list[str]]]:
        """How long the tests take without a mutant, and what they call; they have to pass."""
        if tests not in self._known:
            began = time.monotonic()
            first, *others = self._places
            trial = first.start(tests, 3600.0, first=True)
            while (code := trial.outcome()) is None:
                time.sleep(0.02)
            if code != 0:
                said = trial.said.read_text(encoding="utf-8")
                raise SystemExit(f"without a mutant they end with {code}:\n{said}")
            self._known[tests] = time.monotonic() - began, first.touching()
            for other in others:
                first.share(other)
        return self._known[tests]


def _table(entries: Sequence[Mapping[str, Any]]) -> int:
    """Print what is known of things as they are; 1 where something is neither noticed nor equivalent."""
    print(f"\n{'module':42} {'mutants':>7} {'equivalent':>10} {'noticed':>7} {'of':>4}")
    known = equivalents()
    rows = []
    for module in dict.fromkeys(one["module"] for one in entries):
        some = [one for one in entries if one["module"] == module]
        passed = [tuple(lines) for one in some for _line, _kind, *lines in one["unnoticed"]]
        equal = sum((module, *lines) in known for lines in passed)
        noticed = sum(one["mutants"] - one["equivalent"] for one in some) - len(passed)
        equal += sum(one["equivalent"] for one in some)
        rows.append((module, sum(one["mutants"] for one in some), equal, noticed))
    rows.append(("all", *(sum(row[at] for row in rows) for at in (1, 2, 3))))
    for name, drawn, equal, noticed in rows:
        print(f"{name:42} {drawn:7} {equal:10} {noticed:7} {noticed / max(1, drawn - equal):5.0%}")
    return int(rows[-1][1] != rows[-1][2] + rows[-1][3])


if __name__ == "__main__":
    sys.exit(main())
