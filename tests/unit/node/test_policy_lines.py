"""Lines of policies that look right: what is wrong with each is said so that it can be mended."""

from __future__ import annotations

import pytest

from mcshell.node.admission.policy_file import parse_policy


def flaw(line: str) -> str:
    """What is wrong with a line, or nothing."""
    found = parse_policy(f"policy default deny\n{line}\n", {}, "").flaws
    return found[0].message if found else ""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("allow\tcert=al\u200bice\t*\t*\t*", "U+200B (zero width space) is not to be seen"),
        ("# a comment\u2028allow\t*\t*\t*\t*", "U+2028 (line separator) may hide a line"),
        ("allow\tcert=alice,,cert=bob\t*\t*\t*", "there is a comma too many"),
        ("allow\tcert=alice\tstatus,,stop\t*\t*", "there is a comma too many"),
        ("allow\t/^web(1|2)/\t*\t*\t*", "can match no caller: /^cert=web/ may be meant"),
    ],
)
def test_a_flaw_is_said_in_its_own_words(line, why) -> None:
    """The character by its number and name, the list by its comma, the pattern by what may be meant."""
    assert why in flaw(line)


def test_a_pattern_of_several_ways_is_taken_as_it_is() -> None:
    """One of them may name a caller: `|` counts where it stands outside all parentheses."""
    assert flaw("allow\t/^web(1)|^cert=web/\t*\t*\t*") == ""
    assert flaw("allow\t/^cert=(web|db)/\t*\t*\t*") == ""
