"""The table in mcshell/README.md is made of the lines that are tested."""

from __future__ import annotations

import pytest

from mcshell.commands.grammar.parser import numbered_lines, only_line, parse
from tests.tasks.checks import CHECKS, ORDER
from tests.tasks.tasks import README, TASKS, Task, placed, table


def test_the_readme_has_the_table() -> None:
    """As it is made; `python tests/tasks/tasks.py` writes it anew."""
    text = README.read_text(encoding="utf-8")
    assert placed(text) == text
    assert table() in text


def test_all_twenty_five_are_there_and_tested() -> None:
    """Numbered as in the issue, each with a check and a place in the story."""
    assert [task.number for task in TASKS] == list(range(1, 26))
    assert sorted(CHECKS) == sorted(ORDER) == list(range(1, 26))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.number:02}")
def test_it_is_one_line(task: Task) -> None:
    """Neither a script nor two commands in a row, in either face."""
    assert numbered_lines(task.prompt) == [(1, task.prompt)]
    line = only_line(task.prompt)
    assert line is not None
    assert parse(line.meant, face="prompt").verb is not None
    assert "\n" not in task.notebook
    assert ";" not in task.notebook
    assert len(task.prompt) <= 90


def test_rows_of_a_table_are_of_one_length() -> None:
    """Bars in lines are escaped: every row has the columns of the head."""
    heads, *rows = [line.replace("\\|", "").count("|") for line in table().splitlines()]
    assert set(rows) == {heads}
