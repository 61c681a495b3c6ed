"""What the nodes of a process work off from disk: the spool, the workers and queues around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.node.execution.lifecycle import RunLifecycle
from mcshell.node.jobs.manager import JobManager
from mcshell.node.jobs.scheduler import Scheduler
from mcshell.node.queue.consumer import QueueConsumer
from mcshell.node.queue.outbox import Outbox
from mcshell.node.store.spool import EVERYBODY
from mcshell.node.workers.pool_worker import PoolWorker
from mcshell.node.workers.queue_worker import QueueWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mcshell.config import NodeSettings, Settings
    from mcshell.node.context import NodeContext
    from mcshell.node.execution.runner import Runner
    from mcshell.node.execution.threads import ActionThreads, ThreadLoad
    from mcshell.node.process.watchdog import Pulse

__all__ = ["DurableServices"]


class DurableServices:
    """The durable half of a process's nodes: what they have committed comes to an end.

    One spool and one worker for all; for each connection a thread that reads its work queues, one
    for its pools and one for its outbox.

    Args:
        contexts: the nodes, one context a connection.
        runner: what executes queued requests.
        pool_threads: makes the threads for the pools of a connection, from a node's slots.
        announce: called with the identity of a node that has news to register.
    """

    def __init__(
        self,
        contexts: Sequence[NodeContext],
        settings: Settings,
        runner: Runner,
        *,
        pool_threads: Callable[[int, None], ActionThreads],
        announce: Callable[[str], None],
    ) -> None:
        first = contexts[0]
        nodes = {name: node for one in contexts for name, node in one.nodes.items()}
        self._spool = first.spool
        names = [one.names if len(contexts) > 1 else EVERYBODY for one in contexts]
        self._outboxes = [
            Outbox(one, names=mine) for one, mine in zip(contexts, names, strict=True)
        ]
        lifecycles = {
            name: RunLifecycle(node.host, first.controller, node.writer)
            for name, node in nodes.items()
        }
        scheduler = Scheduler(first.spool, lifecycles, self._replies_added)
        self.jobs = JobManager(
            first.spool,
            scheduler,
            first.controller,
            places=runner.places,
            slots=settings.node.slots,
            stop=runner.stop,
            changed=self._taken,
            announce=announce,
        )
        most, each = settings.node.spool_max, settings.node.caller_spool
        self._queues = [QueueConsumer(one, self.jobs, self._taken, most, each) for one in contexts]
        self._pools = [
            PoolWorker(one, settings, pool_threads(settings.node.slots, None), self._replies_added)
            for one in contexts
        ]
        self._worker = QueueWorker(
            nodes,
            first.spool,
            scheduler,
            runner,
            settings.node,
            settled=lambda: all(queue.settled() for queue in self._queues),
            replies_added=self._replies_added,
            steps=first.steps,
        )

    @property
    def pool_loads(self) -> list[ThreadLoad]:
        """What the pools' threads have to do, of each connection."""
        return [pools.load for pools in self._pools]

    def _replies_added(self) -> None:
        """There are new replies."""
        for outbox in self._outboxes:
            outbox.wake()

    def _taken(self, identities: Iterable[str] = ()) -> None:
        """There is new work for these nodes, or a new reply."""
        self._worker.wake(identities)
        self._replies_added()

    def start(self) -> None:
        """Begin with what is here, whether or not there is a broker."""
        self._worker.start()

    def open(self) -> None:
        """Take in what comes: every subscription is confirmed when it returns.

        Raises:
            WireError: there is no connection, or the broker refuses.
        """
        for queue, pools in zip(self._queues, self._pools, strict=True):
            queue.start()
            if not self._spool.hindered:  # the other workers do what is in the pools
                pools.start()

    def speak(self) -> None:
        """Send the replies that wait, from now on.

        After every subscription of the node: a reply that no broker takes ends the connection.
        """
        for outbox in self._outboxes:
            outbox.start()

    def connected(self, number: int) -> None:
        """A connection stands, perhaps to another broker: that of so many contexts before."""
        self._queues[number].begun()
        self._outboxes[number].wake()

    def use(self, settings: NodeSettings) -> None:
        """Work by other settings from now on; what was made by the old ones stays."""
        self._worker.settings = settings
        for pools in self._pools:
            pools.settings = settings

    def pulses(self) -> Iterator[Pulse]:
        """Those of the threads that have begun."""
        if self._worker.begun:
            yield self._worker.pulse
        yield from (queue.pulse for queue in self._queues if queue.reads)
        yield from (outbox.pulse for outbox in self._outboxes if outbox.begun)
        yield from (pulse for pools in self._pools if (pulse := pools.pulse) is not None)

    def stop(self) -> None:
        """Begin nothing more, and say what there is to say while there is a connection."""
        for queue in self._queues:
            queue.stop()
        for pools in self._pools:
            pools.stop()
        self._worker.stop()
        for outbox in self._outboxes:
            outbox.stop()
        for pools in self._pools:
            pools.release()

    def close(self) -> None:
        """Close the file."""
        self._spool.close()
