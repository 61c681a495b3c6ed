"""Rules about what belongs to another: only one that asks for `owner` allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcshell.node.admission.policy import Policies

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "policy default deny\n"


@pytest.mark.parametrize(
    ("text", "mine", "anothers"),
    [
        ("allow\tcert=bob\t*\t*\t*\n", True, False),
        ("allow\tcert=bob\tedit\towner=cert=alice\t*\n", False, True),
        ("allow\tcert=bob\tedit\towner=/cert=.+/\t*\n", False, True),
        ("allow\tcert=bob\tedit\towner=cert=carol\t*\n", False, False),
        ("allow\tcert=bob\tcancel\towner=cert=alice\t*\n", False, False),
        ("allow\tcert=bob\tedit\tlandowner=yes\t*\n", False, False),
        (
            "deny\tcert=bob\tedit\towner=cert=alice\t*\nallow\tcert=bob\tedit\towner=/./\t*\n",
            False,
            False,
        ),
        ("deny\tcert=bob\t*\t*\t*\nallow\tcert=bob\tedit\towner=/./\t*\n", False, False),
    ],
)
def test_rules_about_owners(tmp_path: Path, text: str, mine: object, anothers: object) -> None:
    """A rule without `owner` is about one's own; one with it is about that owner's alone."""
    (tmp_path / "job.policy").write_text(HEAD + text)
    policies = Policies(tmp_path)
    asked = ("cert=bob", "job", "edit", {"os": "Debian"}, frozenset())
    assert policies.decide(*asked).allowed is mine
    assert policies.decide(*asked, owner="cert=alice").allowed is anothers


def test_default_that_allows_is_not_about_others(tmp_path: Path) -> None:
    """`policy default allow` does not open what belongs to another."""
    (tmp_path / "job.policy").write_text("policy default allow\n")
    policies = Policies(tmp_path)
    asked = ("cert=bob", "job", "edit", {}, frozenset())
    assert policies.decide(*asked).allowed
    decision = policies.decide(*asked, owner="cert=alice")
    assert not decision.allowed
    assert "belongs to another" in decision.why
