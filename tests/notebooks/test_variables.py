"""`{name}` and `{{expression}}` in any text: put in whole, or left or refused, never something else."""

from __future__ import annotations

import datetime as dt
import shlex
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcshell.client.documents.reader import inputs_of, load_yaml
from mcshell.ddl.types import Given
from mcshell.errors import UsageError
from mcshell.notebook.variables import Template

TEXT = st.text(st.sampled_from("ab {}$n\"'=:-[],\n#\ue000\ue0010.\\"), max_size=40)
VALUES = st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text(), max_size=3))


@given(TEXT)
def test_a_text_is_itself_or_refused(text: str) -> None:
    """Where no name is known a text comes back letter by letter, or a place in it is refused."""
    assume("{{" not in text)
    template = Template(text, {})
    assert template.plain() == text
    try:
        found = template.value(template.text)
    except UsageError:
        found = text  # the whole of it is the place of a name that is not there
    assert found == text


@given(TEXT, TEXT)
def test_a_known_name_is_never_passed_on(before: str, after: str) -> None:
    """A place of a known name gives its value, or nothing is given at all."""
    assume(not before.endswith(("$", "{")))
    template = Template(f"{before}{{known}}{after}", {"known": "VALUE"})
    try:
        found = template.value(template.text)
    except UsageError:
        return
    assert "{known}" not in found
    assert found.endswith("VALUE")


@given(VALUES)
def test_a_value_is_one_word(value: Any) -> None:
    """Whatever is in it: no second word, no option, no quoting; an `any` takes it as it is."""
    template = Template("rpc a b x={v} -- {{v}} y", {"v": value})
    words = template.words(shlex.split(template.text))
    assert len(words) == 7
    assert words[6] == "y"
    for word in (words[3], words[5]):
        assert isinstance(word, Given)
        assert word.value == value
    if isinstance(value, str):
        assert words[3] == f"x={value}"
        assert words[5] == value


@given(VALUES)
def test_a_value_is_one_value_of_a_cell(value: Any) -> None:
    """No YAML is read in it, and no key comes of it."""
    template = Template("text: {v}\nlist: [{v}, a]\nmap: {k: {{v}}}\nquoted: '{v}'", {"v": value})
    found = inputs_of(template.yaml(load_yaml(template.text, "the cell")))
    assert list(found) == ["text", "list", "map", "quoted"]
    assert found["list"] == [value, "a"]
    assert found["map"] == {"k": value}
    for name in ("text", "quoted"):
        assert isinstance(found[name], Given)
        assert found[name].value == value


@given(VALUES)
def test_a_value_is_a_parameter(value: Any) -> None:
    """A query has a name in its place, whatever the value is."""
    bound: dict[str, Any] = {}
    template = Template("SELECT {v} -- {v}\nFROM x WHERE y = '{' || {{v}}", {"v": value})
    text = template.sql(template.text, bound)
    assert text.startswith("SELECT :given0 -- {v}\n")


def test_a_moment_is_a_parameter_as_it_is() -> None:
    """In a query, which makes seconds of it; elsewhere it is a word, and a date is one everywhere."""
    moment = dt.datetime(2026, 11, 29, 4, tzinfo=dt.UTC)
    bound: dict[str, Any] = {}
    template = Template("{v} {d}", {"v": moment, "d": moment.date()})
    assert template.sql(template.text, bound) == ":given0 :given1"
    assert bound == {"given0": moment, "given1": "2026-11-29"}
    assert template.words(template.text.split()) == ["2026-11-29T04:00:00+00:00", "2026-11-29"]


def test_expressions_end_where_python_ends() -> None:
    """Braces inside an expression are its own; one that is none is named."""
    names: dict[str, Any] = {"d": {"a": {"b": 1}}}
    for text, value in (
        ("{{d['a']}}", {"b": 1}),
        ("{{ {'x': {'y': d}}['x']['y']['a']['b'] }}", 1),
        ("{{'{{.Names}}'}}", "{{.Names}}"),
        ("{{str(d['a']['b'])}}", "1"),
        ("{{sum(d['a'][k] for k in d['a'])}}", 1),
    ):
        template = Template(text, names)
        found = template.value(template.text)
        assert isinstance(found, Given)
        assert found.value == value
    for text in ("{{.Names}}", "{{nosuch}}", "{{d[}}"):
        template = Template(text, names)
        with pytest.raises(UsageError):
            template.value(template.text)
