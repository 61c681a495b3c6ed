"""Colours of states, and the pagers that may be given them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.shell.colours import bold, painted, plain
from mcshell.shell.pager import passes_colours


@pytest.mark.parametrize(
    ("command", "less", "passes"),
    [
        ("less -FRX", "", True),
        ("less", "FRX", True),
        ("/usr/bin/less", "-R", True),
        ("less -r", "", True),
        ("less", "", False),
        ("less -F", "-X", False),
        ("more", "R", False),
        ("cat -R", "", False),
        ("lesser -R", "", False),
    ],
)
def test_only_a_less_that_passes_colours_is_given_any(
    command: str, less: str, *, passes: bool
) -> None:
    """Any other pager would show the codes as letters."""
    assert passes_colours(command, less) is passes


def test_the_words_stay_whole() -> None:
    """A colour is around a state, not around a part of another word."""
    assert painted("13 ok, token") == "13 \x1b[32mok\x1b[0m, token"


@given(st.text(st.characters(exclude_characters="\x1b")))
def test_colours_can_be_taken_out_again(text: str) -> None:
    """Without them a text is what it was: nothing is said by colour alone."""
    assert plain(painted(text)) == text
    assert plain(bold(text)) == text
