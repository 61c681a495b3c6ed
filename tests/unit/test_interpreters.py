"""Which Pythons the unit tests are run on (`tests/interpreters.py`)."""

from __future__ import annotations

import sys

import pytest

from tests import interpreters

HERE = "{}.{}".format(*sys.version_info)


def test_an_interpreter_that_does_not_run_is_passed_over(tmp_path, monkeypatch):
    """A shim that only says "command not found" hides no real one behind it."""
    shims, real = tmp_path / "shims", tmp_path / "real"
    for folder in (shims, real):
        folder.mkdir()
    (shims / f"python{HERE}").write_text("#!/bin/sh\necho command not found >&2\nexit 127\n")
    (shims / f"python{HERE}").chmod(0o755)
    (real / f"python{HERE}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{shims}:{real}")
    found = interpreters.find(HERE)
    assert (found.version, found.path) == (
        "{}.{}.{}".format(*sys.version_info),
        real / f"python{HERE}",
    )


def test_a_version_that_is_not_here_is_told_apart_from_a_failure(tmp_path, monkeypatch):
    """Neither another version under its name nor nothing at all is run."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "python3.99").symlink_to(sys.executable)
    for version in ("3.99", "3.98"):
        with pytest.raises(interpreters.NotRun, match="not here"):
            interpreters.find(version)
