"""Policies and authorisers together: who says no, in which words, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.node.admission.policy import Authorisation, Policies
from mcshell.node.agents.registry import AgentRegistry
from mcshell.node.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.plugins import AuthorisationQuestion, Authoriser

ALL = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"


@pytest.fixture
def host() -> Host:
    """A web server."""
    facts = {"os": "Debian"}
    return Host("web1", facts=lambda: facts, classes=["web"], served=AgentRegistry([]))


@pytest.fixture
def authorisation(tmp_path: Path) -> Callable[..., Authorisation]:
    """Makes one of these authorisers, whose policy allows alice everything."""

    def make(**authorisers: Authoriser) -> Authorisation:
        (tmp_path / "default.policy").write_text(ALL)
        return Authorisation(Policies(tmp_path), authorisers)

    return make


def test_an_authoriser_is_asked_what_the_policy_allows(authorisation, host) -> None:
    """With all that is known of the question; of what the policy denies it hears nothing."""
    asked: list[AuthorisationQuestion] = []
    both = authorisation(site=asked.append)
    assert both.denied(host, "cert=bob", "mark", "once") == (
        "denied by policy: default.policy:1 (default)"
    )
    assert asked == []
    assert both.denied(host, "cert=alice", "mark", "once", {"file": "f"}) is None
    (question,) = asked
    assert (question.identity, question.facts, question.classes) == (
        "web1",
        {"os": "Debian"},
        frozenset({"web"}),
    )
    assert (question.caller, question.agent, question.action) == ("cert=alice", "mark", "once")
    assert (dict(question.data), question.owner) == ({"file": "f"}, None)
    with pytest.raises(TypeError):
        question.data["file"] = "other"  # type: ignore[index]
    both.denied(host, "cert=alice", "mark", "once")
    assert dict(asked[1].data) == {}


def fails(_question: AuthorisationQuestion) -> str | None:
    """An authoriser that has a flaw."""
    raise ZeroDivisionError("secret")


@pytest.mark.parametrize(
    ("authoriser", "why"),
    [
        (lambda _: "not on\n a   friday", "not on a friday"),
        (lambda _: "x" * 600, "x" * 500),
        (lambda _: "  ", "it gave no reason"),
        (lambda _: False, "it gave no reason"),
        (lambda _: True, "it gave no reason"),
        (fails, "it failed: ZeroDivisionError"),
    ],
    ids=["words", "long", "blank", "false", "true", "fails"],
)
def test_whatever_an_authoriser_says_but_none_is_a_no(authorisation, host, authoriser, why) -> None:
    """In one line of bounded length; one that fails refuses, and tells nobody its own words."""
    first = authorisation(first=lambda _: None, second=authoriser, third=fails)
    said = first.denied(host, "cert=alice", "mark", "once")
    assert said == f"denied by the authoriser second: {why}"


def test_whose_it_is_is_asked_of_both(authorisation, host) -> None:
    """A rule that does not ask for the owner allows nothing of another's."""
    asked: list[AuthorisationQuestion] = []
    both = authorisation(site=asked.append)
    assert both.denied(host, "cert=alice", "job", "edit", {}, "cert=bob") is not None
    policies = both._policies.directory / "job.policy"
    policies.write_text("policy default deny\nallow\tcert=alice\tedit\towner=cert=bob\t*\n")
    assert (
        Authorisation(Policies(policies.parent), {"site": asked.append}).denied(
            host, "cert=alice", "job", "edit", {}, "cert=bob"
        )
        is None
    )
    assert [one.owner for one in asked] == ["cert=bob"]


def test_what_is_wrong_with_policies_is_told_and_told_again(tmp_path: Path) -> None:
    """A line each, with what it costs; for some seconds it is not looked for anew."""
    (tmp_path / "default.policy").write_text("policy default deny\nallow\talice\t*\t*\t*\n")
    told = Authorisation(Policies(tmp_path), {})
    (line,) = told.flaws()
    assert line.startswith("policy default.policy:2: ")
    assert "; it costs " in line
    (tmp_path / "default.policy").write_text(ALL)
    assert told.flaws() == [line]
    told._flaws_until = 0.0
    assert told.flaws() == []
    nowhere = Authorisation(Policies(tmp_path / "none"), {})
    assert nowhere.flaws() == [f"policies {tmp_path / 'none'}: No such file or directory"]
