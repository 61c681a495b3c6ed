"""README's tour in Python does what it says, on machines of which two missed an update."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tasks.machines import BEHIND, NEW, OLD

if TYPE_CHECKING:
    from tests.tasks.machines import Machines

pytestmark = pytest.mark.timeout(240)

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_tour_of_the_readme(machines: Machines, tmp_path: Path) -> None:
    """It folds the versions, and updates the odd ones out, and them alone."""
    folder = machines.monday_at(tmp_path)
    tour = README.read_text(encoding="utf-8").partition("## A tour\n")[2]
    code = tour.partition("```python\n")[2].partition("```")[0]
    line = 'df.mco.fold("version")'
    assert line in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace(line, f"print({line})")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
        env={**machines.environ, "MCSHELL_STATE": str(folder / "state")},
    )
    assert done.returncode == 0, done.stderr
    (odd,) = [line for line in done.stdout.splitlines() if "web[03,07]" in line]
    assert OLD in odd
    assert {name: machines.version(name) for name in BEHIND} == dict.fromkeys(BEHIND, NEW)
