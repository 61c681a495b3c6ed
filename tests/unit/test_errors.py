"""Errors between processes."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import MCShellError, TaskError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator


def tree(kind: type[MCShellError] = MCShellError) -> Iterator[type[MCShellError]]:
    """Each error there is."""
    yield kind
    for one in kind.__subclasses__():
        yield from tree(one)


@pytest.mark.parametrize("kind", sorted(set(tree()), key=repr), ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_in_another_process(kind: type[MCShellError]) -> None:
    """With its class, its message and its data, whatever it is made of."""
    error = kind.__new__(kind, "what was wrong")
    error.state = "failed"
    for found in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(found) is kind
        assert str(found) == "what was wrong"
        assert vars(found) == {"state": "failed"}


def test_an_error_keeps_its_data_in_another_process() -> None:
    """A task's has its reply, and the word for its state."""
    error = TaskError("web1: no such fact", "failed", "ab", {"value": 1})
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


def test_what_was_meant_is_not_looked_for_among_very_many() -> None:
    """Of 100,000 names the nearest takes seconds to find: the line says then only what is wrong."""
    names = [f"web{number:05}" for number in range(100_000)]
    assert "web00001" in did_you_mean("wbe00001", names[:1000])
    assert did_you_mean("wbe00001", names) == ""
