"""A log of which each record is a line, whatever those at the other end of the wire have said in it."""

from __future__ import annotations

import logging

from mcshell.errors import printable

__all__ = ["LogLines", "log_in_lines"]


class LogLines(logging.Formatter):
    """A line a record: what others have said in it begins no line of its own, and acts on no terminal.

    Tracebacks follow it, indented.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record's own line."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it."""
        line, *rest = super().format(record).split("\n")
        return "\n".join([line, *(f"  {printable(one)}" for one in rest)])


def log_in_lines() -> None:
    """Have warnings that no handler takes, which Python writes to standard error, be such lines too."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LogLines())
