"""What the prompt writes to disk of the lines that were typed."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from mcshell.ddl.ddl_library import Library, shipped_dir
from mcshell.shell.editor import LineHistory, gives_secret
from tests.peers.small_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path

LIBRARY = Library([shipped_dir()])


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("ping -F role=web", False),
        ("rpc package status name=bash", False),
        ("""rpc exec run argv='["mysql"]' stdin=hush""", True),
        ("""rpc exec run argv='["env"]' 'environment={"TOKEN": "hush"}'""", True),
        ("rpc exce run stdin=hush", True),
        ("rpc exec run stdin='hush", True),
        ("ping\n# it's\nrpc exec run stdin=hush", True),
        ("!curl -d stdin=hush", True),
        ("ping | curl -d stdin=hush x", True),
    ],
)
def test_a_line_that_gives_a_sensitive_input_is_known(line: str, *, secret: bool) -> None:
    """By the input's name, even where the agent's is misspelt or a quote is left open."""
    assert gives_secret(line, LIBRARY) is secret


def test_a_secret_is_not_written(tmp_path: Path) -> None:
    """It can be recalled until the prompt ends; the file never holds it."""
    told: list[str] = []
    history = LineHistory(tmp_path / "history", LIBRARY, told.append)
    history.append_string("ping")
    history.append_string("rpc exec run stdin=hush")
    assert history.get_strings() == ["ping", "rpc exec run stdin=hush"]
    assert "hush" not in (tmp_path / "history").read_text()
    again = LineHistory(tmp_path / "history", LIBRARY, told.append)
    assert list(again.load_history_strings()) == ["ping"]
    assert stat.S_IMODE((tmp_path / "history").stat().st_mode) == 0o600
    assert told == []


def test_a_history_that_cannot_be_kept_is_said_once(tmp_path: Path) -> None:
    """A folder in its place, a full disk, one that is read-only: the lines are there until the end."""

    def typed(path: Path) -> str:
        told: list[str] = []
        history = LineHistory(path, LIBRARY, told.append)
        list(history.load_history_strings())
        history.append_string("ping" * 2000)
        history.append_string("find")
        assert history.get_strings() == ["ping" * 2000, "find"]
        (line,) = told
        return line

    (tmp_path / "history").mkdir()
    assert typed(tmp_path / "history") == f"lines are not kept: {tmp_path}/history: Is a directory"
    (tmp_path / "file").write_text("")
    assert "Not a directory" in typed(tmp_path / "file" / "history")
    with small_disk(tmp_path / "disk") as disk:
        disk.fill()
        assert "No space left on device" in typed(disk.path / "history")
        disk.empty()
        disk.remount("ro")
        assert "Read-only file system" in typed(disk.path / "history")
