"""`python -m mcshell.docs`: the manual as HTML, or as man pages, by sphinx.

The pages are put together in the output folder, those of the reference from the code as it is; there
sphinx builds them. A warning, such as a link that leads nowhere, is an error.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from mcshell.commands.grammar.parser import help_text
from mcshell.commands.grammar.verbs import VERBS
from mcshell.docs import markdown, pages

_WIDTH = "96"
_SECTION = re.compile(r"\N{SECTION SIGN}(\d+)")


def main() -> int:
    """Build it; sphinx's exit code."""
    parser = argparse.ArgumentParser(prog="python -m mcshell.docs", description=__doc__)
    parser.add_argument("builder", nargs="?", default="html", choices=("html", "man"))
    parser.add_argument("-o", "--out", type=Path, default=Path("build/docs"), metavar="DIR")
    said = parser.parse_args()
    try:
        from sphinx.cmd.build import build_main  # noqa: PLC0415 - it may be missing
    except ImportError:
        parser.error("sphinx is not here: pip install 'mcshell[docs]'")
    source = said.out / "source"
    put_together(source)
    cache, target = str(said.out / f"{said.builder}.cache"), str(said.out / said.builder)
    options = ["-q", "-W", "-n", "--keep-going", "-E", "-d", cache, "-b", said.builder]
    code: int = build_main([*options, str(source), target])
    if not code:
        sys.stdout.write(f"{target}\n")
    return code


def put_together(source: Path) -> None:
    """Write all that sphinx reads into a folder, anew."""
    shutil.rmtree(source, ignore_errors=True)
    for path in (pages.FOLDER / "conf.py", *pages.FOLDER.rglob("index.md")):
        copy = source / path.relative_to(pages.FOLDER)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    found = pages.pages()
    sections = {
        number: page.name for page in found for number in re.findall(r"^# (\d+)\. ", page.text)
    }
    texts = {page.place: page.text for page in found} | {"reference/verbs": _verbs()}
    for place, text in texts.items():
        if place.startswith("explanation/"):
            text = markdown.prose(text, lambda line: _linked(line, sections))  # noqa: PLW2901 - the same text, with links
        (source / f"{place}.md").write_text(text, encoding="utf-8")


def _linked(line: str, sections: dict[str, str]) -> str:
    """Sections that are named by number, as links to their pages."""

    def link(found: re.Match[str]) -> str:
        name = sections.get(found[1])
        return f"[{found[0]}]({name}.md)" if name else found[0]

    return _SECTION.sub(link, line)


def _verbs() -> str:
    """Every verb, as `help VERB` shows it."""
    os.environ["COLUMNS"] = _WIDTH  # of the help's lines; nobody else is in this process
    parts = ["# Verbs\n", f"```text\n{help_text()}```\n"]
    for verb in VERBS.values():
        text = help_text(verb.name.split(), face=verb.only or "cli")
        parts.append(f"## {verb.name}\n\n```text\n{text}```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
