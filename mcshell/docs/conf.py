"""What sphinx is told; `python -m mcshell.docs` copies it beside the pages that it has made."""

from __future__ import annotations

from pathlib import Path

from mcshell.docs import pages
from mcshell.version import VERSION

project = "mcshell"
author = "the mcshell founders"
copyright = f"{author}; Apache-2.0"  # noqa: A001 - sphinx's name
version = release = VERSION

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
nitpicky = True
smartquotes = False  # the text is the terminal's, too

html_theme = "furo"
html_title = f"mcshell {VERSION}"
html_copy_source = False
html_show_sphinx = False

_MANUAL = 7
_SECTIONS = {"verbs": 1, "settings": 5, "forms": 5}
"""Sections of the man pages that are none of words (7); the verbs' page is called mcshell."""


def _man_page(place: str) -> tuple[str, str, str, list[str], int]:
    name = Path(place).name
    title = (Path(__file__).parent / f"{place}.md").read_text(encoding="utf-8").partition("\n")[0]
    called = "mcshell" if name == "verbs" else f"mcshell-{name}"
    return place, called, title.removeprefix("# "), [author], _SECTIONS.get(name, _MANUAL)


man_pages = [
    _man_page(place) for place in ("reference/verbs", *(page.place for page in pages.pages()))
]
