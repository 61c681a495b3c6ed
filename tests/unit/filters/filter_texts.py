"""Texts of compound filters as people and machines may write them, and what goes wrong in them."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["any_texts", "mutated_texts", "valid_texts"]

_SPACES = ("", " ", "  ", "\t", "\n", "\u00a0", " \r\n")
_WORDS = (
    *(
        "os",
        "os.name",
        "role::db",
        "cpu.count",
        "not",
        "and",
        "or",
        "notes",
        "andy",
        "order",
        "Not",
    ),
    *(
        "-",
        "*",
        "a[0]",
        "fstat",
        "fact",
        "é",
        "a/b",
        "1.10",
        "x\\y",
        "%",
        "$(x",
        ".".join("ab" * 20),
    ),
)
_VALUES = (
    *("Debian", "6.18.0-1~rc1", "2:1.4+b2", "1.10", "-3", "true", "FALSE", "a=b", "x'y\"z", "not"),
    *("/var/lib", "/a/b/", "//", "/", "/é", "\\", "a\\/b", "and", "[", "!x", "0" * 45),
)
_PATTERNS = (
    *("/^web/", "/a b/", r"/a\/b/", r"/\./", "/(a|b)+/", "/x y)/", "/(/", "/'/", r"/\\/", "/[/"),
    *("/(?=a)/", "/(a)\\1/", "/\n/", "/é/i"),
)
_OUTPUTS = (".md5", ".value", ".exists", ".member", ".size", ".valeu", ".x", "._")
_OPERATORS = ("=", "==", "=~", "!=", "!=~", "<", "<=", "=<", ">", ">=", "=>", "=!", "<>", "~")

_spaces = st.sampled_from(_SPACES)
_inner = st.sampled_from(["", "a", "x y", "(", ")", "and", "/", r"\\", r"\n", "1.0", "true", "é\n"])
_quoted = st.one_of(
    _inner.map(lambda text: f"'{text}'"),
    _inner.map(lambda text: f'"{text}"'),
    st.sampled_from([r"'it\'s'", r'"a\"b"', "'\"'", '"\'"', r"'\\'"]),
)
_names = st.sampled_from(_WORDS) | st.text("abz.:-_é", min_size=1, max_size=4)
_values = st.one_of(st.sampled_from(_VALUES), st.sampled_from(_PATTERNS), _quoted)
_operators = st.sampled_from(_OPERATORS[:3]) | st.sampled_from(_OPERATORS)


def _spaced(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    """The parts, each with whatever is no more than space before it."""
    strategies = [st.just(part) if isinstance(part, str) else part for part in parts]
    return st.tuples(*(one for part in strategies for one in (_spaces, part))).map("".join)


_tests = st.one_of(
    _spaced(_names),
    _spaced(_quoted),
    _spaced(st.sampled_from(_PATTERNS)),
    _spaced(_names | _quoted, _operators, _values),
    _spaced(_names | _quoted, _operators, _values),
    _spaced(
        st.sampled_from(["fstat", "fact", "agent", "collective", "fsat"]) | _names,
        "(",
        _quoted | _names | st.just("") | st.sampled_from(_VALUES),
        ")",
        st.sampled_from(_OUTPUTS),
        _operators,
        _values,
    ),
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joints = st.sampled_from(["and", " and ", "or", " or ", "\nand\t", " or"])
    return st.one_of(
        _spaced("(", inner, ")"),
        _spaced(st.sampled_from(["!", "not ", "not", "! !"]), inner),
        st.tuples(inner, joints, inner).map("".join),
        st.tuples(inner, joints, inner).map("".join),
    )


valid_texts = st.recursive(_tests, _larger, max_leaves=6)
"""Made by the grammar; not all parse: an operator may be unknown, a word may run into the next."""

_pieces = st.one_of(
    st.sampled_from([*"()'\"/\\ =!<>~.,\n", "and", "or", "not", " and ", "\u2028", "\0"]),
    st.sampled_from(_PATTERNS),
    st.text(max_size=2),
)


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    text = draw(valid_texts)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 4))
        text = text[:start] + draw(_pieces) + text[start + length :]
    return text


mutated_texts = _mutated()
"""The same, with one to three places overwritten."""

any_texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="ab=~!<>()'\"/\\ .andortx[]*+\n", max_size=40),
    st.lists(
        st.sampled_from([*"()!/'\"", "not ", " and ", " or ", "a", "a=b", "fact(a).value", " "]),
        max_size=12,
    ).map("".join),
)
"""No filter in particular."""
