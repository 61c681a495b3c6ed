"""Patterns in RE2 find what Python's `re` finds; what RE2 cannot say is named."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
import re2
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mcshell import patterns
from mcshell.errors import FilterError
from mcshell.patterns import MAX_PATTERN, compile_pattern
from mcshell.patterns.ruby import filter_from_ruby

TEXTS = [
    *(
        "",
        "a",
        "b",
        "ab",
        "abc\n",
        "abc",
        "a\nb",
        "a\n\n",
        "\n",
        "aab",
        "ABC",
        "x]",
        "(a)",
        "web01",
    ),
    *("db2.eu", "10.0.0.1", "a b", "a\tb", "é", "straße", "STRASSE", "日本", "٣", "\x1c", "\x85"),
    *("\u2003", "K", "k", "\u017f", "_", "-", "a.b-c_d", "²", "Ⅷ", "\U0001d7d8", "}", "a{2}"),
]
USUAL = [
    *("^web", "web|db|app", r"^\d+\.\d+\.\d+\.\d+$", r"^(web|db)\d+(\.eu)?$", "[]a]+[^]x]"),
    *("a{2,5}b{,3}c{", "(?i)x", "(?:ab){3}", "(?#note+)a+?", r"\(a+\)+", "[(a+)]+", "abc$", "^$"),
    *(r"abc\Z", r"\Aabc\Z", "(?m)^b$", "(?m)^$", "(?s)a.b", "a.b", "(?x) a  b # c\n", "(?i)straße"),
    *(
        r"^\w+$",
        r"^\W+$",
        r"\d",
        r"^\D$",
        r"\s",
        r"^\S+$",
        r"[\W_]",
        r"[^\W\d_]",
        r"[\w-]+",
        r"[^\s]",
    ),
    *(r"(?a)\w", r"(?a)^\d$", r"(?a)\s", "(?i)K", "(?ai)k", "(?ai)[j-l]", "(?i)[^k]", "(?-i:a)b"),
    *(
        "(?i:A)b",
        "(?P<n>a)b",
        "(a|b$)",
        "(a$)?",
        "(?:a$|b)",
        r"\x61",
        r"\u00e9",
        r"\N{LATIN SMALL LETTER E WITH ACUTE}",
    ),
    *(
        "a*?b",
        "(a*)*b",
        "(a|a)*b",
        "(?:)",
        "",
        r"\.",
        "[a-c]+",
        r"[\]\-]",
        "(?u)é",
        "(?s:.)$",
        "()a",
    ),
]


@pytest.mark.parametrize("pattern", USUAL)
def test_it_is_found_where_python_finds_it(pattern):
    """Anchors, flags, comments, classes and escapes mean what they mean in Python."""
    made = compile_pattern(pattern)
    for text in TEXTS:
        assert made.verdict(text) is (re.search(pattern, text) is not None), text


ATOMS = st.one_of(
    st.sampled_from(["a", "b", "K", "é", " ", r"\n", ".", "x", r"\.", "-"]),
    st.sampled_from(
        [r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[ab]", "[^a]", r"[\w.]", r"[^\W_]"]
    ),
    st.sampled_from(
        ["[a-k]", r"[^\s\d]", "(?i:k)", "(?s:.)", "(?a:[^\\w])", "^", "$", r"\A", r"\Z"]
    ),
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "{0,2}?"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(["", "(?i)", "(?m)", "(?s)", "(?a)", "(?im)"]),
    PATTERNS,
    st.text(alphabet="abkK1_ .-é\n\t²", max_size=8),
)
@settings(max_examples=300, deadline=None)
@example("", "(^|b)*a", "ba")
@example("(?i)", r"\W", "K")
@example("(?i)", r"[^\Wa]", "k")
@example("(?i)", r"[\Wé]", "k")
@example("", r"((\w\w){1,3}){1,3}", "²")
def test_any_pattern_is_found_where_python_finds_it(flags, pattern, text):
    """Whatever is made of the common parts is judged alike, or refused; or is too large for all letters."""
    try:
        made = compile_pattern(flags + pattern)
    except FilterError as error:
        assume("after it" not in str(error))
        raise
    # Python's `(?a:[^\\w])` looks at all letters, against its manual.
    assume("(?a:" not in pattern or text.isascii())
    verdict = made.verdict(text)
    if verdict is None:
        assert not text.isascii()
        with pytest.raises(patterns._TooLarge):
            patterns._program(patterns._translated(flags + pattern, 0).program)
        return
    assert verdict is (re.search(flags + pattern, text) is not None)


def attempt(pattern):
    """The pattern made ready, or the refusal."""
    try:
        return compile_pattern(pattern), ""
    except FilterError as error:
        return None, str(error)


@given(st.text(alphabet="ab(|)*+?{1,3}[]^-\\.:P<n>=!#i$&~", max_size=20))
@settings(deadline=None)
@example("[^")
@example("(?")
@example("{,}")
@example("[]-a]")
@example("[a-\\d]")
def test_any_text_is_a_pattern_or_refused_in_one_line(pattern):
    """Never another error, and never a warning of Python's."""
    made, refusal = attempt(pattern)
    assert "\n" not in refusal
    assert made is None or made.verdict("ab") is (re.search(pattern, "ab") is not None)


@pytest.mark.parametrize(
    "kind", [r"\w", r"\d", r"\s", r"\W", r"\D", r"\S", r"[^\W_]", r"[\W5]", r"(?i)\w"]
)
def test_a_class_holds_the_characters_that_it_holds_in_python(kind):
    r"""`\w`, `\d` and `\s` are Unicode's, but for letters newer than this Python, or than RE2."""
    made, theirs = compile_pattern(kind), re.compile(kind)
    assigned = re2.compile(r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Z}\p{C}]")  # what its tables have at all
    unlike = []
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        if 0xD800 <= code < 0xE000 or (code > 0x3400 and code % 7):
            continue
        if made.verdict(letter) is not (theirs.search(letter) is not None):
            unlike.append(letter)
    known = [one for one in unlike if unicodedata.category(one) not in ("Cn", "So")]
    assert [one for one in known if assigned.search(one)] == []


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(?=a)", "a look-ahead"),
        ("(?!a)", "a look-ahead"),
        ("(?<=a)b", "look-behind"),
        ("(?<!a)b", "look-behind"),
        (r"(a)\1", "a back-reference"),
        ("(?P<n>a)(?P=n)", "a back-reference"),
        ("(a)?(?(1)b|c)", "a condition"),
        ("a++b", "a possessive repeat"),
        ("(?>a+)b", "an atomic group"),
        ("a{1001}", "a count over 1,000"),
        ("(?:){4000000000}y", "a count over 1,000"),
        ("(a{100}){100}", "memory"),
        ("(a$|b)c", "a $ with something after it"),
        ("\ud800", "surrogate"),
        ("(", "unterminated"),
        ("*a", "nothing to repeat"),
        ("[[:alpha:]]", "backslash"),
        ("[a--b]", "means nothing"),
        ("a" * (MAX_PATTERN + 1), "more than"),
        ("\\", "bad escape"),
        (r"\h", "bad escape"),
        ("(?P<n>a)(?P<n>b)", "redefinition"),
        ("(\n", "/(\\n/"),
        ("(?a)(?u)x", "incompatible"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(pattern, says):
    """One line says what RE2 has not, or why it is no regex."""
    with pytest.raises(FilterError) as caught:
        compile_pattern(pattern)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.column


@pytest.mark.parametrize(
    ("source", "flags", "found", "missed"),
    [
        ("^b$", "", ["b", "a\nb\nc"], ["ab"]),
        (r"\Ab\z", "", ["b"], ["a\nb", "b\n"]),
        (r"\Ab\Z", "", ["b", "b\n"], ["b\n\n", "a\nb"]),
        (r"^\h+$", "", ["c0ffee"], ["xyz"]),
        (r"[\h:]+\z", "", ["ab:1"], ["x"]),
        (r"\A\w+\z", "", ["abc_1"], ["é"]),
        (r"\A\d\z", "", ["3"], ["٣"]),
        (r"\A\W\z", "", ["é", "-"], ["a"]),
        ("(?<n>a)b", "", ["ab"], ["b"]),
        ("a.b", "m", ["a\nb"], ["ab"]),
        ("a.b", "", ["axb"], ["a\nb"]),
        ("A b", "ix", ["ab"], ["a b"]),
        ("(?m:a.b)", "", ["a\nb"], ["ab"]),
        ("[[:alpha:]]+[[:digit:]]", "", ["ab1"], ["1"]),
    ],
)
def test_rubys_regexes_mean_here_what_they_mean_there(source, flags, found, missed):
    """Line anchors, ASCII's classes, its own end of text, and its flags."""
    made = compile_pattern(filter_from_ruby(source, flags))
    assert [text for text in found if not made.found(text)] == []
    assert [text for text in missed if made.found(text)] == []


def test_a_word_boundary_is_judged_where_it_is_the_same():
    r"""RE2's `\b` knows ASCII's words alone: beside other letters it is not told."""
    made = compile_pattern(r"\bweb\b")
    assert made.verdict("a web b") is True
    assert made.verdict("webs") is False
    assert made.verdict("webé") is None
    assert compile_pattern(r"(?a)\bweb\b").verdict("webé") is True
    assert compile_pattern(r"\bweb\b", from_file=True).verdict("webé") is False


def test_half_a_surrogate_in_a_text_is_a_letter_like_any_other():
    """A command line with bytes that are no UTF-8 is searched all the same."""
    assert compile_pattern("^a.b$").verdict("a\udc80b") is True
    assert compile_pattern(r"\?").verdict("a\udc80b") is False


def test_what_is_nested_deeply_is_refused_or_run():
    """250 levels of brackets end no process; a thousand of a file's are refused."""
    assert compile_pattern("(" * 100 + "a" + ")" * 100).verdict("a") is True
    with pytest.raises(FilterError, match="recursion"):
        compile_pattern("(" * 1900 + "a" + ")" * 1900, from_file=True)
