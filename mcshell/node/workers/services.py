"""What one node works off from disk: its spool, the lanes and queues around it, its outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.node.jobs.manager import Office
from mcshell.node.queue.consumer import WorkQueue
from mcshell.node.queue.outbox import Outbox
from mcshell.node.workers.pool_worker import PoolLane
from mcshell.node.workers.queue_worker import WorkLane

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.node.context import Station

__all__ = ["Works"]


class Works:
    """The durable half of a node: what it has committed comes to an end, over restarts."""

    def __init__(self, station: Station, settings: Settings, state: Path) -> None:
        self._spool = station.spool
        self._outbox = Outbox(
            station.spool,
            station.transport,
            station.steps,
            several=len(settings.broker.urls) > 1,
        )
        said = self._outbox.ring
        self._lane = WorkLane(station, state / "work", settings.node, said)
        self._queue = WorkQueue(station, self._taken, settings.node.spool_max)
        self._lane.settled = self._queue.settled
        self._pools = PoolLane(station, settings, said)
        station.host.spool = station.spool
        station.host.office = Office(
            station.spool,
            self._lane.agenda,
            station.gate,
            folders=(state / "work", state / "runs"),
            slots=settings.node.slots,
            stop=self._lane.stop_run,
            changed=self._taken,
        )

    def _taken(self) -> None:
        """There is new work, or a new word."""
        self._lane.ring()
        self._outbox.ring()

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
        """Send the words that wait, from now on.

        After every subscription of the node: a word that no broker takes ends the connection.
        """
        self._outbox.start()

    def connected(self) -> None:
        """A connection stands, perhaps to another broker."""
        self._queue.begun()
        self._outbox.ring()

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
