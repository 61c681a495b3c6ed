"""Work that is under way in a broker's queues, for whoever moves it: asked, and looked for later.

Each run writes its word into one file, so that what ran twice or never is seen whatever a ledger says.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from tests.peers.brokers import Broker

__all__ = ["Outstanding"]

OFF = ("web1", "web2")
POOL = 'serve = ["sms"]\n'
POOLS = '[pools.sms]\nmembers = ["web1", "web2"]\n'
POLICIES = {"exec": "policy default deny\nallow\tcert=alice\trun\t*\t*\n"}
SOON = 120.0  # seconds


class Outstanding:
    """A fleet of three nodes at the old broker, two of which are off, with an operator who is away.

    What waits: requests and a job for the two, requests of a pool that they serve, replies of the third.
    """

    def __init__(self, folder: Path, old: Broker, count: int = 20) -> None:
        self.count = count
        self.fleet = Fleet(old, folder, dict.fromkeys((*OFF, "db1"), Node()), policies=POLICIES)
        for name in (*self.fleet.names, "alice"):
            with (folder / f"{name}.toml").open("a") as config:
                config.write((POOL if name in OFF else "") + POOLS)
        self.effects = folder / "effects"
        self.expected: Counter[str] = Counter()
        self.ids: list[str] = []

    def ask(self) -> None:
        """Ask it all; afterwards nobody is connected."""
        self.fleet.start("db1")
        with self.fleet.client(session="kept") as alice:
            for number in range(self.count):
                for via, more, times in (
                    ("queue", {"nodes": OFF}, len(OFF)),
                    ("pool", {"pool": "sms"}, 1),
                    ("queue", {"nodes": ["db1"]}, 1),
                ):
                    word = f"{via}{times}-{number}"
                    asked = alice.rpc(
                        "exec", "run", argv=self.writes(word), via=via, wait=False, **more
                    )
                    self.ids.append(asked.requestid)
                    self.expected[word] = times
            job = alice.jobs.submit("exec", "run", argv=self.writes("job"), nodes=list(OFF))
            self.expected["job"] = len(OFF)
            assert wait_until(lambda: job.confirmed, SOON)
            assert wait_until(lambda: all(alice.replies(one).confirmed for one in self.ids), SOON)
        assert wait_until(lambda: self._ran("queue1") == self.count, SOON), self.effects.read_text()
        self.fleet.stop()

    def writes(self, word: str) -> list[str]:
        """The words of a program that writes this word into the file."""
        return ["sh", "-c", f"echo {word} >> {self.effects}"]

    def _ran(self, prefix: str) -> int:
        lines = self.effects.read_text().splitlines() if self.effects.exists() else []
        return sum(line.startswith(prefix) for line in lines)

    def go_over(self, urls: Sequence[str]) -> None:
        """Have these brokers in everybody's configuration, in place of the old one."""
        for path in self.fleet.folder.glob("*.toml"):
            text = re.sub(
                r"^urls = .*$", f"urls = {json.dumps(urls)}", path.read_text(), flags=re.MULTILINE
            )
            path.write_text(text)

    def move(self, *words: str, listing: str) -> tuple[int, dict[str, dict[str, object]], str]:
        """Run the command; its exit code, the rows by queue, what it said."""
        options = ["--json", *(["--queues", "-"] if listing else [])]
        done = self.fleet.cli("broker", "move", *words, *options, stdin=listing, timeout=300)
        return _outcome(done)

    def die(self, phase: str, number: int, *words: str, listing: str) -> None:
        """Run the command until it is killed there (`doomed_mover`)."""
        lists = self.fleet.folder / "queues"
        lists.write_text(listing)
        script = str(Path(ROOT, "tests", "peers", "doomed_mover.py"))
        argv = [sys.executable, script, phase, str(number), *words]
        argv += ["--queues", str(lists)] if listing else []
        child = Child(argv, self.fleet.folder / "doomed.log", self.fleet.environ)
        assert wait_until(lambda: not child.running, SOON)
        assert child.process.returncode == -9, child.tail()

    def check(self, doubted: int = 0) -> None:
        """Start all nodes where they are told to be: everything ran once, and alice hears of it.

        `doubted`: of so many requests of the pool, at most, a second copy was under way, and whoever
        got that says that somebody may have begun it.
        """
        self.fleet.start()
        assert wait_until(lambda: sum(self.ran().values()) >= self.expected.total(), SOON), (
            self.expected - self.ran()
        )
        with self.fleet.client(session="kept") as alice:
            for one in self.ids:
                replies = alice.replies(one).wait(SOON)
                stats: Mapping[str, float] = replies.stats
                if stats["interrupted"] and replies.via == "pool":
                    doubted -= 1
                else:
                    assert stats["ok"] == stats["targets"], replies.rows()
            assert not alice.junk
        assert doubted >= 0, "more requests of the pool are in doubt than were under way"
        assert self.ran() == self.expected

    def ran(self) -> Counter[str]:
        """How often each word was written."""
        return Counter(self.effects.read_text().splitlines())


def _outcome(
    done: subprocess.CompletedProcess[str],
) -> tuple[int, dict[str, dict[str, object]], str]:
    rows = json.loads(done.stdout) if done.returncode in (0, 2) else []
    return done.returncode, {row["queue"]: row for row in rows}, done.stderr
