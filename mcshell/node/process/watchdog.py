"""The watchdog: the service manager gets a sign of life while every thread that matters gives one.

A thread of its own that says "alive" would say so whatever becomes of the others. So the thread that
attends to the service asks each of those threads to do a turn, by the way on which its work comes, and
the sign goes out once all have done it. One that hangs, or has died, withholds it, and the manager ends
and starts the process. Nothing is asked that takes a broker or room on a disk: threads that wait for
these do so in turns. A busy machine makes turns late, by far less than the minutes of a period.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.node.process.notify import ServiceManager

__all__ = ["KeptPulse", "LiveThread", "Pulse", "ThreadPulse", "Watchdog"]

log = logging.getLogger(__name__)

_SIGNS: Final = 4
"""So many signs of life a period, so that one that is late costs nothing."""


class LiveThread(Protocol):
    """A thread, or what keeps one."""

    def is_alive(self) -> bool:
        """Whether it runs."""


class Pulse(Protocol):
    """What the watchdog asks of a thread."""

    name: str

    @property
    def given(self) -> bool:
        """Whether it has done a turn since it was asked."""

    def ask(self) -> None:
        """Ask it to do a turn."""


class ThreadPulse:
    """That of a thread which does turns: `wake` has it do one, and it calls `beat` in each."""

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self.name = name
        self._wake = wake
        self._given = True

    @property
    def given(self) -> bool:
        """Whether it has done a turn since it was asked."""
        return self._given

    def ask(self) -> None:
        """Ask it to do a turn."""
        self._given = False
        self._wake()

    def beat(self) -> None:
        """Do as asked; for the thread itself."""
        self._given = True


class KeptPulse:
    """That of a thread which may rest for as long as it likes: that it has not died is enough."""

    def __init__(self, name: str, thread: LiveThread) -> None:
        self.name = name
        self._thread = thread

    @property
    def given(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def ask(self) -> None:
        """Ask nothing."""


class Watchdog:
    """Gives the manager signs of life, from the thread that calls `look` every `pause` seconds.

    `pulses` are those of the threads that have begun, as of now.
    """

    def __init__(self, manager: ServiceManager, pulses: Callable[[], Iterable[Pulse]]) -> None:
        self._manager = manager
        self._pulses = pulses
        self._asked: list[Pulse] = []
        self._since = time.monotonic()
        """When they were asked."""
        self._said = False
        self.pause = None if manager.period is None else manager.period / _SIGNS
        """Seconds between looks; None: nobody wants a sign."""

    def look(self) -> None:
        """Give a sign and ask anew if every thread has done its turn; else say which has not."""
        if self.pause is None:
            return
        late = [pulse.name for pulse in self._asked if not pulse.given]
        now = time.monotonic()
        if late:
            if not self._said and now - self._since > 2 * self.pause:
                self._said = True
                log.error("no sign of life for %.0f s of: %s", now - self._since, ", ".join(late))
            return
        self._manager.alive()
        self._since, self._said = now, False
        self._asked = list(self._pulses())
        for pulse in self._asked:
            pulse.ask()
