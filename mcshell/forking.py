"""What a child of fork(2) inherits of us, and must neither use nor hold.

Threads are not there in the child; sockets, locks of files and SQLite's are, and would keep a
session held, or be damaged, by a process that knows nothing of it. So each is registered here. No
thread is inside SQLite when a process forks; the child then closes what it has inherited, and
whoever uses it there gets ForkedClient at once.

A child that runs another program (`subprocess`) inherits nothing: all of it is closed on exec.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.errors import ForkedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Inherited", "check", "generation", "hold", "in_child"]

_PATIENCE: Final = 10.0
"""Seconds that a fork waits for a commit under way."""


class Inherited(Protocol):
    """What a child of fork(2) would hold."""

    def rest(self, timeout: float) -> bool:
        """Before the fork: come to rest, and stay so; False when that takes too long (seconds)."""

    def go_on(self) -> None:
        """After it, in the parent: where `rest` was true."""

    def let_go(self) -> None:
        """After it, in the child: close it, without a word to anybody; where `rest` was true."""


class _Forks(threading.local):
    """Who rests for the fork that this thread makes."""

    resting: tuple[Inherited, ...] = ()


_generation = 0
_held: dict[int, weakref.ref[Any]] = {}
_forks = _Forks()


def generation() -> int:
    """Which process this is, counted from the first: one more in each child."""
    return _generation


def check(process: int) -> None:
    """Refuse what was made in an earlier `generation`; raises ForkedClient."""
    if process != _generation:
        raise ForkedClient


def hold(one: Inherited) -> None:
    """Have a child let go of it, for as long as it is there."""
    number = id(one)
    _held[number] = weakref.ref(one, lambda _gone: _held.pop(number, None))


def in_child(work: Callable[[], None]) -> None:
    """Have something done in each child, such as a lock made anew whose holder is not there."""
    os.register_at_fork(after_in_child=work)


def _all() -> Iterator[Inherited]:
    for reference in list(_held.values()):
        if (one := reference()) is not None:
            yield one


def _before() -> None:
    _forks.resting = tuple(one for one in _all() if one.rest(_PATIENCE))


def _in_parent() -> None:
    resting, _forks.resting = _forks.resting, ()
    for one in resting:
        one.go_on()


def _in_child() -> None:
    global _generation  # noqa: PLW0603 - of the whole process
    _generation += 1
    resting, _forks.resting = _forks.resting, ()
    for one in resting:
        one.let_go()
    _held.clear()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
