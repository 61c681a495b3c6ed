"""The simple filters, and how facts of each type compare."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcshell.errors import FilterError, PluginError
from mcshell.filters import compile_filter
from mcshell.filters.facts import MISSING, lookup, reader
from mcshell.filters.matcher import MAX_WEIGHT, kept
from mcshell.message import Filter
from tests.unit.filters.strategies import Node, find, nodes, values

FACTS = {
    "os": {"name": "Debian", "release": {"major": "12", "full": "12.7"}},
    "cpu": {"count": 8, "load": 0.5},
    "virtual": False,
    "ssd": True,
    "tags": ["web", "eu", 3],
    "disks": [{"name": "sda"}, {"name": "sdb"}],
    "net.ipv4.ip_forward": "1",
    "kernel.sysctl": {"a.b": 5},
    "none": None,
    "empty": [],
    "version": "1.10",
    "role": "web server",
    "uptime": "3 days",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("os.name=Debian", True),
        ("os.name=debian", False),
        ("os.name==Debian", True),
        ("os.name=/^deb/", False),
        ("os.name=/(?i)^deb/", True),
        ("os.name=~eb", True),
        ("os.name!=/eb/", False),
        ("os.name!=~x", True),
        ("os.release.major>=9", True),
        ("os.release.major<9", False),
        ("os.release.full>12", True),
        ("cpu.count=8", True),
        ("cpu.count=8.0", True),
        ("cpu.count=>8", True),
        ("cpu.count=<7", False),
        ("cpu.count='8'", True),
        ("cpu.count='8.0'", False),
        ("cpu.count>many", False),
        ("cpu.count<many", False),
        ("cpu.count!=many", True),
        ("cpu.load<1", True),
        ("virtual=false", True),
        ("virtual=FALSE", True),
        ("virtual!=true", True),
        ("virtual=0", True),
        ("virtual='0'", False),
        ("virtual=1", False),
        ("ssd!=1", False),
        ("ssd=true", True),
        ("ssd>0", False),
        ("tags=eu", True),
        ("tags=3", True),
        ("tags=/^w/", True),
        ("tags=db", False),
        ("tags!=web", True),
        ("tags.0=web", True),
        ("tags.9=web", False),
        ("disks.1.name=sdb", True),
        ("disks=name", True),
        ("os=release", True),
        ("os=Debian", True),
        ("net.ipv4.ip_forward=1", True),
        ("kernel.sysctl.a.b=5", True),
        ("none=x", False),
        ("none!=x", False),
        ("empty!=x", False),
        ("missing=x", False),
        ("missing!=x", False),
        ("missing!=~x", False),
        ("missing.deeper=x", False),
        ("version=1.1", True),
        ('version="1.1"', False),
        ("version='1.10'", True),
        ("role=web server", True),
        ("role = 'web server'", True),
        ("uptime>2 days", True),
    ],
)
def test_fact(text, expected):
    """A fact compares by its own type."""
    assert compile_filter(Filter(fact=(text,))).matches(Node(facts=FACTS)) is expected


@pytest.mark.parametrize(
    ("part", "text", "says"),
    [
        ("fact", "os", "write os=VALUE"),
        ("fact", "", "write NAME=VALUE"),
        ("fact", "os=", "no value"),
        ("fact", "os!~x", "did you mean !=~"),
        ("fact", "os=/[/", "regex"),
        ("fact", "os</x/", "does not go with a regex"),
        ("cls", " ", "empty class"),
        ("agent", "", "empty agent"),
        ("identity", "web*", "write /^web.*$/"),
        ("identity", "web[1-", "no range"),
        ("identity", "/(?=a)b/", "look-ahead"),
        ("compound", "", "empty"),
    ],
)
def test_refused(part, text, says):
    """A simple filter that means nothing is refused in one line that says what was meant."""
    with pytest.raises(FilterError) as caught:
        compile_filter(Filter(**{part: (text,)}))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_types():
    """A fact of a type that JSON does not have, such as YAML's dates, compares by its text."""
    node = Node(facts={"built": dt.date(2026, 1, 31), "raw": {"2026"}})
    assert compile_filter(Filter(fact=("built>2026-01-30", "built=/^2026/"))).matches(node)
    assert compile_filter(Filter(fact=("raw=2026",))).matches(node)


def test_shown():
    """A matcher shows the filter it was made from."""
    assert repr(compile_filter(Filter(cls=("web",)))).startswith("Matcher(Filter(")


def test_empty_filter():
    """The empty filter takes every node."""
    assert compile_filter(Filter()).matches(Node())


def test_all_parts_must_match():
    """Facts, classes and agents must all match; of identities one is enough, and two are too."""
    node = Node(
        "web1.example.com",
        agents=frozenset({"package", "rpcutil"}),
        classes=frozenset({"role::web", "base"}),
        facts=FACTS,
    )

    def says(**parts):
        return compile_filter(Filter(**parts)).matches(node)

    assert says(agent=("package", "/^rpc/"), cls=("base", "/^role/"), fact=("cpu.count>4",))
    assert not says(agent=("package", "service"))
    assert not says(cls=("base", "db"))
    assert not says(fact=("cpu.count>4", "virtual=true"))
    assert says(identity=("db1", "web1.example.com"))
    assert says(identity=("web1.example.com", "/^web/"))
    assert says(identity=("WEB1.example.com",))
    assert says(identity=("/^WEB/",))
    assert says(identity=("web[1-3].example.com",))
    assert not says(identity=("web[2-3].example.com", "web1"))
    assert not says(identity=("web1.example.com",), fact=("virtual=true",))


def test_compiled_once():
    """Equal filters share one compiled matcher; the cache is bounded in number, and by what is in them."""
    first = compile_filter(Filter(fact=("os.name=Debian",)))
    assert compile_filter(Filter(fact=("os.name=Debian",))) is first
    for number in range(600):
        compile_filter(Filter(fact=(f"n={number}",)))
    assert kept.size[0] <= 256
    for number in range(20):
        heavy = compile_filter(Filter(identity=(f"web{number}-[1-20000]",)))
        assert compile_filter(Filter(identity=(f"web{number}-[1-20000]",))) is heavy
    assert kept.size[1] <= MAX_WEIGHT


def test_long_lists_cost_no_more_than_a_message_may():
    """Hundreds of comparisons with each of 20,000 elements are refused; a few are answered."""
    node = Node(facts={"list": [f"a{number}" for number in range(20_000)]})
    assert not compile_filter(Filter(fact=("list=b",) * 10)).matches(node)
    hostile = Filter(compound=(" or ".join(f"list<0{number}" for number in range(500)),))
    began = time.process_time()
    with pytest.raises(FilterError, match="in one message"):
        compile_filter(hostile).matches(node)
    assert time.process_time() - began < 5


def test_a_subject_that_fails_is_not_hidden():
    """PluginError only counts as "cannot tell" when the filter asks a data plugin."""

    class Broken(Node):
        @property
        def facts(self):
            raise PluginError("broken")

        @facts.setter
        def facts(self, value):
            pass

    node = object.__new__(Broken)
    with pytest.raises(PluginError):
        compile_filter(Filter(fact=("os=x",))).matches(node)


@given(values, st.lists(st.sampled_from(["b", "count", "web", "x", "0", "1", "a.b"]), max_size=4))
def test_lookup_like_the_model(value, steps):
    """A dotted path finds what the slow model finds."""
    facts = {"a": value, "a.b": value, "c": {"a.b": value}}
    for path in (".".join(["a", *steps]), ".".join(["c", *steps])):
        found = find(facts, path)
        assert lookup(facts, path) == (found[0] if found else MISSING)
        assert reader(path)(facts) == lookup(facts, path)


def test_lookup_default():
    """A missing path gives MISSING, which is false, or the default."""
    assert lookup({}, "a.b") is MISSING
    assert not MISSING
    assert repr(MISSING) == "MISSING"
    assert lookup({}, "a", None) is None
    assert lookup({"a": None}, "a") is None
    assert lookup(FACTS, "tags.²") is MISSING


@given(
    nodes, st.sampled_from(["os", "n", "tags", "cpu.count"]), st.sampled_from(["3", "web", "true"])
)
def test_equal_or_not(node, fact, word):
    """Of one scalar fact exactly one of = and != is true; of a missing one neither."""
    value = lookup(node.facts, fact)
    both = [
        compile_filter(Filter(fact=(f"{fact}{operator}{word}",))).matches(node)
        for operator in ("=", "!=")
    ]
    if value is MISSING or value is None:
        assert both == [False, False]
    elif not isinstance(value, (list, dict)):
        assert sorted(both) == [False, True]


KERNELS = {
    "kernelversion": "6.18",
    "load": "0.25",
    "package": "1.0~rc1-1",
    "os": {"family": "Debian"},
}


@pytest.mark.parametrize(
    ("text", "deb", "rpm", "old"),
    [
        ("kernelversion>=6.9.0", True, True, False),
        ("kernelversion>=6.9", True, True, False),
        ("kernelversion<6.100", True, True, False),
        ("kernelversion>6", True, True, True),
        ("load<0.3", True, True, True),
        ("package<1.0", True, True, False),
        ("package<1.0-1", True, True, False),
        ("package>=1.0~rc1", True, True, True),
        ("package>1.0~rc1", True, False, True),
        ("kernelversion=6.180", True, True, True),
        ("kernelversion>=6.18.0", False, False, False),
    ],
)
def test_versions_have_their_own_order(text: str, deb: bool, rpm: bool, old: bool) -> None:  # noqa: FBT001 - a table
    """Both sides look like versions: dpkg's order, or rpm's; MCollective's wire keeps that of text."""
    for family, expected in (("Debian", deb), ("RedHat", rpm), ("Darwin", deb)):
        node = Node(facts=KERNELS | {"os": {"family": family}})
        assert compile_filter(Filter(fact=(text,))).matches(node) is expected, family
        assert compile_filter(Filter(compound=(text,))).matches(node) is expected, family
        assert compile_filter(Filter(fact=(text,)), versions=False).matches(node) is old, family
