"""Whatever code, tests and documents cite can be opened: sections of the design, documents."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "mcshell" / "README.md"
FOLDERS = ("mcshell", "agents", "notebooks", "tests", ".github", ".ci")
SUFFIXES = frozenset((".py", ".md", ".toml", ".json", ".yaml", ".yml", ".lark", ".rb", ".ipynb"))
MADE_UP = {
    "t.md": "a file that a test's line writes",
    "mcshell/docs/README.md": "the front page, where a wheel has it",
}
"""Names of documents that are none of ours, and why they stand there."""

SECTION = re.compile(r"\N{SECTION SIGN}(\d+(?:\.\d+)*|\w+)")
GONE = re.compile(r"\bDESIG[N]\b")  # so written that this line does not cite it
DOCUMENT = re.compile(r"[\w./-]*\w\.md\b")
TEST = re.compile(r"\btests/[a-z0-9_/]+\.py\b")
TEST_FUNCTION = re.compile(r"\b(tests/[a-z0-9_/]+\.py)::(test_\w+)")
UP = re.compile(r"^(?:\.\.?/|[-/])+")
NUMBERED = re.compile(r"^#+ (\d+(?:\.\d+)*)\.? ", re.MULTILINE)


@cache
def texts() -> dict[Path, str]:
    """All that people wrote here, by path."""
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    ours = (path for path in (*ROOT.glob("*"), *below) if "node_modules" not in path.parts)
    paths = [path for path in ours if path.suffix in SUFFIXES]
    return {path: path.read_text(encoding="utf-8") for path in (*paths, ROOT / "tests" / "run")}


def found(pattern: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Each match, with where it is for a reader."""
    for path, text in texts().items():
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path.relative_to(ROOT)}:{line}: {match[0]}", match


def test_sections_that_are_cited_are_headings():
    """Each section that is cited by its number is one of mcshell/README.md."""
    known = set(NUMBERED.findall(ARCHITECTURE.read_text(encoding="utf-8")))
    assert [where for where, match in found(SECTION) if match[1] not in known] == []


def test_no_document_is_cited_that_is_not_here():
    """Neither the plan that came before the repository, nor a name that no file has."""
    assert [where for where, _ in found(GONE)] == []
    here = [f"/{path.relative_to(ROOT)}" for path in texts()]
    missing = [
        where
        for where, match in found(DOCUMENT)
        if match[0] not in MADE_UP
        and not any(one.endswith(f"/{UP.sub('', match[0])}") for one in here)
    ]
    assert missing == []


def test_tests_that_are_cited_are_here():
    """Each test that a document names is a file: a promise without one is none."""
    cited = {match[0]: where for where, match in found(TEST)}
    assert len(cited) > 40
    assert [where for path, where in cited.items() if not (ROOT / path).exists()] == []


def test_functions_that_are_cited_are_tests():
    """Each test that is cited by its function's name is in that file."""
    cited = list(found(TEST_FUNCTION))
    assert len(cited) > 60
    missing = [
        where
        for where, match in cited
        if not (ROOT / match[1]).exists() or f"def {match[2]}(" not in texts()[ROOT / match[1]]
    ]
    assert missing == []


def test_each_claim_of_survival_has_a_test():
    """Every row of "What survives what" names one, or says that it is not shown."""
    section = ARCHITECTURE.read_text(encoding="utf-8").partition("## What survives what")[2]
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    assert len(rows) > 45
    shown = [row.rpartition(" | ")[2] for row in rows[1:]]
    assert [
        cell for cell in shown if not TEST_FUNCTION.search(cell) and "*not shown*" not in cell
    ] == []


def test_citations_are_found():
    """Else nothing would have been looked at."""
    assert len(texts()) > 500
    assert sum(1 for _ in found(SECTION)) > 40
    assert sum(1 for _ in found(DOCUMENT)) > 20
