"""The three streams of a process, as the shell has given them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CLOSED = """
import sys
from mcshell.shell.streams import StandardStreams
StandardStreams()
with open(sys.argv[1], "w") as file:
    sys.stderr.write("a warning\\n")
    sys.stderr.flush()
"""


def test_what_is_said_where_nobody_hears_goes_into_no_file(tmp_path: Path) -> None:
    """Without a standard error its number is nobody else's: what is opened later stays as it is."""
    path = tmp_path / "opened later"
    line = f'{sys.executable} -c "$0" "$1" 2>&-'
    subprocess.run(["bash", "-c", line, CLOSED, str(path)], check=True, timeout=60)
    assert path.read_text() == ""
