"""Which tests run which functions: seen once without a mutant, so that a mutant meets its own first."""

from __future__ import annotations

import json
import sys
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

__all__ = ["Only", "Touching"]


class Touching:
    """A plugin of pytest: writes, for each file and function of mcshell, the tests that called it."""

    def __init__(self, folder: Path) -> None:
        self._root = f"{folder}/"
        self._to = folder / "touched.json"
        self._found: dict[str, set[str]] = defaultdict(set)
        self._test = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Watch a test with its fixtures, in all its threads."""
        self._test = item.nodeid
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]

    def _called(self, frame: Any, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(self._root):
            function = code.co_qualname.partition(".<locals>")[0]
            self._found[f"{code.co_filename[len(self._root) :]}::{function}"].add(self._test)

    def pytest_sessionfinish(self) -> None:
        """Write it down."""
        found = {name: sorted(tests) for name, tests in self._found.items() if "mcshell/" in name}
        self._to.write_text(json.dumps(found), encoding="utf-8")


class Only:
    """A plugin of pytest: leaves only these tests, in their order; all where there are none."""

    def __init__(self, tests: Collection[str]) -> None:
        self._tests = set(tests)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the others."""
        if self._tests:
            items[:] = [item for item in items if item.nodeid in self._tests]
