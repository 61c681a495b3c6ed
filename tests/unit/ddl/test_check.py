"""Inputs: typed, validated, filled in and refused, alike on both ends."""

from __future__ import annotations

import ipaddress
import json
import math
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcshell.ddl import REDACTED
from mcshell.ddl.types import MAX_DEPTH
from mcshell.errors import InputError
from tests.unit.ddl.documents import an_input, run_action

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
whole = st.integers(-(2**53), 2**53)
BY_TYPE = {
    "string": st.text(),
    "integer": st.integers(-(10**90), 10**90),
    "number": whole | st.floats(allow_nan=False, allow_infinity=False),
    "float": st.floats(allow_nan=False, allow_infinity=False) | whole.map(float),
    "boolean": st.booleans(),
    "list": st.sampled_from(["a", "b", 3, True]),
    "array": st.lists(plain, max_size=4),
    "hash": st.dictionaries(st.text(), plain, max_size=4),
    "any": plain.filter(lambda value: value is not None),
}
typed = st.sampled_from(sorted(BY_TYPE)).flatmap(
    lambda kind: BY_TYPE[kind].map(lambda value: (kind, value))
)


def one(kind: str, **more):
    """An action with the one input `x`."""
    listed = {"list": ["a", "b", 3, True]} if kind == "list" else {}
    return run_action({"x": an_input(kind, **listed, **more)})


def refused(action, data) -> InputError:
    """The error with which an action refuses its inputs."""
    with pytest.raises(InputError) as caught:
        action.check(data)
    assert "\n" not in str(caught.value)
    return caught.value


def attempt(call, *arguments):
    """What a call returns and None, or None and the statuscode with which it refuses."""
    try:
        return call(*arguments), None
    except InputError as error:
        return None, error.statuscode


@given(typed)
def test_check_takes_values_of_the_type(pair):
    """A value of the declared type is taken as it is."""
    kind, value = pair
    checked = one(kind).check({"x": value})["x"]
    assert checked == value
    assert type(checked) is type(value)


@given(st.sampled_from(sorted(BY_TYPE)), plain)
def test_check_is_idempotent(kind, value):
    """Checking what was checked changes nothing: the node sees what the client saw."""
    action = run_action(
        {
            "x": an_input(kind, optional=True, **({"list": ["a", 3]} if kind == "list" else {})),
            "y": an_input("integer", optional=True, default=3.0),
        }
    )
    first, refusal = attempt(action.check, {"x": value})
    assert refusal in (None, 4)
    if refusal:
        return
    second = action.check(first)
    assert second == first
    assert json.dumps(second) == json.dumps(first)
    assert first["y"] == 3


@given(typed)
def test_text_and_back(pair):
    """A value that is written for a command line is read back as the same value."""
    kind, value = pair
    action = one(kind)
    text = action.inputs["x"].to_text(value)
    back = action.from_text({"x": text})["x"]
    assert back == value
    assert json.dumps(back) == json.dumps(value)


@given(
    st.sampled_from(["integer", "number", "float", "boolean", "array", "hash", "any"]), st.text()
)
def test_any_text_is_read_or_refused(kind, text):
    """Any word of a command line is a value of the type, or an InputError with statuscode 4."""
    action = one(kind)
    value, refusal = attempt(action.convert, {"x": text})
    assert refusal in (None, 4)
    if refusal is None and value["x"] is not None:
        checked, refusal = attempt(action.check, value)
        assert refusal in (None, 4)  # JSON of another type
        json.dumps(checked, allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "3", 3),
        ("integer", "-3", -3),
        ("number", "3", 3),
        ("number", "-2.5", -2.5),
        ("number", "1e3", 1000.0),
        ("float", "8", 8.0),
        ("boolean", "True", True),
        ("boolean", "n", False),
        ("boolean", "0", False),
        ("string", "3", "3"),
        ("list", "a", "a"),
        ("list", "3", 3),
        ("list", "true", True),
        ("array", '["ls", "-l"]', ["ls", "-l"]),
        ("hash", '{"a": 1}', {"a": 1}),
        ("any", "7", 7),
        ("any", "just words", "just words"),
        ("any", '"7"', "7"),
    ],
)
def test_from_text(kind, text, value):
    """A command line's words become the declared types."""
    read = one(kind).from_text({"x": text})["x"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("integer", "3.5", "whole number"),
        ("integer", "٣", "whole number"),
        ("integer", "9" * 5000, "whole number"),
        ("float", "nan", "number"),
        ("float", "1e999", "finite"),
        ("boolean", "maybe", "true or false"),
        ("array", "a,b", 'JSON, such as ["a", "b"]'),
        ("array", "[NaN]", "finite"),
        ("array", "[" * 100_000, "nested"),
        ("hash", "[1]", "must be a hash"),
        ("list", "c", "one of a, b, 3, True"),
    ],
)
def test_from_text_refused(kind, text, says):
    """A word that is no value of the type is refused with statuscode 4."""
    with pytest.raises(InputError) as caught:
        one(kind).from_text({"x": text})
    assert says in str(caught.value)
    assert caught.value.statuscode == 4
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", 3),
        ("string", b"x"),
        ("integer", "3"),
        ("integer", True),
        ("integer", 3.5),
        ("integer", 1e300),
        ("number", False),
        ("number", math.nan),
        ("number", math.inf),
        ("float", 2**53 + 1),
        ("float", 10**400),
        ("boolean", 1),
        ("boolean", "true"),
        ("list", 1),
        ("list", [1]),
        ("array", "a"),
        ("array", {"a": 1}),
        ("array", [math.nan]),
        ("array", [{1, 2}]),
        ("hash", [1]),
        ("hash", {1: 2}),
        ("any", object()),
        ("any", {"a": {2: 3}}),
    ],
)
def test_wrong_type(kind, value):
    """A value that could only become the type with a loss is refused with statuscode 4."""
    error = refused(one(kind), {"x": value})
    assert (error.statuscode, error.name) == (4, "x")


@pytest.mark.parametrize(
    ("kind", "value", "becomes"),
    [
        ("integer", 3.0, 3),
        ("float", 8, 8.0),
        ("array", (1, (2,)), [1, [2]]),
        ("any", b"\xff", b"\xff"),
    ],
)
def test_lossless(kind, value, becomes):
    """A value that is the type but for its spelling is taken."""
    checked = one(kind).check({"x": value})["x"]
    assert checked == becomes
    assert type(checked) is type(becomes)


def test_numpy():
    """A value out of a DataFrame is taken for the plain value it holds."""
    numpy = pytest.importorskip("numpy")
    for kind, value, plain_type in (
        ("integer", numpy.int64(3), int),
        ("number", numpy.float64(2.5), float),
        ("boolean", numpy.bool_(True), bool),
        ("string", numpy.str_("a"), str),
    ):
        assert type(one(kind).check({"x": value})["x"]) is plain_type
    assert one("array").check({"x": [numpy.int64(3)]}) == {"x": [3]}


def test_depth():
    """Arrays and hashes are nested so deep and no deeper."""
    value = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    one("array").check({"x": value})
    assert "nested" in str(refused(one("array"), {"x": [[value]]}))


@given(
    st.dictionaries(st.sampled_from(["name", "count", "nmae", "extra"]), st.just("x"), max_size=4)
)
def test_unknown_and_missing_are_always_refused(data):
    """An input that is not declared, or a required one that is missing, is refused with 3."""
    action = run_action({"name": an_input(), "note": an_input(optional=True)})
    unknown = [name for name in data if name not in ("name", "note")]
    if not unknown and "name" in data:
        assert action.check(data) == {"name": "x"}
        return
    error = refused(action, data)
    assert error.statuscode == 3
    assert error.name == (unknown[0] if unknown else "name")


def test_messages():
    """The refusals say what was meant."""
    action = run_action({"name": an_input(), "note": an_input(optional=True)})
    assert "did you mean name?" in str(refused(action, {"nmae": "x"}))
    assert "it takes name, note" in str(refused(action, {"zzz": "x"}))
    assert "sample.act needs the input name (D)" in str(refused(action, {}))
    assert "it takes none" in str(refused(run_action({}), {"a": 1}))
    assert refused(action, ["name"]).statuscode == 4


def test_defaults():
    """A default is filled in, optional or not; None counts as not given; order is the DDL's."""
    action = run_action(
        {
            "z": an_input("integer", optional=True, default=5),
            "a": an_input("boolean", default=False),
            "n": an_input("string", optional=True, default=None),
            "m": an_input("string"),
        }
    )
    assert list(action.check({"m": "x"}).items()) == [("z", 5), ("a", False), ("m", "x")]
    assert action.check({"m": "x", "z": None, "n": "y"}) == {"z": 5, "a": False, "n": "y", "m": "x"}
    assert refused(action, {"m": None}).statuscode == 3


@given(st.text(alphabet="ab`$;|&><\n\r\0 -/é", max_size=8))
def test_shellsafe(text):
    """Shellsafe refuses every character that a shell acts on, and nothing else."""
    action = run_action({"x": an_input(validation="shellsafe")})
    if set(text) & set("`$;|&><\n\r\0"):
        assert "safe in a shell" in str(refused(action, {"x": text}))
    else:
        assert action.check({"x": text}) == {"x": text}


def test_shellsafe_wants_text():
    """Shellsafe on an input of any type refuses what is no text."""
    action = run_action({"x": an_input("any", validation="shellsafe")})
    assert "must be text" in str(refused(action, {"x": ["$(x)"]}))


addresses = (
    st.ip_addresses().map(str)
    | st.text(alphabet="0123456789abcdef.:/%", max_size=20)
    | st.sampled_from(["10.0.0.1/8", "010.0.0.1", "::1%eth0", "::ffff:1.2.3.4", "1.2.3", ""])
)


@given(addresses)
def test_addresses(text):
    """The address validators take what the ipaddress module takes, without prefix or zone."""

    def valid(parse):
        try:
            parse(text)
        except ValueError:
            return False
        return "%" not in text

    four, six = valid(ipaddress.IPv4Address), valid(ipaddress.IPv6Address)
    for name, expected in (("ipv4address", four), ("ipv6address", six), ("ipaddress", four or six)):
        action = run_action({"x": an_input(validation=name)})
        if expected:
            assert action.check({"x": text}) == {"x": text}
        else:
            assert "must be an IP" in str(refused(action, {"x": text}))


@given(st.text(max_size=12), st.integers(0, 10))
def test_maxlength(text, limit):
    """A text is at most maxlength characters long; 0 is any length."""
    action = run_action({"x": an_input(maxlength=limit)})
    if limit and len(text) > limit:
        assert f"at most {limit}" in str(refused(action, {"x": text}))
    else:
        assert action.check({"x": text}) == {"x": text}


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[a-z]+$", ["abc"], ["abc\n", "a\nb", "", "ABC"]),
        ("[b]", ["abc"], ["ac"]),
        (r"^a\$$", ["a$"], ["a", "a$\n"]),
        (r"^[$]$", ["$"], ["$\n", "a"]),
        (r"\Aab\z", ["ab"], ["ab\n", "abc"]),
        ("(?m)^a$", ["b\na\nc"], ["b"]),
        ("(?i)^a$", ["A"], ["A\n"]),
        ("^(a|b$)", ["a", "b"], ["b\n"]),
        (r"^\d+$", ["12"], ["\u0663", "1\u0663"]),
        (r"^[\w.-]+$", ["a-b.c_1"], ["z\u00fcrich", "a b"]),
        (r"^(?=a)\w+$", ["ab"], ["a\u00fc"]),
    ],
)
def test_regex(pattern, good, bad):
    """A regex is searched as Choria does: $ is the end, not the place before a last newline."""
    action = run_action({"x": an_input(validation=pattern)})
    for text in good:
        assert action.check({"x": text}) == {"x": text}
    for text in bad:
        assert "must match" in str(refused(action, {"x": text}))


def test_a_list_of_values():
    """A `list`, an `enum` and a validation that is a list take the values listed, of their type."""
    for more in (
        {"type": "list", "list": ["a", 1]},
        {"type": "any", "enum": ["a", 1]},
        {"type": "any", "validation": ["a", 1]},
    ):
        action = run_action({"x": an_input("any") | more})
        assert action.check({"x": 1}) == {"x": 1}
        assert "one of a, 1" in str(refused(action, {"x": True}))
        assert refused(action, {"x": "b"}).statuscode == 4


def test_sensitive():
    """A sensitive value shows neither in what is redacted nor in an error."""
    action = run_action(
        {"token": an_input(validation="^[a-z]+$"), "name": an_input()},
        mcshell={"sensitive": ["token"]},
    )
    data = {"token": "SECRET-1", "name": "n", "tokn": "SECRET-2"}
    assert action.redact(data) == {"token": REDACTED, "name": "n", "tokn": REDACTED}
    assert "SECRET" not in str(refused(action, {"token": "SECRET-1", "name": "n"}))
    with pytest.raises(InputError) as caught:
        action.inputs["token"].check(3)
    assert str(caught.value) == "input token must be text, not a number"
    assert run_action({"a": an_input()}).redact({"b": 1}) == {"b": 1}


def test_loads_nothing_heavy():
    """Loading a DDL and checking inputs loads none of the heavy libraries."""
    program = (
        "import sys\n"
        "from mcshell.ddl.ddl_library import Library, shipped_dir\n"
        "library = Library([shipped_dir()])\n"
        "for agent in library.agents(): library.get(agent)\n"
        "heavy = ('jsonschema', 'lark', 'yaml', 'pandas', 'importlib.metadata')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@given(st.text(), st.text())
def test_text_is_never_evaluated(name, text):
    """A word's text stays text in a string input, whatever it holds."""
    assume(name != "x")
    assert one("string").from_text({"x": text}) == {"x": text}
    with pytest.raises(InputError):
        one("string").from_text({"x": text, name: text})
