"""The documents name only files and folders that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mcshell"
# Where a path may begin: beside the document, or in a room that it is about (`messaging/hub`).
ROOMS = (ROOT, PACKAGE, *(PACKAGE / name for name in ("client", "commands", "node", "wire")))
FOLDERS = {path.name for path in [*PACKAGE.rglob("*"), *ROOT.iterdir()] if path.is_dir()} - {
    "__pycache__"
}
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *PACKAGE.rglob("*.md")}
    | {*ROOT.glob("notebooks/*.ipynb")}
)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"(?<![\w./~-])[a-z][a-z_.]*(?:/[a-z_.0-9]*[a-z0-9])+(?![\w/-])")


def text_of(document: Path) -> str:
    """A document; of a notebook what is meant to be read."""
    text = document.read_text(encoding="utf-8")
    if document.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def paths_in(text: str) -> set[str]:
    """What looks like a path below one of our folders; keys (`pki/ca.pem`) are a reader's own."""
    found = {path for path in PATH.findall(text) if path.partition("/")[0] in FOLDERS}
    return {path for path in found if not path.endswith((".pem", ".key"))}


def is_there(path: str, document: Path) -> bool:
    """Whether it is a file (its ending may be left out) or a folder of ours."""
    places = [room / path for room in (document.parent, *ROOMS)]
    return any(one.exists() or one.with_name(f"{one.name}.py").exists() for one in places)


def anchors(text: str) -> set[str]:
    """What a link may name behind `#`: the headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.+?) *$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def leads(name: str, anchor: str, document: Path) -> bool:
    """Whether a link of a document, NAME#ANCHOR, leads somewhere."""
    target = document.parent / name if name else document
    return target.exists() and (not anchor or anchor in anchors(text_of(target)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_path_in_a_document_is_there(document: Path) -> None:
    """A file that was moved or dropped is named nowhere by its old name."""
    paths = sorted(paths_in(text_of(document)))
    assert [path for path in paths if not is_there(path, document)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_in_a_document_leads_somewhere(document: Path) -> None:
    """Links between the documents stay whole: there is such a file, and it has such a heading."""
    links = re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text_of(document))
    assert [link for link in links if not leads(*link, document)] == []


def test_there_are_such_paths() -> None:
    """Else nothing would have been looked at."""
    assert len(paths_in((PACKAGE / "README.md").read_text(encoding="utf-8"))) > 60


def test_a_heading_is_named_as_on_github() -> None:
    """Signs fall away, blanks are hyphens, and a comment in a block of code is no heading."""
    text = "# The operator's tasks\n```sh\n# none\n```\n## 6. Keys\n"
    assert anchors(text) == {"the-operators-tasks", "6-keys"}
