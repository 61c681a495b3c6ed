"""Conditions of policy lines: what each is made of, what is refused in which words, and doubts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mcshell.errors import FilterError
from mcshell.node.admission.policy_conditions import parse_condition

SUBJECT = SimpleNamespace(facts={"os": "Debian", "n": "x"}, classes=frozenset({"web", "we=b"}))


def holds(facts: str, classes: str | None = None):
    """What a condition says of the subject."""
    condition = parse_condition(facts, classes)
    assert condition is not None
    return condition.holds(SUBJECT)


def test_two_stars_are_no_condition() -> None:
    """There is nothing to ask then, whether or not the second field is there."""
    assert parse_condition("*", "*") is None
    assert parse_condition("*", None) is None
    assert parse_condition("os=Debian", "*") is not None


@pytest.mark.parametrize(
    ("facts", "classes", "why"),
    [
        ("*", "web,,db", "a comma too many"),
        ("*", ",web", "a comma too many"),
        ("*", "/we=b", "is no class; facts are the field before"),
        ("*", "/", "is no class's name"),
        ("not (os..name=x)", None, "'os..name' is no fact's name"),
        ("os=Debian and not (a..b=x)", None, "'a..b' is no fact's name"),
        ("env=prod*", None, "there are no wildcards"),
        ("env=pro?", None, "there are no wildcards"),
        ("env=a;b", None, "put a value with ; in quotes"),
        ("env=a # why", None, "a comment has a line of its own"),
        ("env=(a", None, "put a value with '(' in quotes"),
        ("web os=Debian", "db", "'web' is no fact"),
    ],
)
def test_what_is_wrong_is_said_in_its_own_words(facts, classes, why) -> None:
    """Whoever wrote the line can mend it by what is said."""
    with pytest.raises(FilterError, match=why.replace("(", r"\(").replace("?", r"\?")):
        parse_condition(facts, classes)


def test_a_class_may_be_a_pattern_with_anything_in_it() -> None:
    """Between slashes an equals sign is part of the pattern."""
    assert holds("*", "/we=b/") is True
    assert holds("*", "/we=c/") is False
    assert holds("*", "web /we=b/") is True
    assert holds("os=Debian web") is True


def test_the_first_doubt_is_the_one_that_is_told() -> None:
    """Where several parts cannot be told, what is said is about the first of them."""
    first, second = holds("none=1"), holds("other=1")
    assert isinstance(first, str)
    assert isinstance(second, str)
    assert first != second
    for word, decided in (("and", False), ("or", True)):
        assert holds(f"none=1 {word} other=1") == first
        assert holds(f"other=1 {word} none=1") == second
        assert holds(f"none=1 {word} os={'RedHat' if word == 'and' else 'Debian'}") is decided
    assert holds("os=Debian and none=1") == first
    assert holds("not (none=1)") == first
