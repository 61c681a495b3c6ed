"""What handing in a job gives back: the replies to come, and whether the nodes have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.rpc.replies import Replies
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JobReplies"]


class JobReplies(Replies):
    """What comes of a job: the replies of its run, or, if it recurs, where it stands as a whole."""

    @property
    def job(self) -> str:
        """The job's id."""
        return self.requestid

    @property
    def accepted(self) -> bool:
        """Whether every target has said that it has the job, or that it does not take it."""
        return all(entry.state is not State.PENDING for entry in self.entries())

    def wait_accepted(self, timeout: float) -> bool:
        """Wait (seconds) until every target has said whether it takes the job."""
        return self._tracker.wait(lambda ledger: not ledger.pending(), timeout)

    def note_progress(self, told: Mapping[str, str]) -> None:
        """Enter how far running targets say they are; the ledger's `reason` shows it."""
        running = {one.sender for one in self.entries() if one.state is State.RUNNING}
        for sender, text in told.items():
            if sender in running and text:
                self._tracker.note([sender], text)
