"""Each task as one line at the prompt: `mcshell` in a real terminal, the lines typed one by one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.peers.terminal import Terminal
from tests.tasks.checks import CHECKS, ORDER, PREPARATIONS
from tests.tasks.seen import Seen, of_screen
from tests.tasks.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.tasks.machines import Machines

pytestmark = [pytest.mark.tmux, pytest.mark.timeout(240)]

PROMPT = "tasks>"
BY_NUMBER = {task.number: task for task in TASKS}


class Prompt:
    """An operator at a terminal."""

    def __init__(self, terminal: Terminal, folder: Path) -> None:
        self._terminal = terminal
        self._folder = folder

    def say(self, line: str) -> Seen:
        """Type a line; what it shows until the prompt is there again."""
        typed = f"{PROMPT} {line}"
        self._terminal.type(line)
        self._terminal.wait_for(typed)
        self._terminal.press("Enter")
        screen = self._terminal.wait(lambda text: _answer(text, typed) is not None, 90)
        return of_screen(_answer(screen, typed) or "", self._folder)


def _answer(screen: str, typed: str) -> str | None:
    """What stands between a typed line and the next prompt, which is empty; None before it is."""
    lines = screen.splitlines()
    places = [at for at, line in enumerate(lines) if line == typed]
    ends = [at for at, line in enumerate(lines) if line == PROMPT]
    if not places or not ends or ends[-1] < places[-1]:
        return None
    return "\n".join(lines[places[-1] + 1 : ends[-1]])


@pytest.fixture(scope="module")
def prompt(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prompt]:
    """Monday at nine, and one prompt for all tasks."""
    folder = machines.monday_at(tmp_path_factory.mktemp("prompt"))
    environ = {**machines.environ, "MCSHELL_STATE": str(folder / "state")}
    with Terminal(folder, [sys.executable, "-m", "mcshell"], environ, (250, 100)) as terminal:
        terminal.wait(lambda screen: PROMPT in screen.splitlines())
        yield Prompt(terminal, folder)
        terminal.press("C-d")


@pytest.mark.parametrize("number", ORDER, ids=lambda number: f"{number:02}")
def test_a_task_is_one_line(number: int, prompt: Prompt, machines: Machines) -> None:
    """What the line shows, and what it does to the machines, is right."""
    if prepare := PREPARATIONS.get(number):
        prepare(machines)
    if number == 24:
        prompt.say("rpc rpcutil ping -I db03 --via queue -b")
    seen = prompt.say(BY_NUMBER[number].prompt)
    CHECKS[number](seen, machines)
