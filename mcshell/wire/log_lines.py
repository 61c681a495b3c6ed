"""A log of which each record is a line, whatever those at the other end of the wire have said in it."""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import TextIO

from mcshell.errors import printable
from mcshell.wire.log_stream import LogStream, log_to_standard_error

__all__ = ["JSONFormatter", "LogLines", "begin_log", "log_in_lines", "said_in_json", "say"]


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


class JSONFormatter(logging.Formatter):
    """One JSON object a record: time (epoch), level, logger, message, and a traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as a line of JSON."""
        found = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found)


class _LogHandler(logging.StreamHandler[TextIO]):
    """Writes records, and says of those that nobody took how much they were."""

    def __init__(self, stream: TextIO, raw: LogStream | None) -> None:
        super().__init__(stream)
        self._raw = raw

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; where standard error takes it, tell what it has not taken."""
        super().emit(record)
        if self._raw is not None and self._raw.taking and self._raw.lost:
            lost, self._raw.lost = self._raw.lost, 0
            text = f"{lost} bytes of this log are lost: standard error took nothing"
            super().emit(_record(logging.WARNING, text))


def begin_log(level: str, *, as_json: bool) -> None:
    """Log to standard error from `level` on, a line a record: also what Python would write there itself.

    What it does not take within a second is lost, and told: a log holds up no service.
    """
    handler = _LogHandler(*log_to_standard_error())
    plain = LogLines("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JSONFormatter() if as_json else plain)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_died


def say(line: str) -> None:
    """Write a line to standard error for whoever started us, as JSON where the log is.

    No level hides it.
    """
    if not said_in_json(line, logging.INFO):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def said_in_json(line: str, level: int = logging.ERROR) -> bool:
    """Write a line as JSON if the log is; whether it is."""
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, JSONFormatter) for handler in root.handlers):
        return False
    root.handle(_record(level, line))
    return True


def _record(level: int, line: str) -> logging.LogRecord:
    return logging.getLogger().makeRecord("mcshell", level, "", 0, line, (), None)


def log_in_lines() -> None:
    """Have warnings that no handler takes, which Python writes to standard error, be such lines too."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LogLines())


def _thread_died(told: threading.ExceptHookArgs) -> None:
    """Log what ended a thread."""
    if told.exc_type is not SystemExit and told.exc_value is not None:
        name = told.thread.name if told.thread else "?"
        trace = (told.exc_type, told.exc_value, told.exc_traceback)
        logging.getLogger("mcshell").error("the thread %s has died", name, exc_info=trace)
