"""Names in destinations: any identity is one segment, and no two are the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import UsageError
from mcshell.wire import destinations

NAMES = st.text(min_size=1, max_size=40)
SEGMENT = re.compile(r"[a-z0-9._~-]+")


@given(NAMES)
def test_a_name_is_of_harmless_letters(name: str) -> None:
    """Whatever an identity is, its queue has no wildcard, no space and no separator of its own."""
    place = destinations.work("mcs", name)
    assert SEGMENT.fullmatch(place.removeprefix("/queue/mcs.mcs.work."))


@given(NAMES, NAMES)
def test_two_names_have_two_queues(one: str, other: str) -> None:
    """Nobody's name leads into another's queue."""
    same = destinations.node("mcs", one) == destinations.node("mcs", other)
    assert same == (one == other)


@pytest.mark.parametrize("word", ["", "a.b", "a>", "*", "A", "a b", "a/b", "\u00e4", "x" * 129])
def test_what_is_no_word_is_refused(word: str) -> None:
    """Collectives, sessions and pools stand in a destination as they are, or not at all."""
    with pytest.raises(UsageError):
        destinations.check_word("session", word)
