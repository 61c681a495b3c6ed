"""MCSHELL_TEST_EXAMPLES: how many examples of a property are tried at most."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

_OWN = "_hypothesis_internal_use_settings"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lower what a test asks for; there is no public way from outside."""
    most = int(os.environ.get("MCSHELL_TEST_EXAMPLES", "0"))
    for item in items if most else ():
        test = getattr(item, "obj", None)
        own = getattr(test, _OWN, None)
        if own is not None and own.max_examples > most:
            setattr(test, _OWN, settings(own, max_examples=most))
