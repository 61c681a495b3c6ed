"""The notebooks in `notebooks/` run on a demo fleet, and are committed as they ran."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.notebooks.books import BOOKS, execute

if TYPE_CHECKING:
    from pathlib import Path

    from tests.notebooks.conftest import Demo

MOST = 200_000
each = pytest.mark.parametrize("path", BOOKS, ids=[path.stem for path in BOOKS])


@each
@pytest.mark.timeout(240)
def test_it_runs(path: Path, demo: Demo) -> None:
    """Every cell runs without an error or a warning, and what a reader is told to see is there."""
    book = execute(path, demo.environ)
    texts = " ".join(shown(book))
    assert "Error" not in texts
    assert "Warning" not in texts, texts
    assert "web" in texts


@each
def test_it_is_committed_as_it_ran(path: Path) -> None:
    """Outputs are there, small, without scripts, and without a trace of the machine they ran on."""
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert path.stat().st_size < MOST
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|/tmp/|/home/|/root|localhost\.|/work", text)
    assert "<progress" not in " ".join(shown(book))
    for cell in book.cells:
        assert "execution" not in cell.metadata, "times of the run are noise"


def shown(book: Any) -> list[str]:
    """All text that the outputs hold."""
    outputs = [one for cell in book.cells for one in cell.get("outputs", [])]
    bundles = [one.get("data", {}) for one in outputs]
    return [
        *(str(bundle[kind]) for bundle in bundles for kind in bundle if kind.startswith("text/")),
        *(str(one.get("text", "")) for one in outputs),
    ]
