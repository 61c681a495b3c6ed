"""Runs all tests as a few processes side by side: most of them wait for brokers and nodes.

Each group is one pytest with brokers of its own. A folder of tests that no group names belongs to
the last one. What a broker has a part in runs once more on a later RabbitMQ, which can be a cluster, and
the unit tests on the other Pythons (`interpreters.py`). So many run at a time as keep the processors
busy: with all at once nothing is done sooner, and whatever waits for a program waits longer for it.
Ends with one line for all, and with a failure if any of them failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from interpreters import CACHE

TESTS = Path(__file__).parent
GROUPS = {
    "hostile": ["hostile", "execution", "keys", "conversations"],
    "brokers": [
        *("contract", "wire", "peers", "failover", "unit", "stopping", "stories"),
        "mcp_server",
    ],
    "services": ["services", "metrics", "deploy", "docs", "faces"],
    "jobs": ["jobs", "mcollective", "supervisor", "protocol"],
    "rights": ["rights", "puppet", "ansible", "plans"],
    "fleets": ["lid", "fleet", "sessions", "explain", "registration", "tasks", "external"],
    "machines": ["enrolment", "foreign", "rollout"],
    "the rest": [],
    "notebooks": ["notebooks", "jupyterlab", "incident"],
}
"""In the order in which they begin: what waits most first, so that none is left to wait alone."""
AT_ONCE = max(7 * (os.cpu_count() or 1) // 2, 4)
LATER = "RabbitMQ of Debian 13"
"""What runs on a broker of its own: `tests/peers/rabbitmq_of` has brought it where there is root."""
LATER_FOLDERS = ["contract", "rights", "failover", "clusters"]
LATER_BIN = CACHE / "rabbitmq-trixie" / "bin"
FIRST_PORT, SOME_PORTS = 12_000, 1_800
"""Each group takes its ports from a range of its own (`peers/processes.py`)."""
RED = ("FAILED ", "ERROR ")
COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")


def groups() -> dict[str, list[str]]:
    """The folders of each group, as arguments."""
    found = sorted({path.parent.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")})
    named = {folder for folders in GROUPS.values() for folder in folders} | {"clusters"}
    wanted = {name: [one for one in folders if one in found] for name, folders in GROUPS.items()}
    wanted["the rest"] = [one for one in found if one not in named]
    return {name: [str(TESTS / one) for one in folders] for name, folders in wanted.items()}


def commands() -> dict[str, list[str]]:
    """What runs side by side, by name."""
    pytest = [sys.executable, "-m", "pytest", "-q", "--durations=10"]
    found = {name: [*pytest, *folders, *sys.argv[1:]] for name, folders in groups().items()}
    if (LATER_BIN / "rabbitmq-server").exists():
        folders = [str(TESTS / one) for one in LATER_FOLDERS]
        found[LATER] = [*pytest, "-m", "rabbitmq and not soak", *folders, *sys.argv[1:]]
    return found | {"other Pythons": [sys.executable, str(TESTS / "interpreters.py")]}


def run(argv: list[str], log: Path, environ: dict[str, str]) -> tuple[int, float]:
    """Run one group to its end; its exit code, and the seconds of processor that it took."""
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, env=environ)
        _pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


def environ_of(number: int, name: str) -> dict[str, str]:
    """The environment of a group: ports of its own, and its broker."""
    first = FIRST_PORT + number * SOME_PORTS
    found = {**os.environ, "MCSHELL_TEST_PORTS": f"{first}-{first + SOME_PORTS}"}
    return found | ({"RABBITMQ_BIN": str(LATER_BIN)} if name == LATER else {})


def show(name: str, log: Path, code: int, seconds: float) -> tuple[Counter[str], list[str]]:
    """Print what a group said; what its last line counts, and the lines that name what failed."""
    text = log.read_text(errors="replace")
    print(f"===== {name}: exit {code}, {seconds:.0f} s of processor\n{text}", flush=True)
    last = text.rstrip().rpartition("\n")[2]
    counts = Counter({word: int(number) for number, word in COUNT.findall(last)})
    return counts, [line for line in text.splitlines() if line.startswith(RED)]


def main() -> int:
    """Run the groups, show what each said and what processor time it took, and sum up."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # see conftest.py
    total: Counter[str] = Counter()
    red: list[str] = []
    worst = 0
    began = time.monotonic()
    if not (LATER_BIN / "rabbitmq-server").exists():
        print(f"{LATER}: not run: not here")
        worst = int(os.environ.get("CI", "").lower() == "true")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            running = []
            for number, (name, argv) in enumerate(commands().items()):
                log = Path(folder) / f"{name}.log"
                begun = pool.submit(run, argv, log, environ_of(number, name))
                running.append((name, log, begun))
            for name, log, ended in running:
                code, seconds = ended.result()
                worst = worst or code
                counts, lines = show(name, log, code, seconds)
                total.update(counts)
                red += lines
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)  # what has begun hears it too
            raise
    print(*red, sep="\n")  # again: who sees only the end of this has their names
    print(f"took {time.monotonic() - began:.0f} s")
    failed = total["failed"] + total["error"]
    print(f"{total['passed']} passed, {failed} failed, {total['skipped']} skipped")
    return worst


if __name__ == "__main__":
    sys.exit(main())
