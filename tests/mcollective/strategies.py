"""Values that can go over MCollective's wire, for Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mcshell.wire.mcollective.values import RubyRegexp, RubySymbol

TRAPS = [
    *("", " ", "yes", "no", "on", "off", "y", "n", "true", "null", "~", "<<", "=", "0777", "09"),
    *("1_000", "1,000", "0x1f", "0b11", "1e3", "1.5", ".5", ".", "-", "1:30", "2026-01-01", ":a"),
    *("2026-01-01 10:00:00", ".inf", "-.INF", ".nan", "a: b", "- a", "# a", "a #b", "!tag", "&a"),
    *("*a", "%d", "@a", "`a`", '"', "'", "a\nb", "a\n", "\na", " a", "a ", "\t", "\x00", "\x85"),
    *("\u2028", "\ufeff", "\x7f", "Zürich", "😀", "a" * 200, "{a: 1}", "[1]", "|", ">", "?", "---"),
    *("12e03", "1.0e+5", "+1", "...", "\r", "\x1b", "!!str a", "tag:x", "é: é", ":é", ": a"),
]
TEXT = st.one_of(st.sampled_from(TRAPS), st.text(st.characters(exclude_categories=("Cs",))))
BYTES = st.binary(max_size=60)
SYMBOLS = TEXT.filter(bool).map(RubySymbol)
REGEXPS = st.builds(
    RubyRegexp,
    st.sampled_from(["^a", "a/b", r"a\/b", "é+", "[a-z]{2}", "", " ", "(?i)x", r"\d", "a b"]),
    st.integers(0, 7),
)
INTEGERS = st.one_of(
    st.integers(),
    st.integers(-300, 300),
    st.builds(
        lambda sign, bits, off: sign * (2**bits) + off,
        st.sampled_from([1, -1]),
        st.integers(0, 200),
        st.integers(-2, 2),
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), INTEGERS, st.floats(), TEXT, BYTES, SYMBOLS, REGEXPS)
SMALL = st.integers(-(2**63), 2**63 - 1)
KEYS = st.one_of(TEXT, SYMBOLS, SMALL, BYTES.filter(lambda raw: not raw.isascii()))


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Arrays and Hashes of values; an Array may be a key."""
    keys = st.one_of(KEYS, st.tuples(SMALL, TEXT))
    return st.one_of(st.lists(inner, max_size=5), st.dictionaries(keys, inner, max_size=5))


VALUES = st.recursive(SCALARS, nested, max_leaves=25)
