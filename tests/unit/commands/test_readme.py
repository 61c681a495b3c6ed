"""Every line that the front page shows is one that the grammar takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcshell.commands.grammar.parser import only_line, parse, split_line
from mcshell.shell.redirect import shower_of

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
HEADING = "| at the prompt | |\n|---|---|\n"


def on_the_command_line() -> list[str]:
    """What stands behind `mcshell ` in shell blocks and in running text."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    shells = re.findall(r"^(?:\w+=\$\()?mcshell (.*?)\)?$", blocks, re.MULTILINE)
    running = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    inline = re.findall(r"`mcshell ([^`]+)`", running)
    once = dict.fromkeys([*shells, *inline])
    return [line for line in once if not re.search(r"\b(DIR|NAME|FILE|N|HOST)\b", line)]


def at_the_prompt() -> list[str]:
    """The first column of the table of lines, and what is typed in the session and in cells."""
    table = README.partition(HEADING)[2].partition("\n\n")[0]
    cells = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    return [*cells, *re.findall(r"^(?:mcs> |(?:\w+ = )?%mco )(.*)$", README, re.MULTILINE)]


@pytest.mark.parametrize("line", on_the_command_line())
def test_a_command_line_is_understood(line: str) -> None:
    """No verb or option of the page is missing from the grammar."""
    words = [word for word in split_line(line.partition("#")[0]) if word != "$id"]
    assert parse(words).verb is not None


@pytest.mark.parametrize("line", at_the_prompt())
def test_a_line_of_the_prompt_is_understood(line: str) -> None:
    """Also with a pipe or a file at its end."""
    read = only_line(line)
    assert read is not None
    shower_of(read)
    assert parse(read.meant, face="prompt").verb is not None


def test_there_are_such_lines() -> None:
    """Else nothing would have been looked at."""
    assert len(on_the_command_line()) > 15
    assert len(at_the_prompt()) > 10
