"""One lab for all tests here: `mcshell demo --notebook`, and a browser that looks at it.

What drives the browser is imported in the fixtures: without Playwright the tests are skipped, and
the files are still read.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext

    from tests.peers.lab import Book, Lab

ROOT = Path(__file__).resolve().parents[2]
MCSHELL = [sys.executable, "-m", "mcshell"]
READY = 90.0


@dataclass
class Demo:
    """A demo with its lab, serving, and the folder it lives in."""

    folder: Path
    lab: Lab
    environ: dict[str, str]

    @contextmanager
    def more(self, name: str, count: int, delay: float) -> Iterator[None]:
        """More emulated nodes, NAME0001 and on, whose queued work takes up to `delay` seconds."""
        config = self.folder / f"{name}.toml"
        text = (self.folder / "node.toml").read_text()
        config.write_text(f'{text}[agents.emulate]\ndelay = "{delay}s"\n')
        words = ["--config", config, "--pki", self.folder / "pki", "--prefix", name]
        log = self.folder / "logs" / f"{name}.log"
        child = Child([*MCSHELL, "emulate", str(count), *words], log, self.environ)
        try:
            wait_until(lambda: not child.running or "ready" in child.tail(), READY)
            assert "ready" in child.tail(), child.tail()
            yield
        finally:
            child.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Broker, 25 emulated nodes and this host, as README starts them, with JupyterLab."""
    from tests.peers.lab import Lab

    folder = tmp_path_factory.mktemp("demo")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [*MCSHELL, "demo", "--notebook", "--dir", str(folder)]
    with Lab(argv, tmp_path_factory.mktemp("lab"), environ) as lab:
        yield Demo(folder, lab, environ)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, one for all tests here."""
    from tests.peers.lab import chromium

    with chromium() as browser:
        yield browser


@dataclass
class BrowserSession:
    """Where notebooks are opened, each in a window of its own; pictures go to `shots`."""

    demo: Demo
    context: BrowserContext
    shots: Path
    books: list[Book]

    def open(self, name: str, theme: str = "JupyterLab Light") -> Book:
        """The notebook of a name; an empty one where the demo has none."""
        from tests.peers.lab import Book, blank

        path = self.demo.folder / "notebooks" / f"{name}.ipynb"
        if not path.exists():
            blank(path)
        self.demo.lab.setting("apputils-extension/themes", {"theme": theme})
        self.books.append(Book(self.context.new_page(), self.demo.lab, path.name, self.shots))
        return self.books[-1]


@pytest.fixture
def browser_session(demo: Demo, browser: Browser, tmp_path: Path) -> Iterator[BrowserSession]:
    """A session with nothing open; what is open at the end has its picture taken."""
    from tests.peers.lab import SIZE

    browser_session = BrowserSession(demo, browser.new_context(viewport=SIZE), tmp_path, [])
    try:
        yield browser_session
    finally:
        for book in browser_session.books:
            book.shot("last")
        browser_session.context.close()
