"""Marshal, held against the real Ruby in both directions, and its refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from mcshell.errors import MarshalError
from mcshell.wire.mcollective import marshal
from mcshell.wire.mcollective.values import Bounds, RubyRegexp, RubySymbol
from tests.mcollective.ruby import describe
from tests.mcollective.strategies import VALUES

if TYPE_CHECKING:
    from tests.mcollective.ruby import Ruby

EACH = settings(max_examples=300, deadline=None)


@given(VALUES)
@EACH
def test_what_is_dumped_loads_as_the_same(value: Any) -> None:
    """Dump and load are each other's inverse."""
    assert describe(marshal.load(marshal.dump(value))) == describe(value)


@given(value=VALUES)
@EACH
def test_ruby_reads_what_we_dump(ruby: Ruby, value: Any) -> None:
    """Ruby loads every dump of ours as the same value, its types and encodings included."""
    assert ruby.load("marshal", marshal.dump(value)) == describe(value)


@given(value=VALUES)
@EACH
def test_we_read_what_ruby_dumps(ruby: Ruby, value: Any) -> None:
    """Every dump of Ruby's loads here as the same value."""
    assert describe(marshal.load(ruby.dump("marshal", value))) == describe(value)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("a = 'x'; [a, a, [a]]", ["x", "x", ["x"]]),
        ("f = 1.5; n = 2**70; [f, n, f, n, a = [1], a]", [1.5, 2**70, 1.5, 2**70, [1], [1]]),
        ("n = 2**40; s = 'x'; [n, n, s, s]", [2**40, 2**40, "x", "x"]),
        ("{a: 1, 'a' => 2}", {RubySymbol("a"): 1, "a": 2}),
        ("['é'.encode('ISO-8859-1'), 'é'.encode('UTF-16LE')]", ["é", "é"]),
        ("s = 'é'.encode('Shift_JIS', undef: :replace); [s, s, 'x']", ["?", "?", "x"]),
        ("x = 'あ'.encode('EUC-JP'); y = 'い'.encode('EUC-JP'); [x, y, x]", ["あ", "い", "あ"]),
        (r'"\xff\xfe".force_encoding("UTF-8")', b"\xff\xfe"),
        ("'abc'.b", b"abc"),
        ("'abc'.force_encoding('US-ASCII')", "abc"),
        ("[:é, :é, :a, :a]", [RubySymbol("é"), RubySymbol("é"), RubySymbol("a"), RubySymbol("a")]),
        (
            "[/a/i, /é/, /a/n, r = /b/mx, r]",
            [RubyRegexp("a", 1), RubyRegexp("é"), RubyRegexp("a"), *[RubyRegexp("b", 6)] * 2],
        ),
        ("[0.1, 1e100, -0.0, 1e-7, 123456789.123]", [0.1, 1e100, -0.0, 1e-7, 123456789.123]),
        ("{[1, [2]] => 3}", {(1, (2,)): 3}),
        ("[2**30, -2**30, -2**30-1, 2**62, 2**64]", [2**30, -(2**30), -(2**30) - 1, 2**62, 2**64]),
        ("{'a' => {b: [nil, true, false]}}", {"a": {RubySymbol("b"): [None, True, False]}}),
    ],
)
def test_what_ruby_shares_and_spells_otherwise(ruby: Ruby, code: str, value: Any) -> None:
    """Links, symbol links, encodings and sizes of numbers are read as Ruby means them."""
    assert describe(marshal.load(ruby.dump_code(code))) == describe(value)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("Object.new", "an object"),
        ("Struct.new('P%d' % rand(10**9), :a).new(1)", "a Struct"),
        ("Time.at(0)", "an object"),
        ("Rational(1, 2)", "an object"),
        ("1..2", "an object"),
        ("String", "a Class"),
        ("Kernel", "a Module"),
        ("Hash.new(0)", "a Hash with a default"),
        ("class Sub < String; end; Sub.new('a')", "a subclass"),
        ("'a'.dup.extend(Enumerable)", "extended by a module"),
        ("s = 'a'.dup; s.instance_variable_set(:@x, 1); s", "@x: not plain data"),
        ("a = []; a << a; a", "which holds it"),
        ("{{} => 1}", "a Hash as the key"),
        ("{1 => 2, 1.0 => 3}", "two keys"),
        (r'"\xff".b.to_sym', "a Symbol that is not text"),
        (r'Regexp.new("\xff".b)', "a Regexp that is not text"),
        ("{}.compare_by_identity.merge!('a' => 1)", "a subclass"),
        ("2**9000", "bits"),
    ],
)
def test_what_is_no_plain_data_is_refused(ruby: Ruby, code: str, what: str) -> None:
    """An object is never built: the error says what it was, and where it stood."""
    with pytest.raises(MarshalError, match=what) as caught:
        marshal.load(ruby.dump_code(code))
    assert caught.value.offset is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x04\x07i\x00",
        b"\x04\x08",
        b"\x04\x08i",
        b"\x04\x08[\x06",
        b"\x04\x08[\x04\xff\xff\xff\x7f",
        b"\x04\x08[\xfa",
        b'\x04\x08"\x04\xff\xff\xff\x7f',
        b"\x04\x08{\x06i\x06",
        b"\x04\x08;\x00",
        b"\x04\x08@\x06",
        b"\x04\x08@\x00",
        b"\x04\x08l+\x04\xff\xff\xff\x7f",
        b"\x04\x08l*\x06\x00\x00",
        b"\x04\x08f\x080x1",
        b"\x04\x08i\x00i\x00",
        b"\x04\x08{\x07i\x06i\x06i\x06i\x06",
        b"\x04\x08I[\x00\x00",
        b'\x04\x08I"\x00\x06:\x06Ei\x00',
        b'\x04\x08I"\x00\x06:\x06E@\x00',
    ],
)
def test_bytes_that_are_no_marshal_are_refused(body: bytes) -> None:
    """A body that is cut off, lies about lengths or goes on after its value is an error."""
    with pytest.raises(MarshalError):
        marshal.load(body)


def test_a_small_body_cannot_stand_for_a_large_value() -> None:
    """Links count each time: a thousand laughs end at the bound on values, text or depth."""
    body = b'I"\x04\x00\x10\x00' + b"a" * 4096 + b"\x06:\x06ET"
    laughs = b"[\x0c" + body + b"@\x06" * 6
    level = laughs
    index = 1
    for _ in range(30):
        level = b"[\x07" + level + b"@\x06"
        index += 1
    with pytest.raises(MarshalError):
        marshal.load(b"\x04\x08" + level)
    chain = b"[\x02\x10\x27[\x00" + b"".join(
        b"[\x06@" + marshal.dump(n)[3:] for n in range(1, 10_000)
    )
    with pytest.raises(MarshalError, match="nested deeper than 64"):
        marshal.load(b"\x04\x08" + chain)
    doubling = b"[\x1e[\x00" + b"".join(
        b"[\x07" + (b"@" + bytes((n + 5,))) * 2 for n in range(1, 25)
    )
    with pytest.raises(MarshalError, match="values"):
        marshal.load(b"\x04\x08" + doubling, Bounds(max_values=1000))


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        [1j],
        "\ud800",
        {"a": 1, b"a": 2},
        2**9000,
        {("a",): 1, (b"a",): 2},
    ],
)
def test_what_ruby_could_not_read_as_the_same_is_not_dumped(value: Any) -> None:
    """A value that Ruby has no equal of is an error before anything is sent."""
    with pytest.raises(MarshalError):
        marshal.dump(value)


def test_bounds_hold_for_both_directions() -> None:
    """Depth and size end reading and writing alike."""
    deep: list[Any] = []
    for _ in range(80):
        deep = [deep]
    with pytest.raises(MarshalError, match="deeper"):
        marshal.dump(deep)
    with pytest.raises(MarshalError, match="deeper"):
        marshal.load(b"\x04\x08" + b"[\x06" * 80 + b"0")
    with pytest.raises(MarshalError, match="more than 10"):
        marshal.dump("a" * 20, Bounds(max_body=10))
    with pytest.raises(MarshalError, match="more than 10"):
        marshal.load(marshal.dump("a" * 20), Bounds(max_body=10))
