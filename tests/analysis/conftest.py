"""Fleets of answers that are made up: from a seed, with what is planted known."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mcshell.client.analysis.answers import Answers


def answers(rows: dict[str, dict[str, Any]], **more: Any) -> Answers:
    """Answers that all came out well, one row a sender."""
    names = dict.fromkeys(name for row in rows.values() for name in row)
    columns = {
        "sender": list(rows),
        "state": ["ok"] * len(rows),
        "statuscode": [0] * len(rows),
        **{name: [row.get(name) for row in rows.values()] for name in names},
        **more,
    }
    return Answers(tuple(rows), columns)


@pytest.fixture
def chance() -> random.Random:
    """The same numbers each time."""
    return random.Random(20261124)
