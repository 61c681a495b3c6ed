"""One name, one meaning: which names of classes stand twice in mcshell/, and why."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mcshell"
TWICE = {
    "JobManager": "changes jobs: the client's by asking the nodes, the node's those that it keeps",
    "Outbox": "holds what is not confirmed: the client's its requests, the node's its replies",
}
"""Names that stand twice: one thing, seen from its two sides."""


def class_names(folder: Path) -> dict[str, list[str]]:
    """The modules of each name of a class, private and inner ones too."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path.relative_to(folder)))
    return found


def test_a_name_stands_twice_only_for_a_reason():
    """Every double has its reason here, and every reason its double."""
    twice = {name: places for name, places in class_names(PACKAGE).items() if len(places) > 1}
    assert {name: twice[name] for name in twice.keys() - TWICE} == {}, "without a reason"
    assert TWICE.keys() - twice == set(), "without a double: take the reason away"


def test_private_and_inner_classes_are_looked_at(tmp_path):
    """A double in another room is found, however it is hidden."""
    (tmp_path / "room").mkdir()
    (tmp_path / "one.py").write_text("class _Row: ...\nclass Table: ...\n")
    (tmp_path / "room" / "two.py").write_text("def f():\n    class _Row: ...\n")
    assert class_names(tmp_path) == {"_Row": ["one.py", "room/two.py"], "Table": ["one.py"]}
