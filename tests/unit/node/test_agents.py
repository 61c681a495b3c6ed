"""Agents that do not load leave the daemon, and the other agents, as they are."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from mcshell.ddl.library import shipped_dir
from mcshell.node.agents import load_agents

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("nonsense", "NameError: name 'nonsense' is not defined"),
        ("class", "invalid syntax"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("", "must hold one Agent"),
    ],
)
def test_an_agent_that_does_not_load_is_inactive(tmp_path: Path, text: str, why: str) -> None:
    """Whatever its module raises is its reason; the others load."""
    schema = json.loads((shipped_dir() / "rpcutil.json").read_text(encoding="utf-8"))
    schema["metadata"]["name"] = "odd"
    (tmp_path / "odd.json").write_text(json.dumps(schema), encoding="utf-8")
    (tmp_path / "odd.py").write_text(text, encoding="utf-8")
    served = load_agents([tmp_path, shipped_dir()])
    assert why in served.inactive["odd"]
    assert served.get("rpcutil") is not None


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A slip in `[node] agents` is a line in the log, not a silent lack of agents."""
    with caplog.at_level(logging.WARNING):
        load_agents([tmp_path / "nowhere"])
    assert f"no agents from {tmp_path / 'nowhere'}" in caplog.text
