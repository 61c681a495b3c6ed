"""Regexes from operators: what is refused, and that the rest ends soon."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcshell.errors import FilterError
from mcshell.filters.patterns import MAX_PATTERN, MIN_REACH, compile_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a*)*$",
        "(a|a)*b",
        "(a|b)+",
        "([a-z]+)*x",
        "(?:a?){20}",
        "(?P<n>a+)+",
        "(?i:a+){2,}",
        "((a)+b?)*",
        "(.*){5}",
        "a**",
        "(?=a+)+",
        "(a{1,9}){1,9}",
    ],
)
def test_nested_repeats_are_refused(pattern):
    """A repeat over what varies itself is refused: it could take exponential time."""
    with pytest.raises(FilterError, match="for ever"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", [".*" * 6 + "x", "a?" * 40, "(a|b)" * 40, "a{60000}b{60000}", ".*" * 100]
)
def test_too_open_patterns_are_refused(pattern):
    """A pattern that leaves so much open that it could only judge short texts is refused."""
    with pytest.raises(FilterError, match="too long"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(", "unterminated"),
        ("*a", "nothing to repeat"),
        ("[[:alpha:]]", "backslash"),
        ("[a--b]", "means nothing"),
        ("(?x) a", "flag x"),
        ("a" * (MAX_PATTERN + 1), "more than"),
        ("\\", "bad escape"),
        ("(?P<n>a)(?P<n>b)", "redefinition"),
        ("(\n", "/(\\n/"),
    ],
)
def test_invalid_patterns_are_refused(pattern, says):
    """A regex that is none, or means something else elsewhere, is a FilterError in one line."""
    with pytest.raises(FilterError) as caught:
        compile_pattern(pattern)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.column


@pytest.mark.parametrize(
    "pattern",
    [
        "^web",
        "web|db|app",
        r"^\d+\.\d+\.\d+\.\d+$",
        r"^(web|db)\d+(\.eu)?$",
        "[]a]+[^]x]",
        "a{2,5}b{,3}c{",
        "(?i)x",
        "(?:ab){3}",
        "(?#note+)a+?",
        "(?<!a)b(?!c)",
        r"\(a+\)+",
        "[(a+)]+",
        "a++b",
    ],
)
def test_usual_patterns_pass(pattern):
    """What operators write compiles, and is found where `re` finds it."""
    compiled = compile_pattern(pattern)
    assert compiled.reach >= MIN_REACH
    for text in ("web01", "db2.eu", "10.0.0.1", "ab" * 3, "(a)", "x]"):
        assert compiled.found(text) == (re.search(pattern, text) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        "a*a*a*Z",
        "(a|a)(a|a)(a|a)(a|a)(a|a)a*Z",
        "a?a?a?a?a?a?a?a?a*a*Z",
        "a{2,9}a{2,9}a*Z",
        "a{900}b",
    ],
)
def test_the_worst_text_within_reach_is_judged_soon(pattern):
    """The longest text that a pattern judges costs seconds at most; longer ones are left alone."""
    compiled = compile_pattern(pattern)
    started = time.monotonic()
    assert not compiled.found("a" * compiled.reach)
    assert time.monotonic() - started < 20
    assert not compile_pattern("a*a*").found("a" * 100_000)


@given(st.text(alphabet="ab(|)*+?{1,3}[]^-\\.:P<n>=!#i$&~", max_size=20))
@example("[^")
@example("(?")
@example("{,}")
def test_the_scan_never_breaks(pattern):
    """Any text is either a pattern that re knows too, or a FilterError; never a warning."""
    try:
        compiled = compile_pattern(pattern)
    except FilterError:
        return
    assert compiled.found("ab") == (re.search(pattern, "ab") is not None)
