"""Each task as one line in a notebook: a real kernel, the cells run one by one by nbclient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient

from tests.tasks.checks import CHECKS, ORDER, PREPARATIONS
from tests.tasks.seen import Seen, of_json
from tests.tasks.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.tasks.machines import Machines

pytestmark = pytest.mark.timeout(240)

BY_NUMBER = {task.number: task for task in TASKS}
BEGIN = """\
import json

import mcshell
import pandas as pd

%load_ext mcshell
client = mcshell.connect()


def shown(value):
    if isinstance(value, pd.DataFrame):
        return value.to_json(orient="records", date_format="iso")
    return json.dumps(value if value is None else str(value))
"""


class Book:
    """A notebook whose cells are run as they are added."""

    def __init__(self, client: NotebookClient, folder: Path) -> None:
        self._client = client
        self._folder = folder

    def run(self, source: str) -> str:
        """Run a cell; what it printed. A cell that fails raises."""
        cell = nbformat.v4.new_code_cell(source)
        self._client.nb.cells.append(cell)
        self._client.execute_cell(cell, len(self._client.nb.cells) - 1)
        return "".join(one.text for one in cell.outputs if one.get("name") == "stdout")

    def say(self, source: str, name: str = "_") -> Seen:
        """Run a cell; the value that it leaves in a variable."""
        self.run(source)
        return of_json(self.run(f"print(shown({name}))"), self._folder)


@pytest.fixture(scope="module")
def book(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """Monday at nine, and one kernel for all tasks."""
    folder = machines.monday_at(tmp_path_factory.mktemp("book"))
    environ = {**machines.environ, "MCSHELL_STATE": str(folder / "state")}
    client = NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    with client.setup_kernel(env=environ):
        found = Book(client, folder)
        found.run(BEGIN)
        yield found


@pytest.mark.parametrize("number", ORDER, ids=lambda number: f"{number:02}")
def test_a_task_is_one_line(number: int, book: Book, machines: Machines) -> None:
    """What the cell gives, and what it does to the machines, is right."""
    task = BY_NUMBER[number]
    if prepare := PREPARATIONS.get(number):
        prepare(machines)
    if number == 24:
        book.run("%mco rpc rpcutil ping -I db03 --via queue -b")
    CHECKS[number](book.say(task.notebook, task.name), machines)
