"""What is known of the nodes: by realm and collective, shared by processes, never made older."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcshell.client.discovery.node_cache import CachedNode, NodeCache, _dump, _load, description
from mcshell.errors import ConfigError, MachineError
from mcshell.filters import compile_filter
from mcshell.message import Filter


@pytest.fixture
def known(tmp_path):
    """An empty file of one realm."""
    known = NodeCache(tmp_path / "nodes.sqlite", "realm")
    yield known
    known.close()


def test_an_older_word_replaces_nothing(known):
    """Descriptions may come in any order: the newest stands."""
    known.learn("mcs", [CachedNode(identity="web1", seen=20.0, version="2")])
    known.learn("mcs", [CachedNode(identity="web1", seen=10.0, version="1")])
    assert known.node("mcs", "web1").version == "2"


def test_everything_a_node_says_comes_back(known):
    """Facts, classes, agents, collectives, pools and numbers are kept as they were said."""
    node = CachedNode(
        identity="web1",
        seen=20.0,
        facts={"os": {"name": "Debian"}},
        classes=frozenset({"base"}),
        agents=frozenset({"rpcutil"}),
        collectives=("mcs",),
        version="1",
        pools=("sms",),
        started=3.0,
        crl=7,
        interval=300.0,
        skew=0.5,
    )
    known.learn("mcs", [node])
    assert known.node("mcs", "web1") == node
    assert known.node("eu", "web1") is None


def test_two_processes_share_one_file(known, tmp_path):
    """What one has learned or forgotten, the other sees; another realm sees nothing."""
    other, foreign = (NodeCache(tmp_path / "nodes.sqlite", name) for name in ("realm", "another"))
    known.learn("mcs", [CachedNode(identity="web1", seen=20.0)])
    assert [node.identity for node in other.nodes("mcs")] == ["web1"]
    assert foreign.nodes("mcs") == []
    assert other.forget("web1")
    assert known.nodes("mcs") == []
    other.close()
    foreign.close()


def test_a_survey_of_all_holds_for_every_filter(known):
    """Who has asked all knows the part; who has asked a part knows only that part."""
    web, everyone = Filter(fact=("role=web",)), Filter()
    known.survey("mcs", web, 100.0)
    assert known.surveyed("mcs", web, 50.0)
    assert not known.surveyed("mcs", everyone, 50.0)
    assert not known.surveyed("mcs", web, 150.0)
    known.survey("mcs", everyone, 200.0)
    assert known.surveyed("mcs", web, 150.0)
    assert known.surveyed("mcs", Filter(cls=("base",)), 150.0)
    assert not known.surveyed("eu", web, 0.0)


def test_who_was_not_heard_of_for_long_is_forgotten(known):
    """When all were asked, and not when some were; whoever else was heard of stays."""
    web, everyone = Filter(fact=("role=web",)), Filter()
    known.learn("mcs", [CachedNode(identity=name, seen=at) for name, at in (("a", 10), ("b", 90))])
    known.learn("eu", [CachedNode(identity="a", seen=10.0)])
    known.matching("mcs", everyone, 0.0)
    known.survey("mcs", web, 100.0, 50.0)
    assert known.identities("mcs") == {"a", "b"}
    known.survey("mcs", everyone, 200.0, 50.0)
    assert known.identities("mcs") == set(known.matching("mcs", everyone, 0.0)) == {"b"}
    assert known.identities("eu") == {"a"}
    assert known.surveyed("mcs", web, 150.0)


def test_a_damaged_file_is_set_aside(tmp_path, caplog):
    """It is only a cache: one line says where it lies, what is lost, and a new one is begun."""
    path = tmp_path / "nodes.sqlite"
    path.write_bytes(b"no database" * 1000)
    known = NodeCache(path, "realm")
    known.learn("mcs", [CachedNode(identity="web1", seen=20.0)])
    known.close()
    assert (tmp_path / "nodes.sqlite.damaged").read_bytes() == b"no database" * 1000
    (record,) = caplog.records
    line = record.getMessage()
    assert f"it lies in {path}.damaged now" in line
    assert "nodes that are down are not known until they are heard of" in line
    again = NodeCache(path, "realm")
    assert again.identities("mcs") == {"web1"}
    again.close()


def test_a_file_of_another_mcshell_is_not_set_aside(tmp_path):
    """Its version is not known here: that is no damage."""
    path = tmp_path / "nodes.sqlite"
    NodeCache(path, "realm").close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(ConfigError, match="of version 99"):
        NodeCache(path, "realm")
    assert [one.name for one in tmp_path.iterdir() if "damaged" in one.name] == []


def test_what_is_damaged_further_in_says_what_to_do(tmp_path):
    """Found out when it is read: delete it, and what is lost then."""
    path = tmp_path / "nodes.sqlite"
    known = NodeCache(path, "realm")
    known.learn("mcs", [CachedNode(identity=f"web{n}", seen=20.0) for n in range(2000)])
    known.close()
    whole = bytearray(path.read_bytes())
    whole[8192:] = b"x" * (len(whole) - 8192)
    path.write_bytes(whole)
    known = NodeCache(path, "realm")
    with pytest.raises(MachineError, match="delete it: nodes that are down"):
        known.nodes("mcs")
    known.close()


def test_what_was_heard_under_a_clock_that_was_ahead(known):
    """It does not count as newer than all that comes, nor as just heard, nor for ever."""
    now, web = time.time(), Filter(fact=("role=web",))
    known.learn("mcs", [CachedNode(identity="web1", seen=now + 1e7, facts={"role": "web"})])
    known.survey("mcs", web, now + 1e7)
    assert not known.surveyed("mcs", web, now - 60)
    (heard,) = known.matching("mcs", web, now - 86400).values()
    assert now - 7200 < heard.seen < now - 1800
    known.learn("mcs", [CachedNode(identity="web1", seen=now, facts={"role": "db"})])
    assert known.node("mcs", "web1").facts == {"role": "db"}
    assert known.matching("mcs", web, 0.0) == {}


def test_who_registers_by_a_clock_that_is_behind(known):
    """It is not known as of now, for that might be said again, but told apart from who is gone."""
    behind = CachedNode(identity="web1", seen=100.0, skew=-900.0, facts={"role": "web"})
    gone = CachedNode(identity="web2", seen=100.0, skew=0.0, facts={"role": "web"})
    known.learn("mcs", [behind, gone])
    web = Filter(fact=("role=web",))
    assert known.matching("mcs", web, 500.0) == {}
    assert known.misdated("mcs", web, 500.0) == ["web1"]
    assert known.misdated("mcs", Filter(fact=("role=db",)), 500.0) == []
    assert known.misdated("mcs", web, 1001.0) == []
    known.learn("mcs", [replace(behind, seen=600.0, skew=0.0)])
    assert known.misdated("mcs", web, 500.0) == []


def test_times_of_last_words(known):
    """`seen` answers for those who are known only."""
    known.learn("mcs", [CachedNode(identity="web1", seen=20.0)])
    known.touch("mcs", ["web1", "web2"], 30.0)
    assert known.seen("mcs", ["web1", "web2"]) == {"web1": 30.0}


NODES = st.builds(
    CachedNode,
    identity=st.sampled_from(["a", "b", "c"]),
    seen=st.integers(0, 9).map(float),
    facts=st.fixed_dictionaries({"role": st.sampled_from(["web", "db"])}),
    trust=st.sampled_from(["mcs", "psk"]),
    interval=st.sampled_from([None, 5.0]),
)
# Each by this process or another: a node says what it is, gives a sign of life, or is forgotten.
CHANGES = st.one_of(
    st.tuples(st.just("learn"), NODES),
    st.tuples(st.just("touch"), st.sampled_from("abc"), st.integers(0, 9).map(float)),
    st.tuples(st.just("forget"), st.sampled_from("abc")),
)
STEPS = st.lists(st.tuples(st.booleans(), CHANGES, st.booleans()), max_size=12)


FORGOTTEN = [  # by another process, and met again: no longer with the interval that it said before
    (
        False,
        ("learn", CachedNode(identity="a", seen=5.0, facts={"role": "web"}, interval=5.0)),
        True,
    ),
    (False, ("forget", "a"), False),
    (False, ("learn", CachedNode(identity="a", seen=5.0, facts={"role": "web"})), False),
]


@given(STEPS)
@example(FORGOTTEN)
def test_what_is_remembered_is_what_is_in_the_file(tmp_path_factory, steps):
    """Who matches, and when it was heard of, is as in the file, whoever has written that."""
    path = tmp_path_factory.mktemp("known") / "nodes.sqlite"
    ours, theirs = NodeCache(path, "realm"), NodeCache(path, "realm")
    web, since = Filter(fact=("role=web",)), 3.0
    for number, (by_us, (what, *values), look) in enumerate(steps):
        cache, own = ours if by_us else theirs, number / 1000  # no two at the same moment
        if what == "learn":
            cache.learn("mcs", [replace(values[0], seen=values[0].seen + own)])
        elif what == "touch":
            cache.touch("mcs", values[:1], values[1] + own)
        else:
            cache.forget(values[0])
        if look:
            ours.matching("mcs", web, since)
    kept = [one for one in theirs.nodes("mcs", since) if compile_filter(web).matches_known(one)]
    found = ours.matching("mcs", web, since)
    assert list(found) == [one.identity for one in kept]
    told = [(one.seen, one.interval, one.trust == "mcs") for one in kept]
    assert [tuple(one) for one in found.values()] == told
    ours.close()
    theirs.close()


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.sampled_from('a"\\é\n\x00\u2028\udc80')),
)
FACTS = st.dictionaries(st.sampled_from(["a", "é"]), SCALARS | st.lists(SCALARS, max_size=2))


@given(FACTS)
def test_facts_come_back_as_they_were_said(facts):
    """To the digit and the letter, whatever JSON can say."""
    node = CachedNode(identity="a", seen=1.0, facts=facts)
    assert description(_load(_dump(node)), "a", 1.0) == node
