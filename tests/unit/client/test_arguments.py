"""What a method is given where its annotation says text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcshell.client.arguments import checks_methods
from mcshell.errors import UsageError


@checks_methods
class Asked:
    """Says what it was given."""

    def ask(
        self, agent: str, /, *rest: str, path: str | Path | None = None, count: int = 1, **more: Any
    ) -> Any:
        """Return all of it."""
        return agent, rest, path, count, more

    def other(self, node: str | list[str], ttl: float | str = 0) -> Any:
        """Return what is looked at nowhere else."""
        return node, ttl


def test_what_fits_is_passed_on() -> None:
    """What is like text or a number counts as one; the name of an argument without one is an input's."""
    asked: Any = Asked()
    given = asked.ask(np.str_("a"), "b", path=Path("c"), count=np.int64(2), agent=5)
    assert given == ("a", ("b",), Path("c"), 2, {"agent": 5})
    assert asked.ask("a", path=None) == ("a", (), None, 1, {})
    assert asked.other(["a"], 3) == (["a"], 3)


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        ((3,), {}, "agent 3: text is meant"),
        (("a", None), {}, "rest None: text is meant"),
        (("a",), {"path": b"x"}, "path b'x': text or a path is meant"),
        (("a",), {"count": "two"}, "count 'two': a whole number is meant"),
    ],
)
def test_what_does_not_fit_is_named(given: Any, named: Any, said: str) -> None:
    """The argument, what it was, and what is meant."""
    with pytest.raises(UsageError) as raised:
        Asked().ask(*given, **named)
    assert str(raised.value) == said
