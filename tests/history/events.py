"""A history: what was asked, promised, done and shown in one run, event by event.

It is written by whoever makes the run (a simulation, a nemesis over real processes) and read by
`tests.history.checker`. Neither knows anything of mcshell: names are text, states are the words of
the table that an operator sees, `at` is seconds by the one clock of the run.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Asked", "Confirmed", "Ended", "Event", "Ran", "Row", "Said"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Somebody began to ask. `targets` are nodes; of a pool it is one, `pool:NAME`.

    `via` is broadcast, direct, queue, pool or job. Each run of a job is a request of its own.
    `may_expire`: its time may be over before all targets could have had it, so that `expired` is
    an honest end.
    """

    request: str
    targets: tuple[str, ...]
    via: str
    rerun_safe: bool
    at: float
    may_expire: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The asker was told that it is kept: from here on nothing may lose it."""

    request: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """An effect: the action was there, on this node. A job's retries are attempts."""

    request: str
    node: str
    attempt: int | str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A node has made a last reply, whether it arrives or not. (Optional: see the checker.)"""

    request: str
    node: str
    state: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The ledger's row of a target, as it was shown; the last one of a target is its end.

    Of a pool, `node` is the worker that took it, or `pool:NAME` while nobody has.
    """

    request: str
    node: str
    state: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """All faults are over, everything is up, and there was time enough for all that was asked.

    A history without it was cut short: only what must never happen is judged.
    """

    at: float


Event = Asked | Confirmed | Ran | Said | Row | Ended
