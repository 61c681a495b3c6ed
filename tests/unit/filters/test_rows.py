"""The filter language over rows of a table."""

from __future__ import annotations

import pytest

from mcshell.errors import FilterError
from mcshell.filters.rows import compile_rows

ROW = {"state": "ok", "installed": False, "lag": 0.5, "version": None, "os": {"name": "Debian"}}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("installed=false", True),
        ("state=silent or lag<1", True),
        ("state=ok and lag>1", False),
        ("not state=ok", False),
        ("state=/^o/", True),
        ("os.name=Debian", True),
        ("version=1", False),
        ("version!=1", False),
        ("not version=1", True),
    ],
)
def test_columns_are_compared_as_facts_are(text, wanted):
    """Types, patterns, paths and missing values mean what they mean in a filter of nodes."""
    assert compile_rows(text)(ROW) is wanted


def test_the_columns_of_an_expression_are_named() -> None:
    """Each column that is looked at, once, so that a slip of a name can be refused."""
    assert compile_rows("a=1 and (b.c=2 or not a=3)").columns == ("a", "b.c")


@pytest.mark.parametrize("text", ["ok", "state=ok and failed", "fstat('/etc/x').present=1"])
def test_what_compares_no_column_is_refused(text: str) -> None:
    """A class or a data plugin has no meaning here, and is not silently false."""
    with pytest.raises(FilterError, match="COLUMN=VALUE is meant"):
        compile_rows(text)
