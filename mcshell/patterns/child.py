"""Asks a child process what RE2 cannot say: only for patterns from files that we obey anyway."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

from mcshell.patterns.child_main import FOUND, NOT_FOUND

__all__ = ["found_in_child"]

_PROGRAM: Final = Path(__file__).with_name("child_main.py")
_WAIT: Final = 10.0
"""Seconds of wall clock: a machine under load gives the child its processor late."""


@lru_cache(maxsize=64)
def found_in_child(pattern: str, flags: int, text: str) -> bool | None:
    """Whether `re` finds it within 0.1 s of processor; None when it cannot be told."""
    asked = json.dumps({"pattern": pattern, "flags": flags, "text": text})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_PROGRAM)],
            input=asked.encode("ascii"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_WAIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {FOUND: True, NOT_FOUND: False}.get(done.returncode)
