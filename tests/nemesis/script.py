"""What a seed comes to: who asks what, and what breaks, at which moment. Pure.

Moments are seconds from the beginning of a run. A fault has a victim (a node, an asker, the broker, a
member of a cluster) and is over after `lasts`; of one victim's process, link or clock no two overlap.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ASKERS", "NODES", "SHORT", "Ask", "Fault", "Length", "Script", "written"]

NODES: Final = ("n1", "n2")
ASKERS: Final = ("a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How much happens: `seconds` in which things begin, how many calls and faults, and how long these last.

    `bulk` are calls beside the others, each to one of the `crowd`'s queues. `always` are kinds of faults
    of which each run has one, over only with the run.
    """

    seconds: float
    asks: int
    faults: int
    longest: float
    bulk: int = 0
    crowd: tuple[str, ...] = ()
    always: tuple[str, ...] = ()


SHORT: Final = Length(seconds=9.0, asks=40, faults=6, longest=4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One call of an asker. `via` is also `job`: one that starts every two seconds, while it `lasts`."""

    at: float
    tag: str
    asker: str
    via: str
    targets: tuple[str, ...]
    action: str
    sleep: float
    lasts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something breaks, and is mended after so many seconds; `amount` is that of a clock's jump."""

    at: float
    lasts: float
    kind: str
    victim: str
    amount: float = 0.0

    @property
    def part(self) -> tuple[str, str]:
        """What breaks: a victim's link or clock may while its process is broken, too."""
        layer = self.kind.partition("-")[0]
        return self.victim, layer if layer in {"link", "clock"} else "process"

    def __str__(self) -> str:
        how = f" by {self.amount:+.0f} s" if self.amount else ""
        return f"{self.at:4.1f} s: {self.victim} {self.kind}{how} for {self.lasts:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One run: what is asked and what breaks, each in the order of time."""

    seed: int
    work: tuple[Ask, ...]
    faults: tuple[Fault, ...]


def written(seed: int, kinds: Mapping[str, Sequence[str]], length: Length = SHORT) -> Script:
    """The run of a seed; `kinds` are the faults there can be, with their victims."""
    dice = random.Random(seed)
    ways = ["queue"] * 6 + ["pool"] * 3 + ["direct", "broadcast"]
    ways += ["job"] * dice.choice([0, 1])
    work = [
        _ask(dice, dice.choice(ways), f"{seed}-{number}", length.seconds)
        for number in range(length.asks)
    ]
    work += [_one_of_many(dice, f"{seed}-b{number}", length) for number in range(length.bulk)]
    # a job that was begun ahead of its time is not over before that time
    jumps = (-300.0, -20.0, 20.0, *(() if "job" in ways else (300.0,)))
    broken = [_for_good(dice, kind, kinds[kind], length.seconds) for kind in length.always]
    others = sorted(set(kinds) - set(length.always))
    while len(broken) < length.faults:
        kind = dice.choice(others)
        jump = dice.choice(jumps) if kind == "clock" else 0.0
        fault = Fault(
            at=dice.uniform(0.5, length.seconds - 1.0),
            lasts=dice.uniform(0.3, length.longest),
            kind=kind,
            victim=dice.choice(kinds[kind]),
            amount=jump,
        )
        if not any(_overlap(fault, other) for other in broken):
            broken.append(fault)
    return Script(
        seed=seed,
        work=tuple(sorted(work, key=lambda one: one.at)),
        faults=tuple(sorted(broken, key=lambda one: one.at)),
    )


def _for_good(dice: random.Random, kind: str, victims: Sequence[str], seconds: float) -> Fault:
    at = dice.uniform(seconds / 4, seconds / 2)
    return Fault(at=at, lasts=2 * seconds - at, kind=kind, victim=dice.choice(victims))


def _ask(dice: random.Random, via: str, tag: str, seconds: float) -> Ask:
    some = tuple(sorted(dice.sample(NODES, dice.randint(1, len(NODES)))))
    targets = {"pool": ("pool:sms",), "broadcast": NODES}.get(via, some)
    at = dice.uniform(0.0, seconds / 3 if via == "job" else seconds)
    return Ask(
        at=at,
        tag=tag,
        asker=dice.choice(ASKERS),
        via=via,
        targets=targets,
        action=dice.choice(["once", "once", "again"]),
        sleep=dice.choice([0.0, 0.0, 0.0, 0.3, 1.0]),
        lasts=seconds - at,
    )


def _one_of_many(dice: random.Random, tag: str, length: Length) -> Ask:
    return Ask(
        at=dice.uniform(0.0, length.seconds),
        tag=tag,
        asker=dice.choice(ASKERS),
        via="queue",
        targets=(dice.choice(length.crowd),),
        action=dice.choice(["once", "again"]),
        sleep=0.0,
        lasts=0.0,
    )


def _overlap(one: Fault, other: Fault) -> bool:
    return (
        one.part == other.part
        and one.at <= other.at + other.lasts
        and other.at <= one.at + one.lasts
    )
