"""Every line that the READMEs show and that can be typed is typed into a demo, as it is printed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faces.demo_lab import WRONG, good
from tests.faces.test_demo import ROOT
from tests.tasks.tasks import TASKS

if TYPE_CHECKING:
    from tests.faces.demo_lab import Lab

pytestmark = pytest.mark.timeout(600)
FRONT, BUILT = ROOT / "README.md", ROOT / "mcshell" / "README.md"
# What cannot be typed into a demo, by how the block begins, and why.
NOT_TYPED = {
    "python3 -m venv": "installs (the light node: tests/deploy)",
    "tests/run": "the tests themselves",
    "mcshell pki init pki": "a lab by hand: its own broker",
    "mcshell node enroll web2": "two machines, and files that are carried: tests/enrolment",
    "mcshell broker --data": "a lab by hand: its own broker",
    "mcshell pki init /srv": "a CA and a broker of one's own",
    "mcshell pki token": "two machines: tests/enrolment",
    "ssh-keygen": "a key of one's own, in an agent",
    "/srv/mcshell/old/ctl": "two brokers of one's own: tests/rights/test_moving.py",
    "mcshell config import": "MCollective's files and nodes",
    "[broker]": "configuration",
    "mcshell propose": "several operators: tests/fleet/test_approvals.py",
    "# callers   actions": "configuration",
    "[client]": "configuration",
    "mcshell node --config web1.toml --check": "a node of one's own: tests/services/test_check.py",
    "from mcshell.node.agent": "a file",
    "pending → received": "a picture",
    "a line      shell/cli": "a picture",
    '{"request": {"id"': "a form",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language and its lines."""

    language: str
    text: str


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a README."""
    found = re.findall(
        r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return [Block(language, text) for language, text in found]


def typed(path: Path) -> list[Block]:
    """The blocks that can be typed; every other one is named, with the reason."""
    return [one for one in blocks(path) if not one.text.startswith(tuple(NOT_TYPED))]


def prompt_lines() -> list[str]:
    """What stands behind `mcs>`, and in the front page's table of lines for the prompt."""
    text = FRONT.read_text(encoding="utf-8")
    lines = re.findall(r"^mcs> (.*)$", text, re.MULTILINE)
    _, _, table = text.partition("| at the prompt | |\n|---|---|\n")
    for row in table.partition("\n\n")[0].splitlines():
        lines += re.findall(r"`((?:rpc|replies|ping) [^`]+)`", row)
    return lines


def test_the_prompts_lines(lab: Lab) -> None:
    """What the front page types at the prompt, in its order."""
    lines = prompt_lines()
    assert len(lines) > 10
    for line, code, said in lab.prompt(*lines):
        good(line, code, said)
    assert (lab.work / "yesterday.csv").read_text().count("\n") > 20


def test_the_tasks_lines(lab: Lab) -> None:
    """The 25 tasks of an operator, in their order, at one prompt."""
    answers = lab.prompt(*(one.prompt for one in TASKS))
    assert len(answers) == len(TASKS)
    for line, code, said in answers:
        good(line, code, said)
    assert "</html>" in (lab.work / "monday.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "block", [one for one in typed(FRONT) if one.language == "sh"], ids=lambda one: one.text[:40]
)
def test_the_blocks_of_the_command_line(lab: Lab, block: Block) -> None:
    """What the front page types at a shell, a block as one script."""
    lines = [line.partition("  #")[0] for line in block.text.splitlines() if line.strip()]
    script = "".join(f"{line}\necho '@@'\n" for line in lines)
    answers = lab.shell(script).split("@@\n")[:-1]
    assert len(answers) == len(lines), answers
    for line, said in zip(lines, answers, strict=True):
        good(line if not line.startswith("id=") else f"> {line}", 0, said)


def python_blocks(path: Path) -> list[str]:
    """What a README says in Python, and in notebooks' cells."""
    found = [one for one in typed(path) if one.language == "python" or "%mco" in one.text]
    return [one.text for one in found]


CELLS = {
    "front": python_blocks(FRONT),
    "built": python_blocks(BUILT),
    "tasks": [one.notebook for one in TASKS if one.cell is not None],
}


@pytest.mark.parametrize("name", CELLS)
def test_the_blocks_of_python(lab: Lab, name: str) -> None:
    """What the READMEs say in Python and in notebooks' cells, one after the other in a kernel."""
    assert CELLS[name]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("typed_cells.py"))],
        input=json.dumps(CELLS[name]),
        capture_output=True,
        text=True,
        check=False,
        cwd=lab.work,
        env=lab.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not WRONG.search(done.stdout), done.stdout


def test_every_block_is_typed_or_named() -> None:
    """A block that is neither typed nor named here would be one that nobody has tried."""
    for path in (FRONT, BUILT):
        for one in typed(path):
            known = one.language in ("sh", "python") or "%mco" in one.text or "mcs>" in one.text
            assert known, f"{path}: {one.text[:200]}"
