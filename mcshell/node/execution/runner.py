"""What the worker of queued requests asks of whatever executes them: shim processes, or threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcshell.config import NodeSettings
    from mcshell.node.execution.run_directory import RunDirectory
    from mcshell.node.host import Host
    from mcshell.node.store.records import Key, WorkItem
    from mcshell.node.verdicts import Admitted, Outcome

__all__ = ["Run", "Runner"]


class Run(Protocol):
    """One action at work, or at its end."""

    @property
    def work(self) -> WorkItem:
        """The row that it is of."""

    def outcome(self) -> Outcome | None:
        """How it came out; None when it died without saying so."""

    def death(self) -> str:
        """What is known of how it died."""


class Runner(Protocol):
    """Executes rows of the spool that are marked as running.

    All but `stop` and `wake` are called by the worker's thread alone. A run that has ended comes from
    `ended` again and again until it is dropped, so that nothing is lost where a commit fails.
    `settings` are those in force; others may take their place at any time.
    """

    settings: NodeSettings

    def places(self, work: WorkItem) -> Sequence[RunDirectory]:
        """Where the files of a run may be, in the order in which they come there."""

    def adopt(self, work: WorkItem) -> Run | None:
        """What an earlier process has left of a run; None when that goes on."""

    def start(self, work: WorkItem, admitted: Admitted, host: Host) -> None:
        """Begin; raises MCShellError when nothing has run."""

    def ended(self) -> Sequence[Run]:
        """The runs that have come to an end."""

    def drop(self, run: Run, *, keep: bool) -> None:
        """Forget a run that has ended; `keep`: not what it has written."""

    def stop(self, key: Key) -> None:
        """Have a run end, with all its processes."""

    def wait(self, seconds: float) -> None:
        """Wait until a run has ended, until `wake`, or so long."""

    def wake(self) -> None:
        """End `wait`."""

    def purge(self, now: float) -> None:
        """Drop what is kept of old runs."""
