"""A service's log: a line a record, whatever others have said in it."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from typing import TYPE_CHECKING

import pytest

from mcshell.wire.log_lines import begin_log, log_in_lines, say

if TYPE_CHECKING:
    from collections.abc import Iterator

FORGED = "gone\n2026-11-28 10:00:00,000 INFO mcshell.node: all is well\r\x1b[2J\u2028\x9b31m\u202e"


def _break() -> None:
    raise ValueError(FORGED)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Those of the tests are there again at the end."""
    root = logging.getLogger()
    kept, level, hook = root.handlers[:], root.level, threading.excepthook
    yield
    threading.excepthook = hook
    logging.captureWarnings(capture=False)
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


@pytest.mark.filterwarnings("default::UserWarning")
def test_all_that_a_service_says_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Under --log-json that it serves, whatever the level, warnings and what ends a thread are objects too."""
    begin_log("warning", as_json=True)
    say("ready")
    warnings.warn("of old", UserWarning, stacklevel=1)
    one = threading.Thread(target=_break, name="weak")
    one.start()
    one.join()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"].split(":")[0] for line in lines[::2]] == [
        "ready",
        "the thread weak has died",
    ]
    assert "of old" in lines[1]["message"]
    assert "ValueError" in lines[2]["traceback"]
