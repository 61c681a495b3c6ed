"""A bar on standard error while a request is waited for; only at a terminal, after half a second.

None is drawn from the background of the operator's shell: another types there.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tqdm import tqdm

    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import FindReplies

__all__ = ["ProgressBar"]

_BYTES = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}]"

_AFTER = 0.5
_EVERY = 0.1
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} nodes [{elapsed}{postfix}]"


class ProgressBar:
    """Shows how the request under way stands; `on` is what F2 toggles."""

    def __init__(self, *, on: bool = True) -> None:
        self.on = on

    @contextmanager
    def __call__(self, find: FindReplies) -> Iterator[None]:
        """Show it, once it is there, for as long as the context lasts."""
        if not self.on:
            yield
            return
        watcher = _Watcher(find)
        watcher.start()
        try:
            yield
        finally:
            watcher.stop()

    @contextmanager
    def copying(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """Gives who tells how many bytes of how many are copied; shown once it takes a while."""
        if not self.on:
            yield lambda _done, _total: None
            return
        from tqdm import tqdm  # noqa: PLC0415 - only what takes long needs it

        bar: tqdm[Any] = tqdm(
            total=1,
            desc=text,
            delay=_AFTER,
            unit="B",
            unit_scale=True,
            leave=False,
            dynamic_ncols=True,
            bar_format=_BYTES,
        )
        with bar:

            def tell(done: int, total: int) -> None:
                if _in_foreground():
                    bar.total = total
                    bar.update(done - bar.n)

            yield tell


class _Watcher(threading.Thread):
    """Draws the bar. The request itself is waited for in the main thread, where Ctrl-C comes."""

    def __init__(self, find: FindReplies) -> None:
        super().__init__(name="mcshell-progress", daemon=True)
        self._find = find
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End it, and take the bar away."""
        self._stopped.set()
        self.join(timeout=5)

    def run(self) -> None:
        """Wait half a second, then draw until it is stopped."""
        if self._stopped.wait(_AFTER):
            return
        bar: tqdm[Any] | None = None
        try:
            while not self._stopped.wait(_EVERY):
                replies = self._find()
                if replies is not None and _in_foreground():
                    bar = bar or _bar(replies)
                    _draw(bar, replies)
        finally:
            if bar is not None:
                bar.close()


def _in_foreground() -> bool:
    """Whether the terminal is ours; one that is no job's has nobody else who types."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return True


def _bar(replies: Replies) -> tqdm[Any]:
    from tqdm import tqdm  # noqa: PLC0415 - only what takes long needs it

    text = f"{replies.agent} {replies.action}"
    bar: tqdm[Any] = tqdm(
        total=int(replies.stats["targets"]),
        desc=text,
        leave=False,
        dynamic_ncols=True,
        bar_format=_FORMAT,
    )
    return bar


def _draw(bar: tqdm[Any], replies: Replies) -> None:
    stats = replies.stats
    waiting = ("pending", "received", "running")
    bar.n = int(stats["targets"] - sum(stats[state] for state in waiting))
    counts = {name: stats[name] for name in (*waiting, "failed", "denied", "silent") if stats[name]}
    bar.set_postfix(counts, refresh=False)
    bar.refresh()
