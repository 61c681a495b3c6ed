"""What a supervisor tells Prometheus: which machines speak, and how the jobs of rules stand on them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from mcshell.metrics.exposition import Metric, exposition
from mcshell.metrics.process import process_figures, process_metrics
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.metrics.process import ProcessFigures
    from mcshell.wire.documents.registration import Registration

__all__ = ["METRICS", "MachineStates", "SupervisorFigures", "supervisor_text"]

_PREFIX: Final = "mcshell_supervisor"
_MISSED: Final = 2.5
"""Intervals of registration after which a machine is silent; a client believes it as long."""
_MACHINES: Final = ("heard", "silent")
_JOBS: Final = ("held", "outdated", "lacking")

METRICS: Final = (
    *process_metrics(_PREFIX),
    Metric(
        name="mcshell_supervisor_machines",
        kind="gauge",
        help="Machines of the last 30 days: heard within 2.5 of their intervals, or silent.",
        label="state",
    ),
    Metric(
        name="mcshell_supervisor_rules",
        kind="gauge",
        help="Rules that are carried.",
    ),
    Metric(
        name="mcshell_supervisor_rule_jobs",
        kind="gauge",
        help="Jobs of rules on all machines, by their last registrations: held, outdated, lacking.",
        label="state",
    ),
    Metric(
        name="mcshell_supervisor_carried_total",
        kind="counter",
        help="Rules and revocation lists that were brought to nodes.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorFigures:
    """One supervisor as it stands; `machines` and `jobs` by state."""

    process: ProcessFigures
    machines: Mapping[str, int]
    jobs: Mapping[str, int]
    rules: int
    carried: int


def supervisor_text(one: SupervisorFigures) -> str:
    """The figures in Prometheus' text format."""
    figures = {
        **process_figures(_PREFIX, one.process),
        "mcshell_supervisor_machines": {name: one.machines.get(name, 0) for name in _MACHINES},
        "mcshell_supervisor_rules": one.rules,
        "mcshell_supervisor_rule_jobs": {name: one.jobs.get(name, 0) for name in _JOBS},
        "mcshell_supervisor_carried_total": one.carried,
    }
    return exposition(METRICS, figures, one.process.about)


@dataclass(frozen=True, slots=True)
class _KnownMachine:
    """When it is silent from (epoch), and how many jobs of rules are in each state on it."""

    silent_from: float
    jobs: Mapping[str, int]


class MachineStates:
    """How each machine stands, by its last registration; in memory, for one thread."""

    def __init__(self) -> None:
        self._machines: dict[tuple[str, str], _KnownMachine] = {}

    def clear(self) -> None:
        """Forget all: they are looked at anew."""
        self._machines.clear()

    def enter(
        self, collective: str, node: Registration, heard: float, jobs: Mapping[str, int]
    ) -> None:
        """Take note of a machine that was heard of then (epoch)."""
        silent_from = heard + _MISSED * node.interval
        self._machines[collective, node.identity] = _KnownMachine(silent_from, jobs)

    def counts(self, now: float) -> tuple[Counter[str], Counter[str]]:
        """How many machines and jobs are in each state."""
        machines: Counter[str] = Counter()
        jobs: Counter[str] = Counter()
        for one in self._machines.values():
            machines["silent" if now > one.silent_from else "heard"] += 1
            jobs.update(one.jobs)
        return machines, jobs
