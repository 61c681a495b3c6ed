"""The compound parser beside lark's: the same filters, the same trees, and messages at least as good."""

from __future__ import annotations

import re

import pytest
from hypothesis import given

from mcshell.errors import FilterError
from mcshell.filters.compound import parse
from tests.unit.filters import lark_parser
from tests.unit.filters.filter_texts import any_texts, mutated_texts, valid_texts

EXAMPLES = {
    "the first fault is told": (
        "x=! and y=",
        "unknown operator '=!' (did you mean =?) at column 2 of 'x=! and y='",
        "expected 'and' or 'or' at column 9, found 'y='",
    ),
    "a quote that is not expected": (
        "a 'b c'",
        "expected an operator or 'and' or 'or' at column 3, found \"'b c'\": \"a 'b c'\"",
        "a quote at column 3 that is never closed, or not expected here",
    ),
    "a quote that is never closed": (
        "a 'b",
        'a quote at column 3 that is never closed: "a \'b"',
        "a quote at column 3 that is never closed, or not expected here",
    ),
    "a bracket in quotes is none": (
        "('(' and x=1",
        "the '(' at column 1 is never closed: \"('(' and x=1\"",
        "the '(' at column 3 is never closed",
    ),
    "a bracket that quotes seem to close": (
        "(')'",
        "the '(' at column 1 is never closed: \"(')'\"",
        "expected the end at column 5, found the end",
    ),
    "the regex is told, not its operator": (
        "x=~'('",
        "regex /(/: missing ), unterminated subpattern, at its character 1 at column 4 of \"x=~'('\"",
        "regex /(/: missing ), unterminated subpattern, at its character 1 at column 2",
    ),
    "the operator is told, not its plugin": (
        "fact(a).value=!1",
        "unknown operator '=!' (did you mean =?) at column 14 of 'fact(a).value=!1'",
        "unknown operator '=!' (did you mean =?) at column 1",
    ),
}


def outcome(parser, text):
    """The tree, or the error."""
    try:
        return parser(text)
    except FilterError as error:
        return error


def better(text, ours, larks):
    """How an error of ours is better than lark's; nothing when it is not."""
    column, other = ours.column or len(text) + 1, larks.column or len(text) + 1
    if column < other:
        return "the first fault is told"
    if column > other:
        same = str(ours).split(" at column")[0] == str(larks).split(" at column")[0]
        return "the place is that of the fault" if same else ""
    if "never closed, or not expected here" in str(larks):
        return "a quote is one of the two"
    hidden = re.search(r"""["'/].*[()].*["'/]""", text, re.DOTALL)
    return "brackets in quotes and regexes are none" if hidden else ""


def compare(text):
    """Hold ours to lark's."""
    ours, larks = outcome(parse, text), outcome(lark_parser.parse, text)
    if not isinstance(larks, FilterError) or not isinstance(ours, FilterError):
        assert ours == larks
    elif (str(ours), ours.column) != (str(larks), larks.column):
        assert better(text, ours, larks), (str(ours), str(larks))
        assert ours.text == text
        assert "\n" not in str(ours)


@given(valid_texts)
def test_filters_of_the_grammar(text):
    """What the grammar makes has lark's verdict and lark's tree, however it is spaced and quoted."""
    compare(text)


@given(mutated_texts)
def test_filters_with_a_slip(text):
    """A filter with a slip or three has lark's verdict, and lark's message or a better one."""
    compare(text)


@given(any_texts)
def test_any_text(text):
    """So has a text that is no filter in particular."""
    compare(text)


@pytest.mark.parametrize(
    "text", ["a" * 8193, "", " \n", "!" * 50 + "a", "(" * 200 + "a" + ")" * 200]
)
def test_limits(text):
    """Limits are lark's, word by word."""
    ours, larks = outcome(parse, text), outcome(lark_parser.parse, text)
    assert (str(ours), getattr(ours, "column", 0)) == (str(larks), getattr(larks, "column", 0))


@pytest.mark.parametrize(("text", "ours", "larks"), EXAMPLES.values(), ids=EXAMPLES)
def test_where_ours_is_better(text, ours, larks):
    """The kinds of messages that differ, and what both say."""
    assert str(outcome(parse, text)) == ours
    assert str(outcome(lark_parser.parse, text)).startswith(larks)
