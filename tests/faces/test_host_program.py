"""What a program is that uses mcshell: its signals, hooks, log and environment are its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.peers.fleet import Fleet

PROGRAM = Path(__file__).with_name("host_program.py")


def test_a_program_that_asks_stays_as_it_is(echoes: Fleet) -> None:
    """Handlers, hooks, logging, locale, umask, environment and streams are as before, with -W error too."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(PROGRAM)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={name: text for name, text in echoes.environ.items() if not name.startswith("STOMP")},
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")
