"""Runs cells (JSON on standard input) in IPython, one after the other; a cell that fails ends it.

That nobody is left to ask again is an answer, as in a fleet where all is well.
"""

from __future__ import annotations

import json
import sys

from IPython.testing.globalipapp import start_ipython

from mcshell.errors import NoTargets


def main() -> int:
    """Run them; 1 when one fails."""
    shell = start_ipython()
    for cell in ["%load_ext mcshell\nimport mcshell\nclient = mcshell.connect()", *cells()]:
        print(f"@@ {cell}")
        result = shell.run_cell(cell)
        if not (result.success or isinstance(result.error_in_exec, NoTargets)):
            return 1
    return 0


def cells() -> list[str]:
    """What came in."""
    found: list[str] = json.loads(sys.stdin.read())
    return found


sys.exit(main())
