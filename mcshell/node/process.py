"""The word that tells whoever started a service that it serves."""

from __future__ import annotations

import sys

__all__ = ["say_ready"]


def say_ready() -> None:
    """Write `ready` to standard error (DESIGN §12)."""
    sys.stderr.write("ready\n")
    sys.stderr.flush()
