"""What a loop outlives and only writes into its log: of a fault in the code nobody else would hear.

A loop of mcshell takes what it cannot foresee for a bad moment: it logs, and tries again. In a run
that would look as if replies were late for ever.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from mcshell.errors import MCShellError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.green import Scheduler

__all__ = ["logged_errors"]

EXPECTED: Final = (MCShellError, OSError, sqlite3.Error)
"""What a simulated disk or line may well lead to."""


class _Handler(logging.Handler):
    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(logging.ERROR)
        self._scheduler = scheduler

    def emit(self, record: logging.LogRecord) -> None:
        current = self._scheduler.current
        error = record.exc_info[1] if record.exc_info else None
        alive = current is not None and current.process.alive
        if alive and isinstance(error, Exception) and not isinstance(error, EXPECTED):
            self._scheduler.flaws.append(f"{current.process} logged: {self.format(record)}")


@contextmanager
def logged_errors(scheduler: Scheduler) -> Iterator[None]:
    """Have each error that mcshell logs be a flaw of the run, but for what is expected; all else is dropped."""
    logger = logging.getLogger("mcshell")
    handler = _Handler(scheduler)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    logger.addHandler(handler)
    try:
        with patch.object(logger, "propagate", False):
            yield
    finally:
        logger.removeHandler(handler)
        logging.disable(before)
