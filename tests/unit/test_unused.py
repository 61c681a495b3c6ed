"""What is imported and not used is not loaded; whoever imports it for himself has it as ever."""

from __future__ import annotations

import base64
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from mcshell.unused import unused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that nobody has imported."""
    (tmp_path / "rarely.py").write_text("import user_of_rarely\nVALUE = object()\n")
    (tmp_path / "user_of_rarely.py").write_text(
        "import rarely\n\ndef value():\n    return rarely.VALUE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("rarely", "user_of_rarely"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "rarely"


def test_it_is_loaded_when_it_is_used(rarely):
    """By whoever has imported it within; until then nobody finds a stand-in in its place."""
    with unused(rarely):
        import user_of_rarely  # type: ignore[import-not-found]
    assert rarely not in sys.modules
    value = user_of_rarely.value()
    assert value is sys.modules[rarely].VALUE
    assert type(sys.modules[rarely]) is ModuleType


def test_threads_that_use_it_at_once_load_one(rarely):
    """Each waits until it is there, whichever began."""
    with unused(rarely):
        import user_of_rarely
    together, found = threading.Barrier(8), []

    def use() -> None:
        together.wait(60)
        found.append(user_of_rarely.value())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_what_is_needed_at_once_is_loaded(rarely):
    """A name that is taken from it within is the module's own."""
    with unused(rarely):
        from rarely import VALUE  # type: ignore[import-not-found]
    assert VALUE is sys.modules[rarely].VALUE


def test_what_is_there_already_stays():
    """And is used as it is."""
    with unused("base64", "no.such.module"):
        assert sys.modules["base64"] is base64
    assert sys.modules["base64"] is base64
    assert "no.such.module" not in sys.modules
