"""Runs the unit tests on every other Python that pyproject names, one line each.

The Python of this process is left out: the suite itself runs on it. One that is not here is named
as not run; that is no failure. Looked for are `python3.N` in each folder of PATH, as long as it
runs (a pyenv shim may not), and what pyenv has. What the unit tests need lies in an environment
for each version in the user's cache, which all checkouts share: it does not hold mcshell.

A Python that lives in a root of its own (a Debian sid tree, say) is tested there, in a copy of the
checkout: `tests/run --fast`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mcshell-tests"
NAMED = re.compile(r"Programming Language :: Python :: (3\.\d+)")
EXAMPLES = "15"
"""Of a property, at most: the suite's own Python looks for counterexamples, these for differences."""
OF_TEXT = ("test_citations", "test_names", "test_rooms")
"""They read files: what they find is the same on each Python."""
COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")


class NotRun(Exception):
    """Why there is no such Python to run the unit tests on; no failure."""


class Interpreter(NamedTuple):
    """One that runs; its version in full, such as "3.12.1"."""

    path: Path
    version: str


def said(*argv: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and take what it says."""
    return subprocess.run(argv, check=False, capture_output=True, text=True, **options)


def candidates(version: str) -> Iterator[Path]:
    """Files that may be an interpreter of a version, such as "3.12"."""
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{version}"
    if shutil.which("pyenv"):
        for name in reversed(said("pyenv", "versions", "--bare").stdout.split()):
            if name.startswith(f"{version}."):
                yield Path(said("pyenv", "prefix", name).stdout.strip()) / "bin" / "python"


def find(version: str) -> Interpreter:
    """The first interpreter of a version that runs."""
    ask = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    for path in candidates(version):
        if os.access(path, os.X_OK):
            answer = said(path, "-c", ask)
            full = answer.stdout.strip()
            if answer.returncode == 0 and full.startswith(f"{version}."):
                return Interpreter(path, full)
    raise NotRun("not here")


def prepare(found: Interpreter, project: dict) -> Path:
    """The Python of an environment with what mcshell and its unit tests need.

    Raises:
        CalledProcessError: it cannot be installed for this version.
    """
    folder = CACHE / found.version
    python = folder / "bin" / "python"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{found.version}.lock").open("w") as lock:  # checkouts are tested side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (python.exists() and python.with_name("pip").exists()):  # pip comes last
            made = said(found.path, "-m", "venv", "--clear", folder)
            if made.returncode:
                raise NotRun(f"makes no venv: {made.stdout.strip()[:200]}")
        wanted = [*project["dependencies"], *project["optional-dependencies"]["unit"]]
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        said(*pip, *wanted).check_returncode()
    return python


def run(python: Path) -> tuple[int, str]:
    """Run the unit tests; the exit code, and what pytest said."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "MCSHELL_TEST_EXAMPLES": EXAMPLES}
    text = [f"--ignore=tests/unit/{name}.py" for name in OF_TEXT]
    pytest = (python, "-m", "pytest", "-q", "tests/unit", *text, *sys.argv[1:])
    done = said(*pytest, cwd=ROOT, env=environ)
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    """Run them one after the other, and sum up as pytest does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    here = "{}.{}".format(*sys.version_info)
    total: Counter[str] = Counter()
    worst = 0
    for version in NAMED.findall("\n".join(project["classifiers"])):
        if version == here:
            continue
        try:
            found = find(version)
            code, text = run(prepare(found, project))
        except NotRun as reason:
            print(f"python{version}: not run: {reason}", flush=True)
            continue
        except subprocess.CalledProcessError as error:
            code, text = error.returncode, f"{error.stderr}\n1 failed: what it needs is not there"
        last = text.rstrip().rpartition("\n")[2]
        print(f"{text if code else ''}python{found.version}: {last}", flush=True)
        total.update({word: int(number) for number, word in COUNT.findall(last)})
        worst = worst or code
    failed = total["failed"] + total["error"]
    print(f"{total['passed']} passed, {failed} failed, {total['skipped']} skipped")
    return worst


if __name__ == "__main__":
    sys.exit(main())
