"""What is known of the nodes: by realm and collective, shared by processes, never made older."""

from __future__ import annotations

import pytest

from mcshell.client.discovery.node_cache import CachedNode, NodeCache
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


def test_times_of_last_words(known):
    """`seen` answers for those who are known only."""
    known.learn("mcs", [CachedNode(identity="web1", seen=20.0)])
    known.touch("mcs", ["web1", "web2"], 30.0)
    assert known.seen("mcs", ["web1", "web2"]) == {"web1": 30.0}
