"""YAML as Ruby's Psych speaks it, held against the real one in both directions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcshell.errors import YAMLError
from mcshell.wire.mcollective import yamls
from mcshell.wire.mcollective.values import Bounds, RubyRegexp, RubySymbol
from tests.mcollective.ruby import RubyError, describe
from tests.mcollective.strategies import TRAPS, VALUES

if TYPE_CHECKING:
    from tests.mcollective.ruby import Ruby

EACH = settings(max_examples=300, deadline=None)


@given(VALUES)
@EACH
def test_what_is_dumped_loads_as_the_same(value: Any) -> None:
    """Dump and load are each other's inverse."""
    assert describe(yamls.load(yamls.dump(value))) == describe(value)


@given(value=VALUES)
@EACH
@example(value={"<<": {"a": 1}, RubySymbol("<<"): "<<"})
@example(value={"k" * 3000: 1, ("a", (RubySymbol("b"), -1.5)): [[], {}, ()]})
def test_ruby_reads_what_we_dump(ruby: Ruby, value: Any) -> None:
    """Ruby's safe_load, without aliases, reads every dump of ours as the same value."""
    assert ruby.load("yaml", yamls.dump(value)) == describe(value)


@given(value=VALUES)
@EACH
def test_we_read_what_ruby_dumps(ruby: Ruby, value: Any) -> None:
    """A dump of Ruby's reads here as Ruby itself reads it (its Regexps gain backslashes)."""
    body = ruby.dump("yaml", value)
    try:
        expected = ruby.load("yaml", body)
    except RubyError:
        return  # one that Ruby itself cannot read back
    assert describe(yamls.load(body)) == expected


@given(
    st.one_of(
        st.sampled_from(TRAPS),
        st.from_regex(r"\A[-+]?[0-9][0-9_,.:eExb+-]{0,8}\Z"),
        st.from_regex(r"\A:?[a-zA-Z0-9_.:~<>=!@/+-]{1,8}\Z"),
        st.text(st.characters(exclude_categories=("Cs", "Cc"))),
    )
)
@settings(max_examples=1500, deadline=None)
def test_a_plain_scalar_is_what_ruby_takes_it_for(ruby: Ruby, text: str) -> None:
    """Whatever stands unquoted, in the `! '...'` form too, is of the type that Psych gives it."""
    body = f"---\n- ! '{text.replace(chr(39), 2 * chr(39))}'\n- {text}\n".encode()
    try:
        expected: Any = ruby.load("yaml", body)
    except RubyError:
        expected = None
    try:
        seen: Any = describe(yamls.load(body))
    except YAMLError:
        seen = None
    if expected != seen:
        assert expected is None or seen is None
        assert seen is None, "read here, an error to Ruby"
        with pytest.raises(YAMLError, match=r"merge|twice|tag|two keys|alias|key"):
            yamls.load(body)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("{body: \"a\\nb\\n\", 'x' => :y}", {RubySymbol("body"): "a\nb\n", "x": RubySymbol("y")}),
        ("a = [1]; [a, a]", [[1], [1]]),
        (r"r = /^a\d/i; [r, r]", [RubyRegexp(r"^a\d", 1), RubyRegexp(r"^a\d", 1)]),
        (r'"\xff\x00".b', b"\xff\x00"),
        (
            "['yes', 'null', '1', '2026-01-01', ':a', '<<']",
            ["yes", "null", "1", "2026-01-01", ":a", "<<"],
        ),
        ("[:'a b', :'a: b', :'']", [RubySymbol("a b"), RubySymbol("a: b"), RubySymbol("")]),
        ("{[1, 2] => 3}", {(1, 2): 3}),
        ("[1.0e+20, 1e-7, -0.0, 2**70]", [1e20, 1e-7, -0.0, 2**70]),
    ],
)
def test_the_forms_that_ruby_chooses(ruby: Ruby, code: str, value: Any) -> None:
    """Blocks, anchors, quoting and tags of Psych's emitter are read as Ruby means them."""
    assert describe(yamls.load(ruby.dump_code(code, "yaml"))) == describe(value)


@pytest.mark.parametrize(
    "code",
    ["Object.new", "Time.at(0)", "1..2", "String", "Struct.new(:a).new(1)", "Rational(1, 2)"],
)
def test_objects_of_ruby_are_refused(ruby: Ruby, code: str) -> None:
    """What is more than plain data is an error with its line."""
    with pytest.raises(YAMLError, match="not plain data, at line") as caught:
        yamls.load(ruby.dump_code(code, "yaml").replace(b"#<Class:", b"C"))
    assert caught.value.line is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--- 2026-01-01\n",
        b"--- 2026-01-01 10:00:00 Z\n",
        b"--- !ruby/object:Gem::Requirement\nrequirements: []\n",
        b"--- !!python/object/apply:os.system ['id']\n",
        b"--- !ruby/hash:Foo {}\n",
        b"--- !set {a: }\n",
        b"--- *a\n",
        b"--- &a [*a]\n",
        b"--- {a: 1, a: 2}\n",
        b"--- {a: &x {b: 1}, <<: *x}\n",
        b"--- {1: 2, 1.0: 3}\n",
        b"--- [\n",
        b"--- a\n--- b\n",
        b"--- \xff\n",
        b"--- !binary '*'\n",
        b"--- !ruby/regexp a\n",
        b"--- !float a\n",
        b"--- 0x_\n",
        b"--- " + b"9" * 5000 + b"\n",
        b"--- " + b"[" * 100 + b"]" * 100 + b"\n",
        b"--- \x00\n",
        b"%TAG ! tag:x,2000:\n--- a\n",
        b"--- a\n...\n%YAML 1.1\n",
    ],
)
def test_what_is_refused(body: bytes) -> None:
    """Objects, dates, cycles, merges, double keys and text that is no YAML: an error each."""
    with pytest.raises(YAMLError):
        yamls.load(body)


def test_a_billion_laughs_end_at_the_bounds() -> None:
    """Aliases count each time, in values and in text, and quickly so."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    start = time.process_time()
    with pytest.raises(YAMLError, match="more than 250000 values"):
        yamls.load("\n".join(lines).encode())
    big = "- &a " + "x" * 100_000 + "\n" + "- *a\n" * 1000
    with pytest.raises(YAMLError, match="bytes of text"):
        yamls.load(big.encode())
    assert time.process_time() - start < 10


@pytest.mark.parametrize("value", [object(), {1}, "\ud800", {"a": 1, b"a": 2}, 2**9000])
def test_what_ruby_could_not_read_as_the_same_is_not_dumped(value: Any) -> None:
    """A value that Ruby has no equal of is an error before anything is sent."""
    with pytest.raises(YAMLError):
        yamls.dump(value)


def test_bounds_hold_for_both_directions() -> None:
    """Depth and size end reading and writing alike."""
    deep: list[Any] = []
    for _ in range(80):
        deep = [deep]
    with pytest.raises(YAMLError, match="deeper"):
        yamls.dump(deep)
    with pytest.raises(YAMLError, match="more than 10"):
        yamls.dump("a" * 20, Bounds(max_body=10))
    with pytest.raises(YAMLError, match="more than 10"):
        yamls.load(b"a" * 20, Bounds(max_body=10))
