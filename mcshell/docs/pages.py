"""The manual's pages: which there are, and the text of each, of one source.

A page is a file in one of four folders, or is made from the code (`reference`). A line
`<!-- from DOCUMENT: SECTION -->` in it stands for a section of one of our documents (README.md,
mcshell/README.md …), `SECTION .. LEAD` for its part before a paragraph's bold lead, and without a
section for the whole document.
"""

from __future__ import annotations

import os.path
import re
from functools import cache
from pathlib import Path
from typing import Final

from mcshell.docs import markdown, reference
from mcshell.values import dataclass

__all__ = ["FOLDER", "Page", "document", "entry", "generated", "names", "page", "pages"]

FOLDER: Final = Path(__file__).resolve().parent
_PACKAGE: Final = FOLDER.parent
_PARTS: Final = ("tutorial", "howto", "reference", "explanation")
_FROM: Final = re.compile(
    r"<!-- from (?P<document>\S+?)(?:: (?P<first>.+?)(?: \.\. (?P<end>.+?))?)? -->"
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its name (`help NAME`), its place in the manual without the ending, its Markdown."""

    name: str
    place: str
    text: str

    @property
    def title(self) -> str:
        """What heads it."""
        return self.text.partition("\n")[0].removeprefix("# ")


def names() -> dict[str, str]:
    """The pages by name, each with its part of the manual."""
    files = {
        path.stem: part
        for part in _PARTS
        for path in sorted((FOLDER / part).glob("*.md"))
        if path.stem != "index"
    }
    return files | dict.fromkeys(reference.PAGES, "reference")


def generated(name: str) -> bool:
    """Whether a page is made from the code."""
    return name in reference.PAGES


@cache
def page(name: str) -> Page:
    """A page, with all that it takes from elsewhere.

    Raises:
        LookupError: there is none, or it names a section that is not there.
    """
    part = names()[name]
    place = f"{part}/{name}"
    if generated(name):
        return Page(name, place, reference.PAGES[name]().markdown())
    return Page(name, place, _FROM.sub(_taken, _written(name, part)))


def pages() -> list[Page]:
    """All of them."""
    return [page(name) for name in names()]


def entry(name: str) -> str:
    """What the reference says of a setting, a state, a reason …, as Markdown; nothing of none."""
    return reference.entry(name)


def document(name: str) -> str:
    """One of our documents, by its path in the repository.

    README.md is beside the package in a clone, and in this folder where mcshell is installed.
    """
    places = (FOLDER / name, _PACKAGE.parent / name)
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise LookupError(f"{name} is not there: install mcshell again")
    return found.read_text(encoding="utf-8")


def _written(name: str, part: str) -> str:
    return (FOLDER / part / f"{name}.md").read_text(encoding="utf-8")


def _taken(line: re.Match[str]) -> str:
    """The section that a line of a page stands for, its links leading into the manual."""
    name, first, end = line["document"], line["first"], line["end"] or ""
    text = document(name)
    text = markdown.between(text, first, end) if first else markdown.whole(text)
    return markdown.relinked(markdown.under(text, 2), lambda target: _place(name, target)).strip()


def _place(origin: str, target: str) -> str:
    """Where in the manual a link of a document leads; nothing where it leads out of it."""
    path, _, anchor = target.partition("#")
    name = os.path.normpath(Path(origin).parent / path) if path else origin
    found = _homes().get((name, anchor)) or _homes().get((name, ""))
    return f"../{found}.md" if found else ""


@cache
def _homes() -> dict[tuple[str, str], str]:
    """Which page has which section of a document: (document, anchor) to its place."""
    found: dict[tuple[str, str], str] = {}
    for name, part in names().items():
        if generated(name):
            continue
        for line in _FROM.finditer(_written(name, part)):
            text, first = document(line["document"]), line["first"]
            inside = markdown.between(text, first, line["end"] or "") if first else text
            headings = re.findall(r"^#+ (.+)$", inside, re.MULTILINE)
            for heading in (first or "", *headings):
                found.setdefault((line["document"], markdown.slug(heading)), f"{part}/{name}")
    return found
