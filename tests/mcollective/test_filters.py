"""Filters there and back, judged by MCollective's own parser and matcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import FilterError, Rejected
from mcshell.filters import compile_filter
from mcshell.message import Filter
from mcshell.wire.mcollective.filters import from_ruby, to_ruby
from mcshell.wire.mcollective.values import RubyRegexp, RubySymbol
from tests.mcollective.conftest import sampled
from tests.mcollective.matching import Node, RealMatcher
from tests.mcollective.ruby import RubyError

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = ["ams", "lon", "a/b", "x y", "é"]
FACTS = ["dc", "role", "city"]


@pytest.fixture(scope="module")
def real(mcollective: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealMatcher]:
    """MCollective's matcher."""
    del mcollective
    matcher = RealMatcher(tmp_path_factory.mktemp("matcher"))
    yield matcher
    matcher.close()


NODES = st.builds(
    Node,
    identity=st.sampled_from(["node1", "node12", "web-1.example"]),
    agents=st.sets(st.sampled_from(["rpcutil", "package"])).map(frozenset),
    classes=st.sets(st.sampled_from(["base", "role::web", "role::db"])).map(frozenset),
    facts=st.dictionaries(st.sampled_from(FACTS), st.sampled_from(WORDS), min_size=1).flatmap(
        lambda facts: st.integers(0, 12).map(lambda n: {"dc": "lon"} | facts | {"cpus": str(n)})
    ),
)
REGEXES = st.sampled_from([r"/^a/", r"/o/", r"/a\/b/", r"/[/]/", r"/^$/", r"/^(ams|lon)$/", "/=/"])
COMPARED = st.one_of(
    st.tuples(
        st.sampled_from(FACTS), st.sampled_from(["=", "!="]), st.sampled_from(["ams", "lon", "é"])
    ),
    st.tuples(st.sampled_from(FACTS), st.just("="), REGEXES),
    st.tuples(
        st.just("cpus"), st.sampled_from(["<", ">", "<=", ">=", "!="]), st.integers(0, 12).map(str)
    ),
).map("".join)
STATEMENTS = st.one_of(
    COMPARED,
    st.sampled_from(["base", "role::web", "/^role/", "dc!=/^a/", "fact('dc').value=ams"]),
    st.sampled_from(["fact('dc').value=/^a/", "fact('dc').value!=/^a/", "dc!=/o/"]),
)
COMPOUNDS = st.recursive(
    STATEMENTS,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
            lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
        ),
    ),
    max_leaves=5,
)
IDENTITIES = st.sampled_from(["node1", "node[1-3]", "/^node/", "/1$/", "web-1.example", "/a/"])
FILTERS = st.builds(
    Filter,
    fact=st.lists(COMPARED, max_size=2).map(tuple),
    cls=st.lists(st.sampled_from(["base", "role::web", "/^role/"]), max_size=2).map(tuple),
    agent=st.lists(st.sampled_from(["rpcutil", "/^pack/"]), max_size=1).map(tuple),
    identity=st.lists(IDENTITIES, max_size=3).map(tuple),
    compound=st.lists(COMPOUNDS, max_size=2).map(tuple),
)


@given(filters=FILTERS, node=NODES)
@settings(max_examples=400, deadline=None)
def test_a_filter_means_there_what_it_means_here(
    real: RealMatcher, filters: Filter, node: Node
) -> None:
    """What we send is answered by exactly the nodes that match our filter."""
    try:
        there = real.matches(to_ruby(filters), node)
    except RubyError:
        there = False  # the node drops the message
    assert there == compile_filter(filters, versions=False).matches(node)


@given(filters=FILTERS, node=NODES)
@settings(max_examples=300, deadline=None)
def test_back_again_it_still_means_the_same(filters: Filter, node: Node) -> None:
    """A filter of ours, written and read, takes the same nodes."""
    again = from_ruby(to_ruby(filters))
    assert compile_filter(again, versions=False).matches(node) == compile_filter(
        filters, versions=False
    ).matches(node)


THEIR_COMPOUNDS = st.sampled_from(
    [
        "dc=ams",
        "dc=ams and role=lon or base",
        "(dc=ams or dc=lon) and not role::web",
        "!base and /^role/",
        "dc=/^a/ and cpus>3",
        "not (dc=ams and base)",
        "fact('dc').value=ams",
        "fact('dc').value=/^a/ or base",
        "not fact('dc').value=/^a/",
        "cpus<=6 and cpus>=2",
    ]
)


@given(
    compound=st.lists(THEIR_COMPOUNDS, max_size=1),
    fact=st.lists(
        st.sampled_from(["dc=ams", "dc=/o/", "cpus>3", "cpus=<6", "dc!=lon"]), max_size=2
    ),
    classes=st.lists(st.sampled_from(["base", "/^role/"]), max_size=1),
    identity=st.lists(st.sampled_from(["node1", "/^node/"]), max_size=1),
    node=NODES,
)
@settings(max_examples=400, deadline=None)
def test_what_mco_sends_is_taken_as_it_is_there(
    real: RealMatcher,
    compound: list[str],
    fact: list[str],
    classes: list[str],
    identity: list[str],
    node: Node,
) -> None:
    """Mco's own structure, read here, takes the nodes that it takes there."""
    structure = real.parse(compound=compound, fact=fact, identity=identity, **{"class": classes})
    try:
        there = real.matches(structure, node)
    except RubyError:
        there = False
    assert compile_filter(from_ruby(structure), versions=False).matches(node) == there


def test_the_captured_filters_are_read() -> None:
    """Every filter of a captured request compiles here."""
    from mcshell.wire.mcollective import marshal

    seen = 0
    for frame in sampled("activemq-psk.jsonl"):
        if frame["body"] and RubySymbol("filter") in (message := marshal.load(frame["body"])):
            compile_filter(from_ruby(message[RubySymbol("filter")]))
            seen += 1
    assert seen > 10


def test_the_agent_of_a_call_is_in_its_filter() -> None:
    """A call's agent comes first, once; slashes within a regex survive as codes."""
    assert to_ruby(Filter(agent=("rpcutil", "/^a/")), "rpcutil")["agent"] == ["rpcutil", "/^a/"]
    assert to_ruby(Filter(cls=(r"/a\/b/",)))["cf_class"] == [r"/a\x2fb/"]
    assert to_ruby(Filter(identity=("n1", "/x/")))["identity"] == ["/(?i:x)|^(?:n1)$/"]
    assert to_ruby(Filter(identity=("n[1-2]", "n1")))["identity"] == ["n1", "n2"]


def test_a_regexp_that_limit_sends_is_an_identity() -> None:
    """`--limit` without direct addressing sends a Regexp as an identity."""
    assert from_ruby({"identity": [RubyRegexp("^(n1|n2)$")]}).identity == ("/(?m)^(n1|n2)$/",)
    assert from_ruby({"identity": [RubyRegexp("n", 1)]}).identity == ("/(?i:n)/",)
    assert from_ruby({}) == Filter()


@pytest.mark.parametrize(
    "filters",
    [
        Filter(fact=("dc!=~ams",)),
        Filter(fact=('v>="1.10"',)),
        Filter(compound=('dc="a=b"',)),
        Filter(compound=("dc=/(?=a)=/",)),
        Filter(compound=('"a=b"',)),
    ],
)
def test_what_mcollective_cannot_say_is_refused(filters: Filter) -> None:
    """A filter that would mean something else there is an error before anything is sent."""
    with pytest.raises(FilterError, match="MCollective"):
        to_ruby(filters)


@pytest.mark.parametrize(
    "structure",
    [
        {"fact": "dc"},
        {"fact": [{"fact": "dc", "value": "a", "operator": "=="}]},
        {
            "fact": [
                {RubySymbol("fact"): "dc", RubySymbol("value"): 1, RubySymbol("operator"): "=="}
            ]
        },
        {
            "fact": [
                {
                    RubySymbol("fact"): "dc",
                    RubySymbol("value"): "1",
                    RubySymbol("operator"): "; exit",
                }
            ]
        },
        {
            "fact": [
                {RubySymbol("fact"): "dc", RubySymbol("value"): "(", RubySymbol("operator"): "=~"}
            ]
        },
        {"identity": [1]},
        {"identity": ["/^(?!a)/"]},
        {"cf_class": ["/(a)\\1/"]},
        {"agent": [f"/{number}/" for number in range(65)]},
        {"agent": ["a"] * 2000},
        {"compound": ["dc=ams"]},
        {"compound": [[{"eval": "exit"}]]},
        {"compound": [[{"statement": "a", "and": "and"}]]},
        {"compound": [[{"fstatement": "x"}]]},
        {"compound": [[{"fstatement": {"name": "fact", "operator": "`id`", "value": "value"}}]]},
        {"compound": [[]]},
    ],
)
def test_structures_that_are_no_filter_are_refused(structure: dict[str, Any]) -> None:
    """What mco never sends is malformed; nothing of it is evaluated."""
    with pytest.raises(Rejected):
        from_ruby(structure)


def test_spaces_in_a_value_stay_within_it() -> None:
    """A fact with spaces in its value stays one statement."""
    statement = [[{"statement": "city=New York"}, {"or": "or"}, {"statement": "base"}]]
    text = from_ruby({"compound": statement}).compound[0]
    assert text == 'city=="New York" or base'
