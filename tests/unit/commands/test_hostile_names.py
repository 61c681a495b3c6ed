"""What nodes name is offered by Tab as one word, quoted, or not at all: case a21."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.commands.completion import Cache, candidates
from mcshell.commands.completion.cache import KnownRequest
from mcshell.commands.grammar.parser import split_line
from mcshell.commands.grammar.reading import read_lines
from mcshell.errors import UsageError

LINES = (
    "find -F ro",
    "find -F 'ro",
    'find -F "ro',
    "find --where ro",
    "find -C ro",
    'find -S "ro',
    'find -S "x and ro',
    "find -S ro",
    "find -I ro",
    "find -F=ro",
    "find --collective ro",
    "facts ro",
    "rpc rpcutil ping -F ro",
    "rpc rpcutil get_fact fact=ro",
    "job list ro",
    "session attach ro",
    "summary rpc --pool ro",
)
NASTY = st.lists(
    st.sampled_from(["|", ">", ";", "#", "!", "'", '"', "\\", " ", "\t", "\n", "\x1b[2J", "$(id)"])
    | st.sampled_from(["touch FILE", "web", "=", "`", "\u202e", "\u200b", "{x}", "*", "&&", "--"]),
    max_size=8,
).map("".join)


def knowing(name: str, value: str = "v") -> Cache:
    """What an operator knows of a fleet in which everything has this name."""
    return Cache(
        ddls={},
        nodes=(name,),
        facts={name: (value,), "role": (value,)},
        classes=(name,),
        collectives=(name,),
        sessions=(name,),
        pools=(name,),
        requests=(),
        jobs=(KnownRequest("f00d" * 8, "service restart", 0.0, name),),
        plans=(KnownRequest("ace" * 10, "stopped", 0.0, name),),
    )


def offered(line: str, cache: Cache) -> list[str]:
    """The line as it would be after Tab, for each that is offered."""
    return [line[: one.start] + one.text for one in candidates(line, len(line), cache)]


def sent_elsewhere(line: str) -> bool:
    """Whether a line's result goes to a command or a file; an open quote is none."""
    (read,) = read_lines(line)
    return bool(read.sign)


def words(line: str) -> list[str]:
    """A line's words as they would be run; an open quote is closed, as its operator would."""
    for end in ("", "'", '"'):
        try:
            return split_line(line + end)
        except UsageError:
            continue
    raise AssertionError(line)


@given(name=NASTY, value=NASTY, line=st.sampled_from(LINES))
def test_tab_adds_nothing_but_one_word(name: str, value: str, line: str) -> None:
    """Whatever is offered leaves the line's other words, has no pipe and no file, and is printable."""
    for whole in offered(line, knowing(f"role{name}", value)):
        assert whole.isprintable()
        assert not sent_elsewhere(whole)
        before, after = words(line), words(whole)
        assert after[: len(before) - 1] == before[:-1]
        assert len(after) == len(before)


@pytest.mark.parametrize("line", ["find -F ro", "find -F 'ro", "facts ro", "find -C ro"])
def test_a_name_with_a_shell_command_is_quoted(line: str) -> None:
    """The fact that ran a command on alice's machine is one quoted word."""
    name = "role=web | touch FILE #"
    found = offered(line, knowing(name))
    assert any(name in words(whole)[-1] for whole in found)
    assert not any(map(sent_elsewhere, found))


def test_a_name_that_cannot_be_quoted_is_not_offered() -> None:
    """With a line end or an escape in it nothing is offered."""
    assert offered("find -C ro", knowing("role\nfind")) == []
    assert offered("find -C ro", knowing("role\x1b[2J")) == []


def test_values_are_quoted_too() -> None:
    """The value of a fact stands behind its name as one word."""
    (whole,) = offered("find -F role=", knowing("x", "web | touch FILE #"))
    assert whole == "find -F " + shlex.quote("role=web | touch FILE #")
