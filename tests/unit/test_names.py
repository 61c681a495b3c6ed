"""One name, one meaning: which names of classes stand twice; and values are made by names."""

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

BY_PLACE = {
    "Call": "agents for tests make one by hand, and its order is promised",
    "Verb": "a row of the table of verbs",
    "Table": "its first two, columns and rows, are in everybody's head",
}
"""Values of six or more fields that may be made by their places."""


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


def made_by_place(folder: Path) -> set[str]:
    """Data classes of six or more fields that can be made without naming them."""
    return {
        node.name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(one) for one in node.decorator_list)
        and not any("kw_only=True" in ast.unparse(one) for one in node.decorator_list)
        and sum(isinstance(one, ast.AnnAssign) for one in node.body) >= 6
    }


def test_a_value_of_many_fields_is_made_by_their_names():
    """Six or more fields are named where a value is made, but for the few with a reason."""
    assert made_by_place(PACKAGE) == set(BY_PLACE)
