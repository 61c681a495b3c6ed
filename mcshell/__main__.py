"""`python -m mcshell`: the command line."""

from __future__ import annotations

import sys

from mcshell.shell.cli import main

if __name__ == "__main__":
    sys.exit(main())
