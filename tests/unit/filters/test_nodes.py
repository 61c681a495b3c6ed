"""Node ranges, there and back."""

from __future__ import annotations

import random
import re
import time

import pytest
from ClusterShell.NodeSet import NodeSet
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import FilterError
from mcshell.filters.nodes import MAX_NODES, expand, fold


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        (["web[01-03]"], ["web01", "web02", "web03"]),
        (["web[9-11]"], ["web9", "web10", "web11"]),
        (["web[1-3,7].example.com"], [f"web{n}.example.com" for n in (1, 2, 3, 7)]),
        (["db1,web[1-2],db1"], ["db1", "web1", "web2"]),
        (["r[1-2]n[01-02]"], ["r1n01", "r1n02", "r2n01", "r2n02"]),
        (["web[1-5/2]"], ["web1", "web3", "web5"]),
        (["Zed", "b", "a", "b"], ["zed", "b", "a"]),
        (["", " x ", ","], ["x"]),
        ([], []),
    ],
)
def test_expand(entries, names):
    """Ranges expand with their padding; plain names keep their order; each comes once."""
    assert expand(entries) == names


@pytest.mark.parametrize(
    "entry",
    [
        "web[1-",
        "web]1[",
        "web[a-c]",
        "web[]",
        "web[1-3",
        "web[[1]]",
        "all[1-2]@",
        "web[1]*",
        "x[3-1]",
    ],
)
def test_no_range(entry):
    """A range that is none is refused in one line that shows how to write one."""
    with pytest.raises(FilterError, match="no range of nodes"):
        expand([entry])


def test_too_many(monkeypatch):
    """A range of a fleet too large is refused before it is made, and so is one a thousand times over."""
    monkeypatch.setattr("mcshell.filters.nodes._MOST_SAID", 2 * MAX_NODES)
    started = time.process_time()
    for entry in ("web[1-999999999999]", "a[1-999]b[1-999]", f"web[0-{MAX_NODES}]"):
        with pytest.raises(FilterError, match="more than 100,000"):
            expand([entry])
    with pytest.raises(FilterError, match="more than 100,000"):
        expand(["a[1-60000]", "b[1-60000]"])
    for names in (["a[1-90000]"] * 1000, [",".join(["a[1-90000]"] * 1000)]):
        with pytest.raises(FilterError, match="the same nodes over and over"):
            expand(names)
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["web1", "web2", "web3", "db"], "db,web[1-3]"),
        (["web01", "web02", "web10"], "web[01-02,10]"),
        (["web1.a.b", "web2.a.b", "web2.c"], "web2.c,web[1-2].a.b"),
        (["10.0.0.1", "10.0.0.2", "10.0.1.1"], "10.0.0.[1-2],10.0.1.1"),
        (["only7"], "only7"),
        (["w98", "w99", "w100"], "w[98-100]"),
        (["w098", "w099", "w100"], "w[098-100]"),
        (["w1", "w2", "w01", "w02", "w10"], "w[1-2,01-02,10]"),
        (["w0", "w1", "w00"], "w[0-1,00]"),
        (["r1n1", "r1n2", "r2n1", "r2n2"], "r[1-2]n[1-2]"),
        (["a[b", "x*", "x*"], "a[b,x*"),
        ([], ""),
    ],
)
def test_fold(names, text):
    """Names fold to ranges, sorted, irregular ones beside them."""
    assert fold(names) == text


labels = st.from_regex(r"[a-z][a-z0-9-]{0,3}[0-9]{0,3}", fullmatch=True)
hosts = labels | st.builds("{}.{}".format, labels, st.sampled_from(["example.com", "dc1.x2", "9"]))
addresses = st.ip_addresses(v=4).map(str)


@given(st.sets(hosts | addresses | st.integers(0, 999).map("web{:03d}".format), max_size=15))
def test_there_and_back(names):
    """What is folded expands to the same names."""
    assert set(expand([fold(names)])) == names
    assert len(expand([fold(names)])) == len(names)


def test_a_large_fleet_folds_soon():
    """Ten thousand names over many domains fold within seconds."""
    names = [f"web{n}.dc{n % 7}.example.com" for n in range(10_000)]
    started = time.process_time()
    text = fold(names)
    assert time.process_time() - started < 20
    assert set(expand([text])) == set(names)


def test_a_random_half_of_a_fleet_folds_at_once():
    """50,000 of 100,000 names, which make some 25,000 ranges, fold in seconds; so do racks."""
    chance = random.Random(1)
    names = {f"web{n:05}" for n in chance.sample(range(100_000), 50_000)}
    racks = {f"r{n // 40}n{n % 40:02}" for n in chance.sample(range(100_000), 20_000)}
    started = time.process_time()
    texts = [fold(names), fold(racks)]
    assert time.process_time() - started < 10
    inside = re.findall(r"[0-9]+(?:-[0-9]+)?", texts[0].removeprefix("web"))
    ends = [tuple(map(int, (one.split("-") * 2)[:2])) for one in inside]
    assert sum(last - first + 1 for first, last in ends) == len(names)
    some = sorted(racks)[:600]
    assert set(expand([fold(some)])) == set(some)


def test_folding_agrees_with_clustershell():
    """The sets are those of ClusterShell, whatever the padding."""
    chance = random.Random(2)
    for _ in range(100):
        names = {
            f"n{chance.choice(['', '0', '00'])}{chance.choice([9, 10, 99, 100, chance.randint(0, 120)])}"
            for _ in range(chance.randint(1, 30))
        }
        assert set(NodeSet(fold(names))) == names
