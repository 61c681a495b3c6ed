"""The file that Prometheus' node exporter reads: always whole, and no trouble to whoever writes it.

It is made anew beside itself and put in its place by a rename. A full disk, a folder that is missing
or may not be written is a line in the log, once for each reason; the old file stays and grows old, which
an alert sees.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final

from mcshell.errors import MCShellError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.config.sections import Measured

__all__ = ["MetricsFile", "MetricsThread"]

log = logging.getLogger(__name__)

_MODES: Final = {"group": 0o640, "all": 0o644}


class MetricsFile:
    """One file, for one thread; `write` never raises over the disk."""

    def __init__(self, path: Path, readers: str) -> None:
        self.path = path
        self._mode = _MODES[readers]
        self._why = ""
        """What was last said to be wrong."""

    def write(self, make: Callable[[], str]) -> bool:
        """Replace it by the text that is made; whether it was, and else the log has why not."""
        try:
            self._replace(make().encode())
        except OSError as error:
            return self._failed(error.strerror or str(error))
        except MCShellError as error:
            return self._failed(str(error))
        except Exception:  # whoever watches must not end what is watched
            log.exception("%s: the figures could not be taken", self.path)
            return False
        if self._why:
            log.warning("%s: it is written again", self.path)
        self._why = ""
        return True

    def remove(self) -> None:
        """Have no file: what was measured is over."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: it stays: %s", self.path, error.strerror)

    def _failed(self, why: str) -> bool:
        if why != self._why:
            log.error("%s: the metrics are not written: %s", self.path, why)
        self._why = why
        return False

    def _replace(self, text: bytes) -> None:
        # Not *.prom, so that nobody reads it; of this process alone, and never through a link.
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        try:
            with fresh.open("xb", buffering=0) as file:
                os.fchmod(file.fileno(), self._mode)
                rest = memoryview(text)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())  # a rename outlives a power cut, what it names might not
            fresh.replace(self.path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


class MetricsThread:
    """Writes a process's metrics every so often, from a thread of its own.

    No thread that serves waits for the disk, and none that is held up keeps the figures back.
    """

    def __init__(self, settings: Measured, make: Callable[[], str], *, first: float = 0.0) -> None:
        """`first`: seconds until the first time."""
        self._path = settings.metrics
        self._every = settings.metrics_every
        self._first = first
        self._make = make
        self._readers = settings.metrics_readers
        self._stopped = threading.Event()
        self._written = False
        self._thread = threading.Thread(target=self._run, name="mcshell-metrics", daemon=True)

    def start(self) -> None:
        """Begin, where a file is wished for."""
        if self._path is not None:
            self._thread.start()

    def stop(self, *, remove: bool = False) -> None:
        """Write no more; `remove` what was written, if anything was."""
        self._stopped.set()
        if self._path is None or not self._thread.is_alive():
            return
        self._thread.join(5.0)
        if remove and self._written:
            MetricsFile(self._path, self._readers).remove()

    def _run(self) -> None:
        assert self._path is not None, "`start` has looked"
        file = MetricsFile(self._path, self._readers)
        pause = self._first
        while not self._stopped.wait(pause):
            self._written = file.write(self._make) or self._written
            pause = self._every
