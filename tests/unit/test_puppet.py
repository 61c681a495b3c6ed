"""What is read of Puppet's files: summaries, catalogs; and what a node's folder says before anything runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.deploy.puppet.apply import COUNTS, facts_of, summed
from mcshell.deploy.puppet.converse.puppet import PuppetFolder, without_noop
from mcshell.errors import AgentError, InputError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
PARAMETERS = st.dictionaries(st.sampled_from(["ensure", "content", "noop", "name"]), VALUES)


@given(counts=st.fixed_dictionaries(dict.fromkeys(COUNTS, st.integers(0, 10**6))))
def test_a_summary_is_its_counts(counts: dict[str, int]) -> None:
    """The counts of resources are those that puppet wrote; others are left out."""
    assert summed(json.dumps({"resources": {**counts, "skipped": 1}, "time": {}})) == counts


@given(text=st.text() | VALUES.map(json.dumps))
def test_what_is_no_summary_is_refused(text: str) -> None:
    """Any other text is one clear line."""
    with pytest.raises(InputError, match="no summary of puppet's"):
        summed(text)


@given(each=st.lists(st.none() | PARAMETERS))
def test_no_resource_has_a_noop_of_its_own(each: list[Any]) -> None:
    """All of a catalog stays as it is, but for what its resources say of noop."""
    every = [{"title": "x"} | ({} if one is None else {"parameters": one}) for one in each]
    made = json.loads(without_noop(json.dumps({"name": "n", "resources": every}).encode()))
    for one in every:
        one.get("parameters", {}).pop("noop", None)
    assert made == {"name": "n", "resources": every}


@given(content=st.binary() | VALUES.map(json.dumps).map(str.encode))
def test_what_is_no_catalog_is_refused(content: bytes) -> None:
    """Bytes that are no catalog are one clear line."""
    with pytest.raises(InputError, match="not a catalog"):
        without_noop(content)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, r"not served here: \[agents.puppet\] folder"),
        ({"folder": "relative"}, r"not served here: \[agents.puppet\] folder"),
        ({"folder": "/nowhere", "options": "--noop"}, "options is no list of strings"),
        ({"folder": "/nowhere"}, "puppet is not installed here"),
        ({"folder": "/nowhere", "program": "other"}, "other is not installed here"),
    ],
)
def test_a_node_that_does_not_serve_it_says_why(settings: dict[str, Any], words: str) -> None:
    """Without a folder, or without puppet, nothing is made and nothing runs."""
    there = "/usr/bin/puppet" if "options" in settings else None
    with pytest.raises(AgentError, match=words):
        PuppetFolder(settings, lambda _program: there)


@given(facts=st.dictionaries(st.text(), VALUES))
def test_facts_are_texts_and_no_tags(facts: dict[str, Any]) -> None:
    """What a node tells is below `values`, as it was told: nothing of it is YAML of its own."""
    first, name, values = facts_of("n1", json.dumps(facts).encode()).decode().split("\n", 2)
    assert first == "--- !ruby/object:Puppet::Node::Facts"
    assert json.loads(name.removeprefix("name: ")) == "n1"
    assert json.loads(values.removeprefix("values: ")) == {**facts, "clientcert": "n1"}


@pytest.mark.parametrize("told", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000])
def test_what_are_no_facts_is_refused(told: bytes) -> None:
    """Anything else that a node tells is one clear line."""
    with pytest.raises(InputError, match="n1 has told no facts"):
        facts_of("n1", told)
