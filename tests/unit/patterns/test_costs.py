"""What foreign patterns may cost: processor, memory, and a message's share."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest

from mcshell.errors import FilterError, InputError
from mcshell.filters import compile_filter
from mcshell.message import Filter
from mcshell.patterns import MAX_COST, MAX_PATTERNS, compile_pattern, one_message
from tests.unit.filters.strategies import Node

CHANCE = random.Random(1)
NASTY = [
    ("(a+)+$", "a" * 60_000 + "!"),
    ("^(a|a)(?#)*$", "a" * 60_000 + "!"),
    (r"^([\w/.-]+ ?)+!$", "a" * 60_000),
    (r"^([a-z0-9]+[.-]?)+$", "a" * 60_000 + "!"),
    (r"(\w|[.-])(?#)+!", "a" * 60_000),
    ("(.*)(.*)(.*)(.*)(.*)x", "a" * 60_000),
    ("a*a*a*a*a*a*b", "a" * 60_000),
    (r"(?:\b){1000}x", "web01.example.com"),
    ("(?:[ab]*a){30}c", "".join(CHANCE.choices("ab", k=60_000))),
    ("(?:a|b|ab|ba){40}c", "".join(CHANCE.choices("ab", k=60_000))),
]


def spent(began: float) -> float:
    """Seconds of processor since `began`."""
    return time.process_time() - began


def memory() -> int:
    """Private bytes of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private"))


@pytest.mark.parametrize(("pattern", "text"), NASTY)
def test_a_nasty_pattern_is_linear(pattern, text):
    """What takes `re` for ever is judged in half a second of processor, and is not found."""
    began = time.process_time()
    assert compile_pattern(pattern).verdict(text) is False
    assert spent(began) < 0.5


@pytest.mark.parametrize(
    "pattern",
    ["(?=w){1000000000}", "(?:){4000000000}y", r"(.*)(.*)\1\2$", "(?!x)(a+)+$", r"(\w{9}){999}{9}"],
)
def test_what_took_gigabytes_is_refused_at_once(pattern):
    """From the wire it is never run."""
    began, before = time.process_time(), memory()
    with pytest.raises(FilterError, match=r"is not to be had here|multiple repeat"):
        compile_pattern(pattern)
    assert spent(began) < 0.5
    assert memory() - before < 20 << 20


@pytest.mark.parametrize(
    ("pattern", "text", "verdict"),
    [
        ("^(?!web)", "db01", True),
        ("^(?!web)", "web01", False),
        (r"(a)\1", "aa", True),
        (r"(?:a){1001}", "a" * 1001, True),
        ("(?=a)(a+)+$", "a" * 40 + "!", None),
        (r"(.*)(.*)\1\2$", "a" * 600 + "b", None),
        ("(?=w){1000000000}x", "web01", None),
    ],
)
def test_what_re2_cannot_say_runs_in_a_child_when_it_stands_in_a_file(pattern, text, verdict):
    """With 0.1 s of processor: what needs more cannot be told, and costs this process nothing."""
    began, before = time.process_time(), memory()
    assert compile_pattern(pattern, from_file=True).verdict(text) is verdict
    assert spent(began) < 0.5
    assert memory() - before < 20 << 20


@pytest.mark.parametrize("count", [MAX_PATTERNS, MAX_PATTERNS + 1])
@pytest.mark.parametrize("part", ["fact", "cls", "agent", "identity", "compound"])
def test_a_filter_has_so_many_patterns(part, count):
    """One more than 64 is refused before it is compiled."""
    patterns = [f"/x{number}{part}{count}/" for number in range(count)]
    if part == "fact":
        patterns = [f"a={one}" for one in patterns]
    if part == "compound":
        patterns = [" or ".join(f"a={one}" for one in patterns)]
    if count > MAX_PATTERNS:
        with pytest.raises(FilterError, match="more than 64 regexes"):
            compile_filter(Filter(**{part: tuple(patterns)}))
    else:
        compile_filter(Filter(**{part: tuple(patterns)}))


def test_a_megabyte_of_patterns_is_refused_soon():
    """However many there are, 64 are looked at."""
    facts = tuple(f"a=/{number}/" for number in range(100_000))
    began = time.process_time()
    with pytest.raises(FilterError, match="more than 64 regexes"):
        compile_filter(Filter(fact=facts))
    assert spent(began) < 0.5


@pytest.mark.parametrize(
    "made",
    [
        "(a+)+{}$",
        "(?:.?){{900}}c{}",
        "(?:a|b|ab|ba){{40}}c{}",
        "(?:[ab]*a){{30}}c{}",
        r"\w{{900}}c{}",
    ],
)
@pytest.mark.parametrize("begin", ["", "é"])
def test_the_worst_that_a_message_may_ask_takes_a_second(made, begin):
    """64 patterns over a long fact are judged or refused within it, and take less than 20 MB."""
    text = begin + "".join(CHANCE.choices("ab", k=65_000))
    compile_pattern("loaded").found("")
    matcher = compile_filter(Filter(fact=tuple(f"t!=~{made.format(n)}" for n in range(64))))
    began, before = time.process_time(), memory()
    with contextlib.suppress(FilterError):
        matcher.matches(Node(facts={"t": text}))
    assert spent(began) < 1.0
    assert memory() - before < 20 << 20


def test_text_times_patterns_is_bounded():
    """Beyond 4 MiB the message is refused, not judged wrongly; a known node is passed over."""
    wide = Node(facts={"t": "x" * (MAX_COST // 8)})
    fine = compile_filter(Filter(fact=tuple(f"t=/^x{number}*/" for number in range(7))))
    assert fine.matches(wide)
    over = compile_filter(Filter(fact=tuple(f"t=/^x{number}*/" for number in range(9))))
    with pytest.raises(FilterError, match="more than 4 MiB of text"):
        over.matches(wide)
    assert over.matches_known(wide) is False
    assert fine.matches(wide), "each message has its own account"


def test_outside_a_message_each_text_has_the_bound():
    """A text beyond it is not judged, so neither =~ nor !=~ holds."""
    made = compile_pattern("x")
    assert made.verdict("x" * MAX_COST) is True
    assert made.verdict("x" * (MAX_COST + 1)) is None
    with one_message(), pytest.raises(FilterError):
        made.verdict("x" * (MAX_COST + 1))


def test_the_inputs_of_a_message_share_one_account():
    """A schema with many costly validations refuses the message, within its second."""
    from mcshell.ddl import load
    from tests.unit.ddl.documents import an_input, document

    inputs = {f"i{n}": an_input(validation=f"^(?!x{n})(a+)+$", optional=True) for n in range(20)}
    action = load(document(input=inputs)).action("act")
    with pytest.raises(InputError, match=r"must|can be tried|more than 4 MiB"):
        action.check(dict.fromkeys(inputs, "a" * 40 + "!"))
    fine = dict.fromkeys(inputs, "a")
    with pytest.raises(InputError, match="more than 4 MiB of text"):
        action.check(fine)
    assert action.check({"i1": "a"}) == {"i1": "a"}
