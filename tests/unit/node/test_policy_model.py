"""Policies of valid lines decide as a simple model does; a damaged `deny` line never opens anything."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.node.admission.policy import Policies

if TYPE_CHECKING:
    from collections.abc import Callable

NO, DOUBT, YES = 0, 1, 2
GROUP = ("cert=bob", "cert=carol")
SEVERAL = {"ops": GROUP, "/^cert=(alice|bob)$/": ("cert=alice", "cert=bob")}
CALLERS = ("cert=alice", "cert=bob", "cert=dave")
ACTIONS = ("status", "stop")
NODES: list[tuple[dict[str, Any], frozenset[str]]] = [
    ({"env": "prod", "n": 8}, frozenset({"web"})),
    ({"env": "dev", "n": 9}, frozenset({"db"})),
    ({"env": ["prod"]}, frozenset({"web", "db"})),
    ({"n": "many"}, frozenset()),
]


@dataclass(frozen=True)
class Asked:
    """A condition as it is written, and what the model says of a node's facts and classes."""

    text: str
    says: Callable[[dict[str, Any], frozenset[str]], int]


def about(name: str, operator: str, value: str) -> Asked:
    """One fact; the model knows text and numbers."""

    def says(facts: dict[str, Any], _classes: frozenset[str]) -> int:
        found = facts.get(name)
        if not isinstance(found, str | int):
            return DOUBT
        if operator == ">=":
            return DOUBT if isinstance(found, str) else YES if found >= int(value) else NO
        return YES if (str(found) == value) is (operator == "=") else NO

    return Asked(f"{name}{operator}{value}", says)


def not_(one: Asked) -> Asked:
    """A negation: a doubt stays one."""
    return Asked(f"!({one.text})", lambda *node: YES - one.says(*node))


def joined(word: str, one: Asked, two: Asked) -> Asked:
    """The least of both, or the most."""
    pick = min if word == "and" else max
    return Asked(
        f"({one.text} {word} {two.text})", lambda *node: pick(one.says(*node), two.says(*node))
    )


FACT = st.builds(
    about, st.just("env"), st.sampled_from(["=", "!="]), st.sampled_from(["prod", "dev"])
) | st.builds(about, st.just("n"), st.just(">="), st.sampled_from(["8", "9"]))
CLASS = st.sampled_from(["web", "db"]).map(
    lambda name: Asked(name, lambda _facts, classes: YES if name in classes else NO)
)
ANY = Asked("*", lambda *_node: YES)
COMPOUND = st.recursive(
    FACT | CLASS,
    lambda inner: (
        st.builds(not_, inner) | st.builds(joined, st.sampled_from(["and", "or"]), inner, inner)
    ),
    max_leaves=4,
).filter(lambda one: one.text[0] in "(!")


@dataclass(frozen=True)
class Line:
    """A rule: its text, and the model's reading of it."""

    text: str
    allow: bool
    callers: frozenset[str] | None
    actions: frozenset[str] | None
    asked: tuple[Asked, ...]


@st.composite
def lines(draw: st.DrawFn, *, verbs: tuple[str, ...] = ("allow", "deny")) -> Line:
    """One valid line, with tabs between its fields."""
    verb = draw(st.sampled_from(verbs))
    who = draw(st.just(["*"]) | st.lists(st.sampled_from([*CALLERS, *SEVERAL]), min_size=1))
    what = draw(st.just(["*"]) | st.lists(st.sampled_from(ACTIONS), min_size=1))
    facts = draw(st.just(ANY) | FACT | COMPOUND)
    classes = draw(st.just(ANY) | CLASS)
    fields = [verb, draw(st.sampled_from([" ", ",", ", "])).join(who), " ".join(what), facts.text]
    callers = {one for word in who for one in SEVERAL.get(word, (word,))}
    return Line(
        "\t".join([*fields, classes.text]),
        verb == "allow",
        None if who == ["*"] else frozenset(callers),
        None if what == ["*"] else frozenset(what),
        (facts, classes),
    )


def model(rules: list[Line], default: bool, caller: str, action: str, node: Any) -> bool:  # noqa: FBT001 - a file's own
    """The first line that holds decides; a `deny` holds in doubt."""
    for rule in rules:
        if caller in (rule.callers or [caller]) and action in (rule.actions or [action]):
            says = min(one.says(*node) for one in rule.asked)
            if says == YES or (says == DOUBT and not rule.allow):
                return rule.allow
    return default


def decided(text: str) -> tuple[list[bool], list[int]]:
    """What a file decides for every caller, action and node; the lines of its flaws."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "groups").write_text(f"ops {' '.join(GROUP)}\n")
        (path / "a.policy").write_bytes(text.encode())
        policies = Policies(path)
        answers = [
            policies.decide(caller, "a", action, *node).allowed
            for caller, action, node in product(CALLERS, ACTIONS, NODES)
        ]
        return answers, [flaw.line for _file, flaw in policies.flaws()]


@settings(deadline=None, max_examples=60)
@given(rules=st.lists(lines(), max_size=5), default=st.sampled_from(["allow", "deny", ""]))
def test_valid_lines_are_clean_and_decide_as_the_model(rules: list[Line], default: str) -> None:
    """Lint finds nothing, and each caller, action and node gets the model's answer."""
    text = "\n".join([f"policy default {default}" if default else "", *(one.text for one in rules)])
    answers, flaws = decided(text)
    assert flaws == []
    assert answers == [
        model(rules, default == "allow", caller, action, node)
        for caller, action, node in product(CALLERS, ACTIONS, NODES)
    ]


JUNK = "\u200b\u2060\u00ad\u00a0\u3000\ufeff\r\x0b\x0c\x85\u2028\u2029\0\x1b\u202e\u2066\ufe0f\u3164*?;#\"'"


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, str]:
    """A file with a `deny` line, and the same with that line damaged."""
    before = [line.text for line in draw(st.lists(lines(), max_size=3))]
    behind = [line.text for line in draw(st.lists(lines(), max_size=3))]
    line = draw(lines(verbs=("deny",))).text
    head = draw(st.sampled_from(["policy default allow", "policy default deny"]))
    at = draw(st.integers(1, len(line)))
    way = draw(st.sampled_from(["junk", "case", "comment", "comma", "joined"]))
    bad = {
        "junk": line[:at] + draw(st.sampled_from(JUNK)) + line[at:],
        "case": line[: at - 1] + line[at - 1 : at].upper() + line[at:],
        "comment": line + draw(st.sampled_from([" # why", "\t# why", " #", "#why", " ; why"])),
        "comma": draw(
            st.sampled_from([line.replace("\t", ",\t", 1), line.replace("\t", "\t,"), line + ","])
        ),
        "joined": line,
    }[way]
    above = "\n".join([head, *before])
    joint = "" if way == "joined" else "\n"
    return "\n".join([above, line, *behind]), "\n".join([above + joint + bad, *behind])


@settings(deadline=None, max_examples=80)
@given(damaged())
def test_a_damaged_deny_opens_nothing(files: tuple[str, str]) -> None:
    """Whatever befell the line, nothing is allowed that was not allowed before."""
    before, after = (decided(text)[0] for text in files)
    assert not [index for index, now in enumerate(after) if now and not before[index]]
