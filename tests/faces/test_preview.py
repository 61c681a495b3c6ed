"""Preview before harm: who is hit is shown, and many are not hit unasked."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.rpc.requester import Preview
from mcshell.commands.context import Context
from mcshell.shell.lines import run_line
from mcshell.shell.output import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)

LINE = "rpc exec run 'argv=[\"true\"]'"


@pytest.fixture
def context(fleet: Fleet) -> Iterator[Context]:
    """The surroundings of a prompt that knows the whole fleet."""
    found = Context("prompt", fleet.config)
    assert run_line("find", found, Screen(io.StringIO(), io.StringIO())) == 0
    yield found
    found.close()


def run(context: Context, line: str) -> tuple[int, str]:
    """Run a line; its exit code, and what it said on standard error."""
    err = io.StringIO()
    code = run_line(line, context, Screen(io.StringIO(), err, None))
    return code, err.getvalue()


def test_without_a_terminal_many_are_refused(fleet: Fleet, context: Context) -> None:
    """More than `client.confirm_share` of the fleet is an error that says who; nothing is sent."""
    before = len(fleet.audit("web1"))
    code, err = run(context, f"{LINE} -F role=web")
    assert code == 64
    assert err == (
        "exec.run changes 2 nodes, 67% of the known fleet: web[1-2]; that is more than 50%"
        " (client.confirm_share): say --yes, or ask fewer\n"
    )
    ran = [event for event in fleet.audit("web1")[before:] if event.get("agent") == "exec"]
    assert ran == []
    assert fleet.cli("rpc", "exec", "run", 'argv=["true"]').returncode == 64


def test_yes_few_and_what_changes_nothing_go_unasked(context: Context) -> None:
    """`--yes` sends, a third of the fleet is no question, nor is an action that changes nothing."""
    assert run(context, f"{LINE} -F role=web -y")[0] == 0
    assert run(context, f"{LINE} -I db1")[0] == 0
    assert run(context, "rpc rpcutil ping")[0] == 0
    code, err = run(context, f"{LINE} --via queue --ttl 1h -F role=web")
    assert (code, "say --yes" in err) == (64, True)


def test_an_operator_is_shown_and_asked(context: Context) -> None:
    """At a terminal the line is shown; only a yes sends."""
    said: list[str] = []
    asked: list[str] = []
    context.say = said.append
    context.ask = lambda question: bool(asked.append(question))
    code, err = run(context, f"{LINE} -F role=web")
    assert (code, err) == (64, "not confirmed: nothing was sent\n")
    assert said == ["exec.run changes 2 nodes, 67% of the known fleet: web[1-2]"]
    assert asked == ["go on?"]
    context.ask = lambda _question: True
    assert run(context, f"{LINE} -F role=web")[0] == 0
    said.clear()
    asked.clear()
    assert run(context, f"{LINE} -I db1")[0] == 0
    assert (len(said), asked) == (1, [])


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 100))
def test_a_share_is_of_all_that_are_known(count: int, others: int, percent: int) -> None:
    """It is exceeded when more than so many hundredths are hit; one node never exceeds it."""
    names = tuple(f"n{number}" for number in range(count))
    preview = Preview("a", "b", names, count + others, f"{percent}%")
    assert preview.exceeds == (count > 1 and 100 * count > percent * (count + others))
    assert Preview("a", "b", names, 500, str(percent)).exceeds == (count > max(1, percent))
