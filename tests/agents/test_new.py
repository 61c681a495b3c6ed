"""`mcshell agent new` and the tester that an agent's author tests with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mcshell import ddl
from mcshell.commands.context import Context
from mcshell.commands.run import run_words
from mcshell.errors import InputError, UsageError
from mcshell.node.testing import AgentTester, TestNode

ROOT = Path(__file__).resolve().parents[2]


def new(*words: str) -> list[str]:
    """Run the verb; the files that it wrote."""
    _, result = run_words(["agent", "new", *words], Context("cli"))
    return [row[0] for row in result.rows]


def test_a_new_agent_passes_its_own_test(tmp_path: Path) -> None:
    """DDL, code and test are written; the test passes as it is, and the code is clean."""
    files = new("disk_space", "--dir", str(tmp_path / "agents"))
    assert [Path(name).name for name in files] == [
        "disk_space.json",
        "disk_space.py",
        "test_disk_space.py",
    ]
    document = json.loads(Path(files[0]).read_text())
    ddl.check(document)
    tester = AgentTester(tmp_path / "agents", TestNode(identity="web1"))
    assert tester.call("disk_space", "greet", who="all of you") == {
        "text": "Hello all of you, this is web1"
    }
    with pytest.raises(InputError):
        tester.call("disk_space", "greet", who="<you>")
    config = ["--config", str(ROOT / "pyproject.toml")]
    for argv in (
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", files[2]],
        ["-m", "ruff", "check", "--no-cache", *config, "--ignore", "INP001,S101", *files[1:]],
        ["-m", "ruff", "format", "--no-cache", *config, "--check", *files[1:]],
    ):
        done = subprocess.run(
            [sys.executable, *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=80,
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_ten_lines_of_the_readme_are_an_agent(tmp_path: Path) -> None:
    """They serve beside the DDL and the test that `agent new hello` writes."""
    files = new("hello", "--dir", str(tmp_path))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## An agent in ten lines\n")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    Path(files[1]).write_text(code)
    tester = AgentTester(tmp_path, TestNode(identity="web1"))
    assert tester.call("hello", "greet", who="you") == {"text": "Hello you, this is web1"}
    assert str(tester.fails("hello", "greet", who="nobody")) == "there is nobody to greet"
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A name that is taken, or is none, is refused, and no file is touched."""
    new("greet", "--dir", str(tmp_path))
    (tmp_path / "greet.json").unlink()
    (tmp_path / "greet.py").write_text("mine")
    with pytest.raises(UsageError, match=r"greet\.py"):
        new("greet", "--dir", str(tmp_path))
    assert (tmp_path / "greet.py").read_text() == "mine"
    assert not (tmp_path / "greet.json").exists()
    for name in ("Greet", "../x", "1st", "a-b", ""):
        with pytest.raises(UsageError):
            new(name, "--dir", str(tmp_path))


def test_the_kit_holds_an_agent_to_its_ddl(tmp_path: Path) -> None:
    """An output that is not declared, or of another type, a failure of two lines: all are told."""
    new("greet", "--dir", str(tmp_path))
    code = tmp_path / "greet.py"
    good = code.read_text()
    for wrong, said in (
        (good.replace('"text": f', '"txet": f'), "does not name"),
        (good.replace('{"text": f"Hello {who}, this is {call.node.identity}"}', '{"text": 1}'),
         "is no string"),
        (good.replace("there is nobody", "there is\\nnobody"), "one line"),
        (good.replace("class Greet", "class Greet(", 1), "does not load"),
    ):  # fmt: skip
        code.write_text(wrong)
        assert wrong != good
        tester = AgentTester(tmp_path)
        with pytest.raises(AssertionError, match=said):
            tester.call("greet", "greet", who="nobody" if "one line" in said else "you")
    code.write_text(good)
    with pytest.raises(AssertionError, match="did not fail"):
        AgentTester(tmp_path).fails("greet", "greet", who="you")


@pytest.mark.parametrize("name", ["exec", "job"])
def test_the_name_of_an_agent_that_ships_is_refused(tmp_path: Path, name: str) -> None:
    """A beginner's `exec` would be served in the place of the one that everybody means."""
    with pytest.raises(UsageError, match=f"'{name}' is an agent that ships: another name"):
        new(name, "--dir", str(tmp_path))
    assert not list(tmp_path.iterdir())
