"""Log records as JSON lines, for whoever collects a service's standard error."""

from __future__ import annotations

import json
import logging

__all__ = ["JSONFormatter"]


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
