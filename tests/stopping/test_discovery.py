"""Ctrl-C while nodes are looked for: who had answered is shown and kept, and nothing more is asked."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import mcshell
from mcshell.commands.context import Context
from mcshell.shell.lines import run_line
from mcshell.shell.output import Screen
from tests.peers.ipython import ipython
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(300)
WEBS = ["web1", "web2", "web3"]


def answers() -> int:
    """How many answers the discovery has that the main thread waits for."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "gather":
            return len(frame.f_locals["self"].snapshot())
        frame = frame.f_back
    return 0


@pytest.fixture
def stop(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Thread]:
    """Sends SIGINT once all nodes have answered and others may still; nobody is known before."""
    state = fleet.folder / f"state-discovery-{os.urandom(4).hex()}"
    monkeypatch.setenv("MCSHELL_CONFIG", str(fleet.config))
    monkeypatch.setenv("MCSHELL_STATE", str(state))

    def watch() -> None:
        if wait_until(lambda: answers() >= len(WEBS), 60, 0.005):
            os.kill(os.getpid(), signal.SIGINT)

    found = threading.Thread(target=watch, daemon=True)
    yield found
    found.join()


@pytest.mark.parametrize("line", ["ping", "find", "facts role", "inventory"])
def test_the_rows_of_a_line_are_shown(stop: threading.Thread, line: str) -> None:
    """At the prompt and in a script: those who had answered, that it was stopped, and 130."""
    context, out, err = Context("prompt"), io.StringIO(), io.StringIO()
    stop.start()
    code = run_line(f"{line} -F role=web", context, Screen(out, err))
    context.close()
    assert code == 130, err.getvalue()
    shown = ["web[1-3]"] if line == "facts role" else WEBS
    assert all(name in out.getvalue() for name in shown), out.getvalue()
    assert line == "facts role" or "stopped after" in err.getvalue()


def test_a_cell_shows_and_keeps_them(stop: threading.Thread) -> None:
    """`-o` and `_` have the rows, an assignment does not happen, and Stopped has the replies."""
    with ipython() as shell:
        shell.run_line_magic("mco", "version")
        stop.start()
        done = shell.run_cell("df = %mco ping -F role=web -o kept")
        stopped: Any = done.error_in_exec
        assert isinstance(stopped, mcshell.Stopped)
        assert sorted(stopped.replies.frame()["sender"]) == WEBS
        assert list(shell.user_ns["kept"]["sender"]) == WEBS
        assert "df" not in shell.user_ns


def test_in_python_the_error_has_them(stop: threading.Thread) -> None:
    """`discover` raises Stopped, whose replies are what the nodes said of themselves."""
    with mcshell.connect() as client:
        stop.start()
        with pytest.raises(mcshell.Stopped) as stopped:
            client.discover(where="role=web")
        rows = {row.sender: row for row in stopped.value.replies.rows()}
        assert sorted(rows) == WEBS
        assert all(row.state.value == "ok" and row.lag >= 0 for row in rows.values())
        assert rows["web1"].data["facts"]["role"] == "web"
        assert len(client.requests()) == 0
