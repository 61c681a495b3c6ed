"""A hash that has a name, as the operating system's facts are."""

from __future__ import annotations

import pytest

from mcshell.client.discovery.node_cache import CachedNode
from mcshell.filters import compile_filter
from mcshell.message import Filter

OS = {"os": {"name": "Debian", "family": "debian", "release": {"full": "12"}}}


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("os=Debian", True),
        ("os=Rocky", False),
        ("os=/^Deb/", True),
        ("os!=Debian", False),
        ("os!=Rocky", True),
        ("os=family", True),
        ("os.release=full", True),
        ("os.release!=full", False),
    ],
)
def test_a_hash_with_a_name_stands_for_it(test, expected):
    """`os=Debian` means the system's name; without a name, a hash matches by its keys."""
    node = CachedNode(identity="web1", seen=1.0, facts=OS)
    assert compile_filter(Filter(fact=(test,))).matches(node) is expected
    assert compile_filter(Filter(compound=(test,))).matches(node) is expected
