"""What each version of a broker that is here makes of the suites that a broker has a part in.

    python -m tests.broker_versions [--rabbitmq BIN …] [--activemq HOME …] [--only WORD] [--suite NAME …]

runs contract, rights, failover and clusters on Debian's RabbitMQ and ActiveMQ, on those in the cache
(`rabbitmq-*/bin` of `tests/peers/rabbitmq_of`, `activemq-*` of `tests.peers.activemq_6`) and on those
that are named. It prints a row a version, keeps it in broker_versions.md beside it (a row that is not
run again stays), and fails when a test did. What a version cannot run is said, with the reason.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mcshell-tests"
RESULTS = TESTS / "broker_versions.md"
SUITES = ("contract", "rights", "failover", "clusters")
LONGEST = 1800  # seconds of one suite on one version
OLDEST_CLUSTER = 4  # of RabbitMQ
COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")
MADE_FOR = {"contract": "not soak and not bench", "rights": "not soak and not bench"}
"""What of a suite is run; of the others the soaks that are meant for it, too."""
INTRO = """\
# The suites on the versions of the brokers

Made by `python -m tests.broker_versions`: tests passed, failed and skipped, seconds on two cores that
others use too. A row stands until that version is run again.

"""


class Version(NamedTuple):
    """A broker that is here: its kind, what it says its version is, how the tests are told of it."""

    kind: str
    number: str
    environ: dict[str, str]
    remark: str = ""

    @property
    def name(self) -> str:
        """How the table calls it."""
        brand = {"rabbitmq": "RabbitMQ", "activemq": "ActiveMQ"}[self.kind]
        return f"{brand} {self.number}{self.remark}"


def found(rabbitmqs: list[str], activemqs: list[str]) -> Iterator[Version]:
    """Each version once, the oldest first."""
    bins = ["/usr/lib/rabbitmq/bin", *sorted(map(str, CACHE.glob("rabbitmq-*/bin"))), *rabbitmqs]
    homes = ["/usr/share/activemq", *sorted(map(str, CACHE.glob("activemq-*"))), *activemqs]
    versions = {}
    for place in bins:
        if Path(place, "rabbitmqctl").exists():
            said = subprocess.run(
                [f"{place}/rabbitmqctl", "version"], capture_output=True, text=True, check=True
            )
            one = Version("rabbitmq", said.stdout.split()[-1], {"RABBITMQ_BIN": place})
            versions.setdefault(one.name, one)
    for home in homes:
        if (jar := Path(home, "bin", "activemq.jar")).exists():
            borrows = list(Path(home, "lib").glob("activemq-all-*.jar"))
            remark = " (JAAS module of 5.17)" if borrows else ""
            one = Version("activemq", implementation(jar), {"ACTIVEMQ_HOME": home}, remark)
            versions.setdefault(one.name, one)
    yield from sorted(
        versions.values(), key=lambda one: (one.kind, [*map(int, one.number.split("."))])
    )


def implementation(jar: Path) -> str:
    """The version that a jar's manifest says."""
    with zipfile.ZipFile(jar) as packed:
        text = packed.read("META-INF/MANIFEST.MF").decode()
    said = re.search(r"^Implementation-Version: (\S+)", text, re.MULTILINE)
    assert said, f"{jar} says no version"
    return said[1]


def run(version: Version, suite: str) -> tuple[str, bool]:
    """Run a suite on a version: what the table says of it, and whether it went well."""
    if suite == "clusters" and (why := no_cluster(version)):
        return f"not run: {why}", True
    chosen = MADE_FOR.get(suite, "not bench")
    words = ["-q", "-m", f"{version.kind} and ({chosen})", str(TESTS / suite)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:  # of its own: other runs clear pytest's
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            env={**os.environ, **version.environ, "PYTEST_DEBUG_TEMPROOT": folder},
            cwd=TESTS.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    took = time.monotonic() - began
    counts = COUNT.findall(done.stdout.rstrip().rpartition("\n")[2])
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
    said = ", ".join(f"{number} {word}" for number, word in counts) or "nothing ran"
    return f"{said}, {took:.0f} s", not done.returncode


def no_cluster(version: Version) -> str:
    """Why there is none of this version, "" where there is one."""
    if version.kind == "activemq":
        return "two on one store are in failover"
    if version.kind == "rabbitmq" and int(version.number.split(".")[0]) < OLDEST_CLUSTER:
        return "from 4 on"
    return "" if not os.geteuid() else "needs root"


def keep(rows: dict[str, list[str]]) -> str:
    """Put rows into the table that is kept; returns it."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    kept = {row[0]: row[1:] for row in cells if row[0].startswith(("RabbitMQ", "ActiveMQ"))}
    for name, row in rows.items():
        before = kept.get(name, [""] * (len(SUITES) + 1))
        kept[name] = [new or old for new, old in zip(row, before, strict=True)]
    head = ["broker", *SUITES, "commit, day"]
    table = [head, ["---"] * len(head), *([name, *row] for name, row in sorted(kept.items()))]
    text = "".join(f"| {' | '.join(row)} |\n" for row in table)
    RESULTS.write_text(INTRO + text)
    return text


def main() -> int:
    """Run what was asked for, keeping each figure at once."""
    parser = argparse.ArgumentParser(prog="python -m tests.broker_versions")
    parser.add_argument("--rabbitmq", action="append", default=[], metavar="BIN")
    parser.add_argument("--activemq", action="append", default=[], metavar="HOME")
    parser.add_argument("--only", default="", metavar="WORD", help="such as 'RabbitMQ 4'")
    parser.add_argument("--suite", action="append", choices=SUITES, help="also several times")
    options = parser.parse_args()
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=TESTS, capture_output=True, text=True, check=True)
    stamp = f"{commit.stdout.strip()}, {time.strftime('%F')}"
    well = True
    text = ""
    for version in found(options.rabbitmq, options.activemq):
        if options.only not in version.name:
            continue
        row = [""] * len(SUITES)
        for number, suite in enumerate(SUITES):
            if suite in (options.suite or SUITES):
                row[number], passed = run(version, suite)
                well = well and passed
                print(f"{version.name}: {suite}: {row[number]}", flush=True)
                text = keep({version.name: [*row, stamp]})
    print(text)
    return not well


if __name__ == "__main__":
    sys.exit(main())
