"""The prompt with a real line editor, fed with keys, on a real fleet."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from mcshell.commands.context import Context
from mcshell.shell.output import Screen
from mcshell.shell.prompt import loop, reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def context(fleet: Fleet) -> Iterator[Context]:
    """The surroundings of a prompt of the fleet's operator."""
    found = Context("prompt", fleet.config)
    yield found
    found.close()


def typed(context: Context, keys: str) -> tuple[int, str, str]:
    """Type keys at the prompt; the exit code and what went to the two streams."""
    out, err = io.StringIO(), io.StringIO()
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        code = loop(reader(context), context, Screen(out, err, None))
    return code, out.getvalue(), err.getvalue()


def test_lines_run_until_ctrl_d(context: Context) -> None:
    """Lines are answered one by one; Ctrl-D leaves with the last line's code."""
    code, out, err = typed(context, "find -F role=web --senders\rrpc rpcutil ping -I db1\r\x04")
    assert code == 0
    assert out.startswith("web1\nweb2\n")
    assert "db1" in out
    assert "1 targets: 1 ok" in err


def test_ctrl_c_clears_the_line_and_errors_do_not_leave(context: Context) -> None:
    """A line broken off is not run, a bad one is one line on standard error, and we go on."""
    code, out, err = typed(context, "pnig\x03pnig\r\rfind -I db1 --senders\rquit\r")
    assert (code, out) == (0, "db1\n")
    assert err == "unknown verb 'pnig' (did you mean ping?)\n"


def test_the_last_lines_code_is_the_prompts(context: Context) -> None:
    """`exit` leaves with the code of the line before."""
    code, _, err = typed(context, "rpc rpcutil pnig\rexit\r")
    assert code == 64
    assert err.count("\n") == 1


def test_a_bang_is_the_operators_shell(context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    """`!command` runs in the shell that the operator has."""
    code, _, _ = typed(context, "!echo from $((40+2))\r!exit 3\r\x04")
    assert code == 3
    assert capfd.readouterr().out == "from 42\n"


def test_history_is_kept(context: Context) -> None:
    """What was typed is in the state directory, and comes back with the up key."""
    typed(context, "find -I db1 --senders\r\x04")
    assert "find -I db1 --senders" in (context.settings.state_dir / "history").read_text()
    _, out, _ = typed(context, "\x1b[A\r\x04")
    assert out == "db1\n"
