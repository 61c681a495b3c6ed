"""One unlucky day: an operator at two desks, nodes that come and go, a broker that dies or loses its disk.

All that the operator does are command lines, some of them killed in the middle. `Day.evening` brings
everything up again and waits for what may still come; `Day.faults` then compares what the session
says with what the nodes' own audit files and the marks of the actions say.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

__all__ = ["Day"]

NODES: Final = ("n1", "n2", "n3")
TTL: Final = 25
PATIENCE: Final = 120.0
_DESKS: Final = ("here", "there")
_NOBODY: Final = 3
_NAMED: Final = 4
_BAD: Final = ("failed", "denied", "interrupted")
_ENDED: Final = ("ok", *_BAD)
_OPEN: Final = ("pending", "received", "running")
_BEGUN: Final = ("started", "accepted")
"""What a node writes before it runs something: one that is killed in the middle writes no more of it."""


class Day:
    """A fleet on a broker of its own for one seed; a context manager that ends it."""

    def __init__(self, broker: Broker, folder: Path, seed: int) -> None:
        agents = f'agents = ["{ROOT}/tests/agents_for_tests"]\n'
        self.broker = broker
        self.folder = folder
        self.dice = random.Random(seed)
        self.fleet = Fleet(broker, folder, {name: Node() for name in NODES}, more=agents)
        with self.fleet.config.open("a") as file:
            file.write(f"[node]\n{agents}")
        self.desk = _DESKS[0]
        self.down: set[str] = set()
        self.lost = False
        """Whether the broker has lost its disk."""
        self.log: list[str] = []
        (folder / "marks").mkdir()

    def __enter__(self) -> Self:
        self.fleet.start()
        self._say("session", "new", "day")
        return self

    def __exit__(self, *_: object) -> None:
        self.fleet.stop()

    # --- what happens ----------------------------------------------------------------------

    def live(self, steps: int) -> None:
        """So many things happen, one after the other."""
        things = [
            *(self._ask,) * 5,
            *(self._die_asking,) * 2,
            self._retry,
            *(self._node_goes,) * 2,
            *(self._node_comes,) * 2,
            self._broker_dies,
            self._broker_loses_its_disk,
            self._travel,
        ]
        for _step in range(steps):
            thing = self.dice.choice(things)
            self.log.append(thing.__name__.strip("_"))
            thing()

    def _words(self) -> list[str]:
        via = self.dice.choice(["direct", "queue", "queue"])
        names = self.dice.sample(NODES, self.dice.randrange(1, len(NODES) + 1))
        action = self.dice.choice(["once", "again"])
        mark = self.folder / "marks" / f"{len(self.log)}"
        pause = self.dice.choice(["0", "0.5"])
        ttl = ["--ttl", f"{TTL}s"] if via == "queue" else []
        inputs = [f"file={mark}", f"sleep={pause}"]
        who = [word for name in names for word in ("-I", name)]
        return ["rpc", "mark", action, *inputs, *who, "--via", via, *ttl, "-t", "4", "-y"]

    def _ask(self) -> None:
        self._say(*self._words())

    def _die_asking(self) -> None:
        """A shell that is killed at some moment of a call."""
        argv = [sys.executable, "-m", "mcshell", *self._words(), "--session", "day"]
        process = subprocess.Popen(
            argv,
            cwd=self.folder,
            env={**self.fleet.environ, **self._at()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(self.dice.uniform(0.4, 3.0))
        process.kill()
        process.wait()

    def _retry(self) -> None:
        self._say("retry", "-t", "4", "-y")

    def _node_goes(self) -> None:
        up = sorted(set(NODES) - self.down)
        if len(up) > 1:
            name = self.dice.choice(up)
            self.fleet.kill9(name)
            self.down.add(name)

    def _node_comes(self) -> None:
        if self.down:
            name = self.dice.choice(sorted(self.down))
            self.fleet.start(name)
            self.down.discard(name)

    def _broker_dies(self) -> None:
        self.broker.kill9()
        self.broker.restart()

    def _broker_loses_its_disk(self) -> None:
        self.broker.kill9()
        shutil.rmtree(self.broker.directory / "data")
        self.broker.restart()
        self.lost = True

    def _travel(self) -> None:
        """The session goes to the other desk by file; what is done from now on is done there."""
        copy = self.folder / f"{len(self.log)}.mcs"
        self._say("session", "export", "day", str(copy), session=False)
        self.desk = _DESKS[1 - _DESKS.index(self.desk)]
        self._say("session", "import", str(copy), session=False)
        self._say("session", "attach", "day", session=False)

    # --- the command line ------------------------------------------------------------------

    def _at(self) -> dict[str, str]:
        return {"MCSHELL_STATE": str(self.folder / f"desk-{self.desk}")}

    def _say(self, *words: str, session: bool = True) -> subprocess.CompletedProcess[str]:
        which = ["--session", "day"] if session and words[0] != "session" else []
        done = self.fleet.cli(*words, *which, timeout=PATIENCE, **self._at())
        self.log.append(f"  {' '.join(words)} -> {done.returncode} {done.stderr.strip()[:200]}")
        assert done.returncode != 70, self.log
        assert "Traceback" not in done.stderr, self.log
        return done

    # --- what is true ----------------------------------------------------------------------

    def evening(self) -> None:
        """All nodes are up, the session is taken up, and the time of every queued request is over."""
        for name in sorted(self.down):
            self.fleet.start(name)
        self._say("session", "attach", "day")
        ends = time.monotonic() + TTL + 5
        wait_until(lambda: time.monotonic() > ends or self._quiet(), TTL + 10)
        self._say("session", "attach", "day")

    def _quiet(self) -> bool:
        queued = [row for row in self.requests() if row["via"] == "queue"]
        return not any(row[state] for row in queued for state in _OPEN)

    def requests(self) -> list[dict[str, Any]]:
        """The session's history."""
        found: list[dict[str, Any]] = json.loads(self._say("requests", "--json").stdout)
        return [row for row in found if row["agent"] == "mark"]

    def faults(self) -> list[str]:
        """Each difference between what the operator is told and what has happened."""
        events = {name: self.fleet.audit(name) for name in NODES}
        found: list[str] = []
        for request in self.requests():
            found += self._faults_of(request["requestid"], request["via"], events)
        return found

    def _faults_of(
        self, request: str, via: str, events: dict[str, list[dict[str, Any]]]
    ) -> list[str]:
        ledger = json.loads(self._say("ledger", request, "--json").stdout)
        found: list[str] = []
        ran = 0
        for row in ledger:
            mine = [e for e in events[row["sender"]] if e.get("requestid") == request]
            ends = [e["state"] for e in mine if e["event"] == "finished" and not e.get("again")]
            begun = any(e["event"] in _BEGUN for e in mine)
            ran += bool(ends) and ends[-1] in ("ok", "interrupted")
            about = f"{request[:8]} of {row['sender']} is {row['state']} ({row['reason']})"
            if row["state"] in _ENDED and ends and ends[-1] != row["state"]:
                found.append(f"{about}, and the node says {ends}")
            if row["state"] == "ok" and not begun:
                found.append(f"{about}, and the node never began it")
            # The last word to a shell that was killed may die with a broker; a queued one's does not,
            # and where it died with the broker's disk, `attach` has asked the node.
            if row["state"] in _OPEN[1:] and via == "queue":
                told = [(e["event"], e.get("state")) for e in mine]
                found.append(f"{about} at the end of the day; of the node's file: {told}")
            found += self._unexplained(request, row, about, ends, begun=begun)
        found += self._wrong_code(request, ledger)
        return found

    def _unexplained(
        self, request: str, row: dict[str, Any], about: str, ends: list[str], *, begun: bool
    ) -> list[str]:
        """What `explain` says, beside what the node's own file does."""
        done = self._say("explain", row["sender"], request, "--json")
        causes = [one["cause"] for one in json.loads(done.stdout)]
        if not causes:
            return [f"{about}: explain names no cause"]
        if row["state"] == "ok":
            lost = self.lost and row["reason"].startswith("its reply is lost")
            meant = (
                "it has answered, but its reply has not come back" if lost else "it answered: ok"
            )
            return [] if causes[0] == meant else [f"{about}: explain says {causes}"]
        if ends == ["ok"] and "the request did not reach it" in causes:
            return [f"{about}: explain says {causes}, and the node has done it"]
        if not begun and any(one.startswith("it answered: ok") for one in causes):
            return [f"{about}: explain says {causes}, and the node knows nothing of it"]
        return []

    def _wrong_code(self, request: str, ledger: list[dict[str, Any]]) -> list[str]:
        done = self._say("replies", request, "--json")
        states = Counter(row["state"] for row in ledger)
        document = json.loads(done.stdout)
        rows = Counter(row["state"] for row in document["replies"])
        wrong = [] if rows == states else [f"{request[:8]}: table {rows}, ledger {states}"]
        answered = sum(states[one] for one in _ENDED)
        bad = sum(states[one] for one in _BAD)
        expected = (
            {_NOBODY, _NAMED}
            if not answered + sum(states[one] for one in _OPEN[1:])
            else {2}
            if bad
            else {0 if answered == len(ledger) else 5}
        )
        if done.returncode not in expected:
            wrong.append(
                f"{request[:8]}: exit code {done.returncode}, meant is {expected}: {states}"
            )
        return wrong

    def twice(self) -> list[str]:
        """The requests that ran twice on some node: more marks than nodes have begun."""
        marks = Counter(
            line.split()[0]
            for path in (self.folder / "marks").iterdir()
            for line in path.read_text().splitlines()
        )
        begun: Counter[str] = Counter()
        for name in NODES:
            begun.update({e["requestid"] for e in self.fleet.audit(name) if e["event"] in _BEGUN})
        return [one for one, count in marks.items() if count > max(begun[one], 1) and begun[one]]
