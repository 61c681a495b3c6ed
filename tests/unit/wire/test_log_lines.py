"""A service's log: a line a record, whatever others have said in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from mcshell.node.process.service import begin_log
from mcshell.wire.log_lines import log_in_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

FORGED = "gone\n2026-11-28 10:00:00,000 INFO mcshell.node: all is well\r\x1b[2J\u2028\x9b31m\u202e"


def _break() -> None:
    raise ValueError(FORGED)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Those of the tests are there again at the end."""
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    yield
    root.handlers[:] = kept
    root.setLevel(level)


def test_no_text_of_others_begins_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A record is one line without anything that a terminal acts on; a traceback is indented."""
    begin_log("info", as_json=False)
    logging.getLogger("mcshell.x").warning("the broker said: %s", FORGED)
    try:
        _break()
    except ValueError:
        logging.getLogger("mcshell.x").exception("it %s", "broke")
    first, second, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith(
        r"the broker said: gone\n2026-11-28 10:00:00,000 INFO mcshell.node: all is well"
        r"\r\x1b[2J\u2028\x9b31m\u202e"
    )
    assert second.endswith("it broke")
    assert rest[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") and line.isprintable() for line in rest)


def test_a_warning_without_a_handler_is_such_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python itself writes to an operator's standard error acts on no terminal either."""
    log_in_lines()
    assert logging.lastResort is not None
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logging.getLogger("mcshell.x").warning("%s", FORGED)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(r"gone\n2026-11-28")
    assert line.isprintable()
