"""What goes to a node's shell and over the workers' socket, byte by byte."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.ansible.conftest import COLLECTION

if TYPE_CHECKING:
    from types import ModuleType


def load(name: str) -> ModuleType:
    """A module of the collection's that needs no Ansible around it."""
    path = COLLECTION / "plugins" / "plugin_utils" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


shell_lines = load("shell_lines")
shared_client = load("shared_client")
client_process = load("client_process")
WORDS = some.binary(min_size=1, max_size=40).filter(lambda word: b"\0" not in word)
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=20,
)


def shell(line: str, data: bytes = b"", **environ: str) -> bytes:
    """What a line says, run as the agent does."""
    argv = ["/bin/sh", "-c", line]
    env = {"PATH": os.environ["PATH"], "HOME": "/", **environ}
    return subprocess.run(argv, input=data, capture_output=True, check=True, env=env).stdout


def quoted(word: bytes) -> bytes:
    """As the shell's one word."""
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


@given(WORDS)
def test_any_bytes_of_a_line(word: bytes) -> None:
    """Whatever bytes a word of a line has, the shell has them; what travels is text."""
    line = shell_lines.at_home(b"printf %s " + quoted(word))
    assert line.encode()
    assert shell(line) == word


@pytest.mark.parametrize("home", ["/", "/usr", ""])
def test_lines_begin_at_home(home: str) -> None:
    """A line is done in the home folder of its user, also where the daemon has no HOME."""
    expected = home or str(Path("~").expanduser())
    if not home:
        expected = subprocess.run(
            ["sh", "-c", 'eval echo "~$(id -un)"'], capture_output=True, text=True, check=True
        ).stdout.strip()
    assert shell(shell_lines.at_home(b'printf "%s|" "$PWD" "$HOME"'), HOME=home) == (
        f"{expected}|{expected}|".encode()
    )


@given(WORDS.filter(lambda word: b"\n" not in word), some.binary(max_size=200), some.booleans())
def test_a_password_is_never_data(password: bytes, data: bytes, asked: bool) -> None:  # noqa: FBT001 - Hypothesis gives it
    """Whether somebody reads the password or not, the program reads the data and no more."""
    line = b"echo BECOME-SUCCESS-x ; cat"
    line, whole = shell_lines.after_password(line, b"BECOME-SUCCESS-x", password, data)
    reads = b"read -r word; " if asked else b""
    said = shell(shell_lines.at_home(reads + line), whole)
    assert said == b"BECOME-SUCCESS-x\n" + data


@given(some.dictionaries(some.text(), VALUES), some.binary())
def test_lines_of_the_socket(document: dict[str, Any], data: bytes) -> None:
    """A document is one line, and comes back; bytes do when they are packed, others are read as text."""
    line = shared_client.to_line(document)
    assert line.count(b"\n") == 1
    assert shared_client.from_line(line) == document
    assert shared_client.unpacked(shared_client.packed(data)) == data
    assert shared_client.from_line(shared_client.to_line({"a": data})) == {
        "a": data.decode(errors="replace")
    }


OUTPUTS = ("exitcode", "signal", "stdout", "stderr", "truncated", "ended")
SAID = VALUES | some.binary() | some.sampled_from(["exit", "timeout", "SIGKILL", 0, 3])


@given(some.dictionaries(some.sampled_from(OUTPUTS), SAID))
def test_what_a_node_says_of_a_program(data: dict[str, Any]) -> None:
    """It is an outcome when all of it is there and of its kind, and the program has ended; else it is none."""
    ended = client_process.outcome_of(data).get("ended")
    if ended is None:
        return
    assert data["ended"] == "exit"
    assert isinstance(ended["exitcode"], int) or isinstance(ended["signal"], str)
    assert ended["cut"] or data["truncated"] is False
    for name in ("stdout", "stderr"):
        said = data[name]
        assert shared_client.unpacked(ended[name]) == (
            said.encode() if isinstance(said, str) else said
        )


@pytest.mark.parametrize("ended", ["timeout", "cancelled", None])
def test_what_was_stopped_is_no_outcome(ended: str | None) -> None:
    """Whatever exit code a program has that was stopped, it has not come to it by itself."""
    data = {"exitcode": 0, "signal": "", "stdout": "", "stderr": "", "truncated": False}
    assert client_process.outcome_of(data | {"ended": ended}) == {}
    assert client_process.outcome_of(data) == {}


def test_folder_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of sockets that others may enter, or that is a link, is refused."""
    monkeypatch.setattr(shared_client.tempfile, "tempdir", str(tmp_path))
    folder = shared_client.socket_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(shared_client.AnsibleError, match="alone"):
        shared_client.socket_folder()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(shared_client.AnsibleError, match="alone"):
        shared_client.socket_folder()


@pytest.mark.parametrize("persist", [-1.0, float("nan")])
def test_time_that_is_none(persist: float) -> None:
    """A client that would never end, or has ended already, is not started."""
    with pytest.raises(shared_client.AnsibleError, match="mcshell_persist"):
        shared_client.SharedClient(None, None, persist)


def test_folder_whose_name_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket has no room for it: what to do is said."""
    (long := tmp_path / ("x" * 100)).mkdir()
    monkeypatch.setattr(shared_client.tempfile, "tempdir", str(long))
    with pytest.raises(shared_client.AnsibleError, match="TMPDIR"):
        shared_client.SharedClient(None, None, 1.0)
