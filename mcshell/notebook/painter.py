"""Live displays in a kernel: one thread draws all of them, at most four times a second.

A display is published once, in the cell that is running, and updated by its id from then on, also
when that cell has long ended. Drawing takes a bounded share of a core: after each round the
thread rests for at least 25 times what the round has cost.
"""

from __future__ import annotations

import contextvars
import logging
import math
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mcshell.notebook.display import bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import FindReplies

__all__ = ["Painter"]

log = logging.getLogger(__name__)

_EVERY = 0.25
_REST = 25
_AFTER = 0.5
_FLUSH = 2.0
_TICK = 1.0


class _Picture:
    """One display: what it shows, and what of it is drawn already."""

    def __init__(
        self, find: Callable[[], Replies | None], due: float = 0.0, tick: float = math.inf
    ) -> None:
        self.find = find
        self.due = due  # monotonic: not shown before
        self.tick = tick  # seconds after which it is drawn again though nothing has come
        self.id = uuid.uuid4().hex
        self.shown = False
        self.over = False  # the wait has ended; what was shown gets a last drawing
        self.drawn = (-1, False)  # the revision that was drawn, and whether the wait was over
        self.at = 0.0  # monotonic: when that was
        self.replies: Replies | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be drawn: the last state is there, or it was never shown."""
        if not self.over:
            return False
        replies = self.replies
        return not self.shown or replies is None or self.drawn == (replies.tracker.revision, True)

    @property
    def stale(self) -> bool:
        """Whether it shows what is not so any more."""
        replies = self.replies
        if replies is None or (self.over and not self.shown):
            return False
        news = replies.done or self.drawn != (replies.tracker.revision, self.over)
        return news or time.monotonic() - self.at >= self.tick


class Painter:
    """Keeps displays up to date. `publish(data, display id, is update)` is the kernel's."""

    def __init__(self, publish: Callable[[Mapping[str, str], str, bool], None]) -> None:
        self._publish = publish
        self._lock = threading.Condition()
        self._pictures: list[_Picture] = []
        self._thread: threading.Thread | None = None
        self._hurry = False
        self._rounds = 0
        self.cost = 0.0

    def show(self, replies: Replies) -> None:
        """Show a request here and now, and keep its display up to date until it is done."""
        picture = _Picture(lambda: replies)
        self._draw(picture)
        if not picture.over:
            self._add(picture)

    @contextmanager
    def progress(self, find: FindReplies) -> Iterator[None]:
        """Show what is waited for, once it is there and takes longer than half a second."""
        picture = _Picture(find, time.monotonic() + _AFTER, _TICK)
        self._add(picture)
        try:
            yield
        finally:
            picture.over = True
            if picture.shown:
                self.flush()

    def flush(self, *_: Any) -> None:
        """Have everything drawn that has changed, and wait for it: a cell has ended."""
        with self._lock:
            if self._thread is None or threading.current_thread() is self._thread:
                return
            self._hurry = True
            self._lock.notify_all()
            goal = self._rounds + 2  # the round under way may have begun before the change
            self._lock.wait_for(lambda: self._thread is None or self._rounds >= goal, _FLUSH)
            self._hurry = False

    def stop(self) -> None:
        """End the thread; displays stay as they are."""
        with self._lock:
            self._pictures.clear()
            self._lock.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=5)

    def _add(self, picture: _Picture) -> None:
        with self._lock:
            self._pictures.append(picture)
            if self._thread is None:
                # A context of its own: the kernel then takes the running cell for the parent.
                run = contextvars.Context().run
                thread = threading.Thread(
                    target=run, args=(self._run,), name="mcshell-painter", daemon=True
                )
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        pause = _EVERY
        while True:
            with self._lock:
                if not self._hurry:
                    self._lock.wait(pause)
                self._pictures = [one for one in self._pictures if not one.ended]
                pictures = list(self._pictures)
                if not pictures:
                    self._thread = None
                    self._rounds += 1
                    self._lock.notify_all()
                    return
            began = time.thread_time()
            for picture in pictures:
                self._look(picture)
            cost = time.thread_time() - began
            self.cost += cost
            pause = max(_EVERY, _REST * cost)
            with self._lock:
                self._rounds += 1
                self._lock.notify_all()

    def _look(self, picture: _Picture) -> None:
        """Draw what has changed, if it is time; a display that fails is given up."""
        try:
            if picture.replies is None:
                if time.monotonic() < picture.due or picture.over:
                    return
                picture.replies = picture.find()
            if picture.stale:
                self._draw(picture)
        except Exception:
            log.exception("the display of a request is given up")
            picture.over, picture.shown = True, False

    def _draw(self, picture: _Picture) -> None:
        replies = picture.replies = picture.replies or picture.find()
        assert replies is not None
        revision, given_up = replies.tracker.revision, picture.over
        over = given_up or replies.done
        self._publish(bundle(replies, given_up=given_up), picture.id, picture.shown)
        picture.shown = True
        picture.drawn, picture.at = (revision, over), time.monotonic()
        picture.over = picture.over or over
