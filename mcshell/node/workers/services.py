"""What one node works off from disk: its spool, the workers and queues around it, its outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.node.jobs.manager import JobManager
from mcshell.node.queue.consumer import QueueConsumer
from mcshell.node.queue.outbox import Outbox
from mcshell.node.workers.pool_worker import PoolWorker
from mcshell.node.workers.queue_worker import QueueWorker

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.node.context import NodeContext

__all__ = ["DurableServices"]


class DurableServices:
    """The durable half of a node: what it has committed comes to an end, over restarts."""

    def __init__(self, context: NodeContext, settings: Settings, state: Path) -> None:
        self._spool = context.spool
        self._outbox = Outbox(
            context.spool,
            context.transport,
            context.steps,
            several=len(settings.broker.urls) > 1,
        )
        said = self._outbox.wake
        self._lane = QueueWorker(context, state / "work", settings.node, said)
        self._queue = QueueConsumer(context, self._taken, settings.node.spool_max)
        self._lane.settled = self._queue.settled
        self._pools = PoolWorker(context, settings, said)
        context.host.spool = context.spool
        context.host.job_manager = JobManager(
            context.spool,
            self._lane.scheduler,
            context.controller,
            folders=(state / "work", state / "runs"),
            slots=settings.node.slots,
            stop=self._lane.stop_run,
            changed=self._taken,
        )

    def _taken(self) -> None:
        """There is new work, or a new reply."""
        self._lane.wake()
        self._outbox.wake()

    def start(self) -> None:
        """Begin with what is here, whether or not there is a broker."""
        self._lane.start()

    def open(self) -> None:
        """Take in what comes: every subscription is confirmed when it returns.

        Raises:
            WireError: there is no connection, or the broker refuses.
        """
        self._queue.start()
        self._pools.start()

    def speak(self) -> None:
        """Send the replies that wait, from now on.

        After every subscription of the node: a reply that no broker takes ends the connection.
        """
        self._outbox.start()

    def connected(self) -> None:
        """A connection stands, perhaps to another broker."""
        self._queue.begun()
        self._outbox.wake()

    def stop(self) -> None:
        """Begin nothing more, and say what there is to say while there is a connection."""
        self._queue.stop()
        self._pools.stop()
        self._lane.stop()
        self._outbox.stop()
        self._pools.release()

    def close(self) -> None:
        """Close the file."""
        self._spool.close()
