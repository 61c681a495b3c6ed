"""Programs of the site's that run beside the CA's key: what decides, and what makes a broker reload.

What such a program leaves behind, as a broker that it has started, may hold its output open: so that is
a file, no pipe, and the program's own end counts.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mcshell.private import check_obeyed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_program"]

_MOST: Final = 1 << 20
"""Bytes that it may write."""
_LOOK: Final = 0.5


def run_program(
    argv: Sequence[str], *, stdin: bytes = b"", errors: bool = False, patience: float
) -> tuple[int, bytes]:
    """Run a program without a shell; its exit code, and what it wrote (with `errors` to standard error).

    Raises:
        OSError: it cannot be run, or others could change it; it was out of time or wrote too much, and
            was ended with its process group.
    """
    check_obeyed(shutil.which(argv[0]) or argv[0])
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            list(argv),
            stdin=given,
            stdout=subprocess.DEVNULL if errors else said,
            stderr=said if errors else subprocess.DEVNULL,
            start_new_session=True,
        )
        with process:
            try:
                _wait(process, said.fileno(), patience)
            finally:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, os.pread(said.fileno(), _MOST, 0)


def _wait(process: subprocess.Popen[bytes], said: int, patience: float) -> None:
    """Wait until it ends; raises OSError where it does not in time, or writes too much."""
    until = time.monotonic() + patience
    while process.poll() is None:
        if os.fstat(said).st_size > _MOST:
            raise OSError(errno.EFBIG, f"it wrote more than {_MOST >> 20} MiB")
        left = until - time.monotonic()
        if left <= 0:
            raise OSError(errno.ETIMEDOUT, f"it was not done within {patience:g} s")
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(_LOOK, left))
