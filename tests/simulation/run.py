"""A seed is a run: what is asked, what goes wrong and who takes each step are all the seed's."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.history.checker import Violation, check
from tests.simulation.faults import Faults
from tests.simulation.world import NODES, Question, World

if TYPE_CHECKING:
    from collections import Counter

    from tests.history.events import Event

__all__ = ["SETTLED", "Result", "Settled", "run"]

MOST = 400_000
SETTLED = 2000.0
CALM = 30.0
WAYS = ("queue", "queue", "queue", "pool", "pool", "direct", "broadcast", "job", "jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a seed. `flaws`: loops that an exception ended; `seconds` are simulated."""

    seed: int
    violations: list[Violation]
    flaws: list[str]
    faults: Counter[str]
    history: list[Event]
    steps: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations and not self.flaws

    def __str__(self) -> str:
        bad = "\n".join([*map(str, self.violations), *self.flaws])
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return f"seed {self.seed}: {bad or 'good'}\n({faults})"


def _questions(dice: random.Random) -> list[Question]:
    found = []
    at = 0.0
    for number in range(dice.randint(3, 8)):
        at += dice.choice((0.0, 0.0, 0.5, 3.0))
        via = dice.choice(WAYS)
        targets = tuple(NODES[: dice.randint(1, 2)])
        if via in ("pool", "broadcast"):
            targets = ("pool:pool",) if via == "pool" else ()
        found.append(
            Question(
                name=f"q{number}",
                via=via,
                action=dice.choice(("once", "once", "again")),
                targets=targets,
                at=at,
                before=dice.choice((0.0, 0.0, 0.2, 2.0)),
                after=dice.choice((0.0, 0.2, 2.0)),
                wait=dice.random() < 0.3,
            )
        )
    return found


def run(seed: int, without: set[str] | None = None, *, forgets: bool = False) -> Result:
    """Play a seed, to the end where all is mended and answered; `without` some kinds of faults.

    `forgets`: the broker may lose what it has confirmed, when it is restarted.
    """
    dice = random.Random(seed)
    questions = _questions(dice)
    last = questions[-1].at
    broker = {"keeps_unacked": dice.random() < 0.5, "forgets": forgets}
    rate = dice.choice((0.0, 0.001, 0.003, 0.01, 0.02))
    with World(dice, questions, **broker) as world:
        scheduler = world.scheduler
        faults = Faults(world, random.Random(dice.getrandbits(64)), rate, without or set())
        scheduler.before_step = faults.before_step
        world.tend()
        bad = dice.choice((10.0, 20.0, 60.0)) + last
        scheduler.run(lambda: False, bad, MOST)
        faults.over()
        settled = Settled(world)
        scheduler.run(settled.look, scheduler.now + SETTLED, MOST)
        scheduler.run(lambda: False, scheduler.now + CALM, MOST)
        history = world.finish()
        return Result(
            seed=seed,
            violations=check(history),
            flaws=scheduler.flaws,
            faults=faults.done,
            history=history,
            steps=scheduler.steps,
            seconds=scheduler.now,
        )


class Settled:
    """Whether all was asked, and every row is final, as far as it will be."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._looked = self._checked = float("-inf")

    def look(self) -> bool:
        """Ask the session's file, where it is time to."""
        now = self._world.scheduler.now
        if now < self._looked + 2.0:
            return False
        self._looked = now
        if self._world.questions:
            return False
        if self._world.open_rows() == 0:
            return True
        if now < self._checked + 30.0:
            return False
        # of what is interactive, or recurs, not all rows come to an end of their own
        self._checked = now
        return not any(one.kind == "unfinished" for one in check(self._world.finish()))
