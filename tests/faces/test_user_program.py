"""The types of what a program may call, as mypy tells whoever writes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("user_program.py")
PANDAS = "[mypy]\n[mypy-pandas.*,numpy.*]\nfollow_imports = skip\nfollow_imports_for_stubs = true\n"


@pytest.mark.timeout(180)
def test_a_user_s_program_is_well_typed(tmp_path: Path) -> None:
    """mypy, strict, takes all that the manual says may be given, and tells what may not."""
    config = tmp_path / "mypy.ini"
    config.write_text(PANDAS)
    said = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--allow-any-unimported"),
            *("--config-file", config, "--cache-dir", tmp_path, PROGRAM),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.startswith("Success"), said.stdout + said.stderr
