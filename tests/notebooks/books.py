"""The notebooks of the project, executed against a demo fleet.

Run `python tests/notebooks/books.py` to execute them all and keep their outputs in place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BOOKS", "ROOT", "demo", "execute"]

ROOT = Path(__file__).resolve().parents[2]
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

_READY = 120.0


@contextmanager
def demo(folder: Path) -> Iterator[dict[str, str]]:
    """25 emulated nodes and this host, kept in `folder`; the environment of who joins them.

    The demo lives as long as its standard input is open.
    """
    environ = {name: text for name, text in os.environ.items() if not name.startswith("MCSHELL_C")}
    environ |= {"PYTHONPATH": str(ROOT), "MCSHELL_CONFIG": str(folder / "mcshell.toml")}
    with subprocess.Popen(
        [sys.executable, "-m", "mcshell", "demo", "--dir", str(folder), "--nodes", "25"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        start_new_session=True,
    ) as child:
        said: list[str] = []
        up = threading.Event()
        reader = threading.Thread(target=_listen, args=(child, said, up), daemon=True)
        reader.start()
        try:
            assert up.wait(_READY), said
            assert any("join with" in line for line in said), said
            yield environ
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(60)
            reader.join(10)


def _listen(child: subprocess.Popen[str], said: list[str], up: threading.Event) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        said.append(line)
        if "join with" in line:
            up.set()
    up.set()


def execute(path: Path, environ: dict[str, str]) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run; a cell that fails raises."""
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=120, kernel_name="python3", record_timing=False).execute(
        env=environ
    )
    return book


def main() -> None:
    """Execute all of them and keep the outputs."""
    with tempfile.TemporaryDirectory(prefix="mcshell-books-") as folder:
        for path in BOOKS:
            place = Path(folder) / path.stem
            place.mkdir()
            with demo(place) as environ:
                nbformat.write(execute(path, environ), path)


if __name__ == "__main__":
    main()
