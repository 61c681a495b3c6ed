"""Mutated bodies: an error or plain data, never a crash, a hang, a big allocation or an object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def fuzz(count: int, seed: int, seconds: float) -> dict[str, float]:
    """Run the fuzzer in a process of its own, limited by the kernel."""
    argv = [sys.executable, "-m", "tests.mcollective.fuzz", str(count), str(seed)]
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, float] = json.loads(done.stdout)
    return result


@pytest.mark.timeout(300)
def test_mutated_bodies_are_errors_or_plain_data() -> None:
    """5,000 mutated Marshal and YAML bodies, within limits of memory and time."""
    assert fuzz(5_000, 1, 280)["read"] > 200


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_mutated_bodies() -> None:
    """100,000 of them, from another seed."""
    assert fuzz(100_000, 2, 3500)["read"] > 4_000
