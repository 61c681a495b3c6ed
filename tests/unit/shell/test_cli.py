"""The command line without a fleet: start-up, help, versions, faults of our own."""

from __future__ import annotations

import io
import pydoc
import resource
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import mcshell
from mcshell.__main__ import main as begin
from mcshell.commands.context import Context
from mcshell.commands.verbs import doc as schemas
from mcshell.shell.cli import main
from mcshell.shell.lines import run_line, run_lines
from mcshell.shell.output import Screen
from tests.peers.processes import no_threads

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A prompt's surroundings with an empty configuration."""
    (tmp_path / "c.toml").write_text('state = "state"\n')
    monkeypatch.setenv("MCSHELL_CONFIG", str(tmp_path / "c.toml"))
    return Context("prompt")


def test_help_and_version_write_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Asking for help is no error: 0, on standard output."""
    for words in (["--help"], ["-h"], ["help"], ["rpc", "--help"], ["help", "rpc"]):
        assert main(words) == 0
        out, err = capsys.readouterr()
        assert "rpc" in out
        assert err == ""


def test_every_script_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    """`-e` given twice is two lines; the second takes no place of the first."""
    assert main(["-e", "help find", "-e", "help ping"]) == 0
    out, _err = capsys.readouterr()
    assert "usage: find" in out
    assert out.index("usage: find") < out.index("usage: ping")


def test_bad_options_before_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """What stands before the verb is checked as well."""
    for words, said in (
        (["--confg", "x"], "did you mean --config"),
        (
            ["--session", "friday", "ping"],
            "mcshell: --session stands behind the verb, as in mcshell VERB",
        ),
        (["-I", "web01", "ping"], "mcshell: -I stands behind the verb"),
        (["--timeout=3", "ping"], "mcshell: --timeout stands behind the verb"),
        (["-Z", "ping"], "unknown option -Z"),
        (["-e"], "-e: a value is missing"),
        (["--format", "jsno", "agents"], "'jsno' is not one of"),
        (["-e", "agents", "doc"], "'doc' is one word too many"),
    ):
        assert main(words) == 64
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
        assert err.count("\n") == 1


def test_a_fault_of_our_own_is_a_line_and_a_log(
    context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody expected is exit 70, one line, and a traceback in the log; the prompt lives."""

    def broken(*_: object) -> None:
        raise RuntimeError("a \x1b[31mfault")

    monkeypatch.setattr(schemas, "agents", broken)
    screen = Screen(io.StringIO(), io.StringIO(), None)
    assert run_line("agents", context, screen) == 70
    log = context.settings.state_dir / "mcshell.log"
    assert f"see {log}" in screen.err.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in screen.err.getvalue()  # type: ignore[attr-defined]
    assert "Traceback" in log.read_text()
    assert main(["agents"]) == 70
    assert capsys.readouterr().err.count("\n") == 1


def start_a_thread(*_: object) -> None:
    """Start one."""
    threading.Thread(target=str).start()


@pytest.mark.parametrize(
    ("work", "lacks"),
    [(start_a_thread, "no thread left"), (lambda *_: bytes(1 << 60), "no memory")],
)
def test_a_machine_that_has_no_more_to_give_is_named(
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    work: Callable[[Context], object],
    lacks: str,
) -> None:
    """Without room for a thread, or for data, it is the machine's fault and no internal error."""
    monkeypatch.setattr(schemas, "agents", work)
    screen = Screen(io.StringIO(), io.StringIO(), None)
    with no_threads():
        assert run_line("agents", context, screen) == 74
        assert main(["agents"]) == 74
    assert screen.err.getvalue().startswith(lacks)  # type: ignore[attr-defined]
    err = capsys.readouterr().err
    assert err.startswith(f"mcshell: {lacks}")
    assert err.count("\n") == 1


def test_a_script_ends_at_a_line_that_means_nothing(context: Context) -> None:
    """What follows a usage error is not run; the code is 64."""
    screen = Screen(io.StringIO(), io.StringIO(), None)
    assert run_lines("help rpc; pnig; help find", context, screen) == 64
    assert "input=value" in screen.out.getvalue()  # type: ignore[attr-defined]
    assert "find" not in screen.out.getvalue().split("usage:")[-1].split("\n")[0]  # type: ignore[attr-defined]


def test_a_piped_script_says_which_of_its_lines_is_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mcshell < script`: what is said of a line begins with its number, from the top of the file."""
    monkeypatch.setattr("sys.stdin", io.StringIO("# agents\n\nhelp find; pnig\nhelp rpc\n"))
    assert main([]) == 64
    assert capsys.readouterr().err.startswith("line 3: ")
    assert main(["-e", "help find\npnig"]) == 64
    assert not capsys.readouterr().err.startswith("line")


def test_starting_is_light() -> None:
    """The modules that a node daemon's start passes through load nothing heavy."""
    code = (
        "import sys, mcshell, mcshell.shell.cli;"
        "mcshell.shell.cli.Context('cli').understand(['node']);"
        "bad = {'pandas', 'IPython', 'tabulate', 'prompt_toolkit', 'cryptography', 'stomp',"
        " 'yaml', 'asyncio', 'sqlite3', 'logging', 'shutil', 'difflib'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    root = Path(mcshell.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, timeout=60, cwd=root
    )
    assert done.returncode == 0, done.stderr


def test_ctrl_c_while_modules_load_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for who changes his mind at once: one line, and 130."""

    class Loading(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "mcshell.shell.cli", Loading("mcshell.shell.cli"))
    assert begin() == 130
    assert capsys.readouterr() == ("", "mcshell: interrupted\n")


def test_what_is_loaded_later_is_there_for_tab_and_pydoc() -> None:
    """`help(mcshell)` tells of `connect`, although importing mcshell loads none of it."""
    assert set(mcshell.__all__) <= set(dir(mcshell))
    told = pydoc.plaintext.document(mcshell)
    assert "\n    connect(" in told
    assert "\n    class Executor(" in told


@pytest.mark.parametrize(
    "line",
    [
        ["config", "show", "--config", "client.cfg"],
        ["config", "import", "client.cfg", "-o", "out.toml"],
        ["broker", "move", "--from", "stomp://a", "--to", "stomp://b", "--queues", "client.cfg"],
    ],
)
def test_a_file_that_is_no_configuration_is_not_read_to_its_end(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The image of a disk that stands where a small file is meant is one line, and not in memory."""
    monkeypatch.chdir(tmp_path)
    with Path("client.cfg").open("wb") as file:
        file.truncate(1 << 40)
    room = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, room[1]))
    try:
        assert main(line) == 64
    finally:
        resource.setrlimit(resource.RLIMIT_AS, room)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "client.cfg" in said
    assert "large" in said
