"""One script, three faces: command line, prompt and `%mco` in a real kernel say the same."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest

if TYPE_CHECKING:
    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)

# What differs from one run to the next: ids, times, and who comes first.
VARYING = {"requestid", "created", "expires", "lag", "time_ms", "seen", "pong"}
VARYING |= {"sent", "received", "running", "done", "late", "trust", "facts"}

SCRIPT = [
    "find",
    "ping",
    "find -S 'role=web and !rack.row=3'",
    "rpc rpcutil get_fact fact=role",
    "rpc rpcutil get_fact fact=rack -F role=web",
    "rpc rpcutil ping -C /^web/ -I /1$/",
    "rpc package status name=bash -I db1",
    "rpc file read path=/etc/passwd -I web1",
    "rpc rpcutil get_fact fact=role --nodes names.txt",
    "replies",
    "ledger",
    "facts role",
    "inventory -F role=db",
    "agents",
    "doc rpcutil.get_fact",
]

CELL = """
df = %mco {line}
print(json.dumps(json.loads(df.to_json(orient="records", default_handler=str))))
"""


def flat(found: Any) -> list[dict[str, Any]]:
    """A document of any verb as rows with the columns of its table, in one order."""
    rows = found
    if isinstance(found, dict):
        rows = [{**row.pop("data"), **row} for row in found["replies"]]
    kept = [
        {name: value for name, value in row.items() if name not in VARYING and value is not None}
        for row in rows
    ]
    return sorted(kept, key=lambda row: json.dumps(row, sort_keys=True))


@pytest.fixture(scope="module")
def by_cli(fleet: Fleet) -> list[list[dict[str, Any]]]:
    """The script, one process a line."""
    (fleet.folder / "names.txt").write_text("web[1-2] db1\n")
    found = []
    for line in SCRIPT:
        from mcshell.commands.grammar.parser import split_line

        done = fleet.cli(*split_line(line), "--json")
        assert done.stdout, f"{line}: {done.stderr}"
        found.append(flat(json.loads(done.stdout)))
    return found


def test_the_command_line_gives_the_fleet_as_it_is(by_cli: list[list[dict[str, Any]]]) -> None:
    """What the script asks for comes out right, so that agreeing with it means something."""
    by_line = dict(zip(SCRIPT, by_cli, strict=True))
    every = ["db1", "web1", "web2"]
    assert [row["sender"] for row in by_line["find"]] == every
    assert [row["sender"] for row in by_line["find -S 'role=web and !rack.row=3'"]] == every[1:]
    roles = {row["sender"]: row["value"] for row in by_line["rpc rpcutil get_fact fact=role"]}
    assert roles == {"db1": "db", "web1": "web", "web2": "web"}
    narrow = by_line["rpc rpcutil ping -C /^web/ -I /1$/"]
    assert [row["sender"] for row in narrow] == ["web1"]
    (denied,) = by_line["rpc file read path=/etc/passwd -I web1"]
    assert (denied["state"], denied["statuscode"]) == ("denied", 1)
    assert by_line["facts role"] == [
        {"value": "db", "count": 1, "nodes": "db1"},
        {"value": "web", "count": 2, "nodes": "web[1-2]"},
    ]
    assert len(by_line["replies"]) == len(by_line["ledger"]) == 3


def test_the_prompt_gives_the_same(fleet: Fleet, by_cli: list[list[dict[str, Any]]]) -> None:
    """The same lines at the shell, over one connection, one document each."""
    script = "".join(f"{line} --json\n" for line in SCRIPT)
    done = fleet.cli("shell", stdin=script)
    documents = [flat(json.loads(line)) for line in done.stdout.splitlines()]
    assert documents == by_cli, done.stderr


def test_a_kernel_gives_the_same(
    fleet: Fleet, by_cli: list[list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same lines as `df = %mco …` in an IPython kernel give tables with the same rows."""
    notebook = nbformat.v4.new_notebook()
    cells = ["import json\n%load_ext mcshell", *(CELL.format(line=line) for line in SCRIPT)]
    notebook.cells = [nbformat.v4.new_code_cell(text) for text in cells]
    for name, value in fleet.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(fleet.folder)
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": "."}}
    )
    client.execute()
    outputs = [
        "".join(out.text for out in cell.outputs if out.get("name") == "stdout")
        for cell in notebook.cells[1:]
    ]
    found = [flat(json.loads(text)) for text in outputs]
    for line, mine, theirs in zip(SCRIPT, found, by_cli, strict=True):
        assert _same(mine) == _same(theirs), line


def _same(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the cells that a table leaves empty and a document leaves out."""

    def empty(value: Any) -> bool:
        return value is None or (isinstance(value, float) and math.isnan(value))

    return [{name: value for name, value in row.items() if not empty(value)} for row in rows]
