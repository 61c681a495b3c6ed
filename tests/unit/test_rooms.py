"""Rooms that a newcomer can look over: how many modules a folder has, how long they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mcshell"
MODULES = 16
LINES = 600
LARGE = {"commands/verbs": "a file a verb"}
"""Folders that may hold more, and why."""


def modules() -> dict[str, int]:
    """The lines of each module, by its path in the package."""
    return {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }


def test_no_folder_has_more_modules_than_a_page_shows():
    """Flat files, `__init__` aside; a folder that may hold more does."""
    paths = [Path(name) for name in modules() if Path(name).name != "__init__.py"]
    assert len(paths) > 200
    flat = Counter(str(path.parent) for path in paths)
    large = {folder for folder, count in flat.items() if count > MODULES}
    assert large == LARGE.keys(), {folder: flat[folder] for folder in large}


def test_no_module_is_too_long_to_be_read():
    """At most 600 lines."""
    assert {name: lines for name, lines in modules().items() if lines > LINES} == {}
