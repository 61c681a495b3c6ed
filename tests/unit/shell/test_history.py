"""What the prompt writes to disk of the lines that were typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.ddl.library import Library, shipped_dir
from mcshell.shell.editor import LineHistory, gives_secret

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
    ],
)
def test_a_line_that_gives_a_sensitive_input_is_known(line: str, *, secret: bool) -> None:
    """By the input's name, even where the agent's is misspelt or a quote is left open."""
    assert gives_secret(line, LIBRARY) is secret


def test_a_secret_is_not_written(tmp_path: Path) -> None:
    """It can be recalled until the prompt ends; the file never holds it."""
    history = LineHistory(tmp_path / "history", LIBRARY)
    history.append_string("ping")
    history.append_string("rpc exec run stdin=hush")
    assert history.get_strings() == ["ping", "rpc exec run stdin=hush"]
    assert "hush" not in (tmp_path / "history").read_text()
    assert list(LineHistory(tmp_path / "history", LIBRARY).load_history_strings()) == ["ping"]
