"""What of a node's facts can be sent: random documents of all kinds, in what says them."""

from __future__ import annotations

import datetime as dt
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcshell.node.agents.registry import load_agents
from mcshell.node.builtin import builtin_agents
from mcshell.node.facts.classes import read_classes
from mcshell.node.facts.sendable import MAX_DEPTH, fitted, sendable
from mcshell.node.facts.source import FactSource
from mcshell.node.host import Host
from mcshell.wire.documents import strict_json

TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(["", "$", "a.b", "\0", "yes", "1e3"])
NUMBERS = (
    st.integers()
    | st.sampled_from([2**64, -(2**63) - 1, 10**1500, -(10**4001)])
    | st.floats(allow_nan=True, allow_infinity=True)
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
PLAIN = st.recursive(
    SCALARS | st.sampled_from(["\ud800", "a\udfffb"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)
YAMLS = st.recursive(
    SCALARS | st.dates() | st.datetimes() | st.binary(max_size=6) | st.sets(st.integers()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXT | st.integers() | st.booleans() | st.none(), inner, max_size=4)
    ),
    max_leaves=15,
)
MANY = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def deep(value: Any, levels: int) -> Any:
    """A value below so many hashes."""
    for _ in range(levels):
        value = {"l": value}
    return value


def facts_of(path: Path) -> FactSource:
    """The facts of one file, no built-in ones among them."""
    return FactSource([str(path)], Path("/"), builtin=dict)


def answered(source: FactSource) -> dict[str, Any]:
    """What the node says of itself to a ping, through the bytes that it would sign."""
    host = Host("web1", facts=source.facts, served=load_agents([], builtin_agents(lambda: None)))
    body = strict_json.dumps({"v": 2, "data": host.describe()})
    facts = strict_json.loads(body)["data"]["facts"]
    assert isinstance(facts, dict)
    return facts


def alone(key: Any, given: dict[Any, Any]) -> bool:
    """Whether a key is text, and no other key becomes the same text (True and "true")."""
    others = {json.dumps(one, default=str) for one in given if not isinstance(one, str)}
    return isinstance(key, str) and key not in others


def same(sent: Any, given: Any) -> bool:
    """Whether a value is there as it was, or as the text that says the same."""
    if isinstance(given, dict) and isinstance(sent, dict):
        return all(
            same(sent[key], part)
            for key, part in given.items()
            if alone(key, given) and key in sent
        )
    if isinstance(given, list) and isinstance(sent, list):
        return len(sent) == len(given) and all(map(same, sent, given))
    if isinstance(given, bool | str | None):
        return sent == given or "\ufffd" in str(sent)
    if isinstance(given, int):
        return sent == given or sent in (hex(given), str(given))
    if isinstance(given, float):
        return sent == given or str(sent) == str(given)
    return sent is not None


def check(path: Path, document: dict[Any, Any]) -> None:
    """The node answers with what could be sent; each other fact has a line with its name."""
    source = facts_of(path)
    sent = answered(source)
    for key, value in document.items():
        if alone(key, document) and key in sent:
            assert same(sent[key], value)
        elif alone(key, document):
            assert source.flaws()


@MANY
@given(document=st.dictionaries(TEXT, PLAIN, max_size=5), levels=st.integers(0, 40))
def test_the_node_answers_whatever_json_says(
    tmp_path: Path, document: dict[str, Any], levels: int
) -> None:
    """Half characters, numbers of any length, any nesting: the rest of the file is there."""
    document["deep"] = deep(1, levels)
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(document), encoding="ascii")
    check(path, document)


@MANY
@given(document=st.dictionaries(TEXT, YAMLS, max_size=5), levels=st.integers(0, 40))
def test_the_node_answers_whatever_yaml_says(
    tmp_path: Path, document: dict[Any, Any], levels: int
) -> None:
    """Dates, bytes, sets, numbers as keys: a file that YAML reads costs no answer."""
    document["deep"] = deep([dt.date(2026, 1, 1)], levels)
    path = tmp_path / "facts.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    check(path, document)


@pytest.mark.parametrize("inside", [False, True])
def test_of_two_keys_of_one_name_the_second_is_left_out_by_name(*, inside: bool) -> None:
    """YAML has numbers, true and null as keys, JSON only their text: nothing is lost unsaid."""
    given: dict[Any, Any] = {"null": 1, None: 2, 7: 3, "7": 4}
    found, flaws = sendable({"a": given} if inside else given)
    assert (found["a"] if inside else found) == {"null": 1, "7": 3}
    assert [flaw.partition(":")[0] for flaw in flaws] == (
        ["a.None", "a.7"] if inside else ["None", "7"]
    )


def test_what_is_left_out_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However often the facts are read, and again only when something new is left out."""
    path = tmp_path / "facts.json"
    path.write_text(json.dumps({"a": deep(1, 30), "b": 1}))
    source = FactSource([str(path)], Path("/"), 0.0, builtin=dict)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            source.facts()
        assert len(caplog.records) == 1
        path.write_text(json.dumps({"a": deep(1, 30), "b": deep(1, 31)}))
        source.facts()
    assert [line.split(".")[0] for line in caplog.messages] == ["fact a", "fact b"]


def test_the_levels_are_counted_from_the_fact_on() -> None:
    """A fact may have so many levels, and a document still holds what carries it."""
    found, flaws = sendable({"a": deep(1, MAX_DEPTH)})
    assert not flaws
    assert strict_json.dumps({"data": {"facts": found}})
    found, flaws = sendable({"a": deep({}, MAX_DEPTH)})
    assert len(flaws) == 1


@pytest.mark.parametrize(
    ("facts", "room", "names"),
    [
        ({"a": "x" * 100, "b": "y" * 50, "c": 1}, 90, ["a"]),
        ({"a": "x" * 100, "b": "y" * 50, "c": 1}, 20, ["a", "b"]),
        ({"os": {"name": "x", "big": "y" * 500}, "b": 1}, 90, ["os.big"]),
        ({"many": {str(n): n for n in range(500)}, "b": 1}, 90, ["many"]),
        ({"a": "é" * 60}, 100, ["a"]),
        ({"a": 1}, 100, []),
    ],
)
def test_the_largest_are_left_out(facts: dict[str, Any], room: int, names: list[str]) -> None:
    """As few as can be: of a hash the one part where that is enough, else the whole."""
    found, flaws = fitted(facts, room)
    assert [line.split(":")[0] for line in flaws] == names
    assert len(strict_json.dumps(found)) <= room


@given(facts=st.dictionaries(TEXT, PLAIN, max_size=6), room=st.integers(2, 400))
def test_what_is_fitted_fits(facts: dict[str, Any], room: int) -> None:
    """Whatever the facts are, and what stays is as it was."""
    facts, _flaws = sendable(facts)
    found, flaws = fitted(facts, room)
    assert len(json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()) <= room
    assert bool(flaws) == (found != facts)


def test_a_file_of_aliases_costs_a_moment(tmp_path: Path) -> None:
    """Ten lines of YAML that stand for ten thousand million values: the others are there."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "laughs.yaml"
    path.write_text("\n".join([*lines, "fine: 1"]))
    source = facts_of(path)
    assert answered(source)["fine"] == 1
    assert any(line.startswith("fact l9: more than") for line in source.flaws())


@pytest.mark.parametrize(
    ("content", "classes", "flaws"),
    [
        (b"\xef\xbb\xbfrole::web\r\nbase # why\n\n#x\nbase\n", ["role::web", "base"], 0),
        (b"a\nz\xfcrich\nb\n", ["a", "b"], 1),
        (b"a\n" + b"x" * 201 + b"\nb\n", ["a", "b"], 1),
        (b"a\n" * 10 + b"b" * 60 + b"\nc\n", ["a"], 1),
        (b"", [], 0),
    ],
)
def test_a_line_of_classes_costs_itself(
    tmp_path: Path, content: bytes, classes: list[str], flaws: int
) -> None:
    """What is no UTF-8, too long or too much is left out, and said."""
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    found, said = read_classes(path, 60 if b"b" * 60 in content else 9999)
    assert found == classes
    assert len(said) == flaws


def test_no_file_of_classes_is_no_error(tmp_path: Path) -> None:
    """A folder of that name is named; nothing there is no classes."""
    assert read_classes(tmp_path / "classes.txt") == ([], [])
    (tmp_path / "classes.txt").mkdir()
    classes, flaws = read_classes(tmp_path / "classes.txt")
    assert classes == []
    assert "Is a directory" in flaws[0]
