"""The manual, built once; and a demo into which its lines are typed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faces.demo_lab import lab_of, opened_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faces.demo_lab import Lab

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class BuiltPage(HTMLParser):
    """What a built page has: its links, what they may lead to, the words that it defines, its text."""

    path: Path
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)
    text: str = ""
    _term: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))
        self.words = [word.partition(" (")[0] for word in self.words]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag links to, or may be linked by."""
        told = dict(attrs)
        self.links += [told["href"] or ""] if tag == "a" and "href" in told else []
        self.anchors |= {told["id"] or ""} if "id" in told else set()
        self._term = tag == "dt" or (self._term and tag != "dd")
        self.words += [""] if tag == "dt" else []

    def handle_endtag(self, tag: str) -> None:
        """A term ends."""
        self._term = self._term and tag != "dt"

    def handle_data(self, data: str) -> None:
        """Note text, and a term's."""
        self.text += data
        if self._term:
            self.words[-1] += data


def build(builder: str, folder: Path) -> Path:
    """Run the command of the README."""
    done = subprocess.run(
        [sys.executable, "-m", "mcshell.docs", builder, "-o", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == f"{folder / builder}\n"
    return folder / builder


@pytest.fixture(scope="session")
def manual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BuiltPage]:
    """Its pages, by their place (`howto/run-a-plan`)."""
    folder = build("html", tmp_path_factory.mktemp("docs"))
    found = {str(p.relative_to(folder).with_suffix("")): p for p in folder.rglob("*.html")}
    return {place: BuiltPage(path) for place, path in found.items()}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A demo of 25, for all who leave its machines as they are."""
    with opened_demo(tmp_path_factory.mktemp("demo") / "lab") as folder:
        yield folder


@pytest.fixture
def lab(demo: Path, tmp_path: Path) -> Lab:
    """The demo, and a new folder to stand in."""
    return lab_of(demo, tmp_path / "work")


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """A new demo for one test alone."""
    with opened_demo(tmp_path / "lab") as demo:
        yield lab_of(demo, tmp_path / "work")
