"""The script on a small project of its own: a mutant that a test sees, and one that none sees."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.mutants.__main__ import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''\
"""What is tried."""


def whole(number: int) -> bool:
    """Whether it is above nothing."""
    return number > 0


def unseen(number: int) -> bool:
    """Nobody looks at this one."""
    return number > 0
'''
TESTS = """\
from mcshell.tried import whole


def test_whole():
    assert whole(1)
    assert not whole(0)
"""
TESTED = "tests"
TRIED = f"{TESTED}/test_tried.py"  # so written that nothing of ours is cited
TRIAL = """\
import sys
from pathlib import Path
from tests.mutants.__main__ import Bench
from tests.mutants.mutations import mutations

folder = Path(sys.argv[1])
bench = Bench(folder / "project", folder / "copies", 2)
text = (folder / "project" / "mcshell" / "tried.py").read_text()
every = [one for some in mutations(text, {}).values() for one in some]
left = bench.unnoticed("mcshell/tried.py", every, [sys.argv[2]])
print(*(f"{one.function} {one.kind}" for one in left), len(every), sep="\\n")
"""


def test_a_planted_mutant_is_noticed_and_one_that_no_test_sees_is_told(tmp_path: Path) -> None:
    """Every change of what is tested is seen, none of the other; the project itself is untouched."""
    project = tmp_path / "project"
    for name, text in {
        "mcshell/__init__.py": "",
        "mcshell/tried.py": MODULE,
        TRIED: TESTS,
        "pyproject.toml": "[tool.pytest.ini_options]\n",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    (tmp_path / "copies").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, str(tmp_path), TRIED],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
    )
    assert done.returncode == 0, done.stderr
    *left, count = done.stdout.splitlines()
    assert set(left) == {
        f"unseen {kind}" for kind in ("turned", "boundary", "constant", "return value")
    }
    assert int(count) == 8
    assert (project / "mcshell" / "tried.py").read_text() == MODULE
