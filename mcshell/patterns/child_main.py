"""The child that tries what RE2 cannot say: Python's `re`, with 0.1 s of processor.

Run as a file by `mcshell.patterns.child`; it imports nothing of ours. Standard input is a JSON
object with `pattern`, `flags` and `text`; the exit code says what was found.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys

FOUND, NOT_FOUND = 10, 11
"""Exit codes; any other, or a signal: it cannot be told."""

SECONDS = 0.1
MEMORY = 256 * 1024 * 1024
"""Of processor, and bytes of address space."""


def main() -> int:
    """Search once, and say by the exit code what came of it."""
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # Nobody handles the signal, so it ends the process in the midst of a search too.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    found = re.search(asked["pattern"], asked["text"], asked["flags"])
    return FOUND if found else NOT_FOUND


if __name__ == "__main__":
    sys.exit(main())
