"""Markdown cut into sections, moved and read in a terminal: pure functions of a text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mcshell.docs import markdown

CODE = "```sh\n# no heading\n  inside\n```"
WORDS = st.text(st.sampled_from("ab |*[]():"), max_size=12)
LINES = st.one_of(
    WORDS,
    st.builds(
        lambda level, name: f"{'#' * level} {name}", st.integers(1, 4), st.sampled_from("xyz")
    ),
    st.just(CODE),
    st.sampled_from(["<!-- a comment -->", "|---|---|", ": a definition", "**Lead.** text"]),
)
TEXTS = st.lists(LINES, max_size=12).map(lambda lines: "\n".join(lines) + "\n")


@given(TEXTS)
def test_a_terminal_is_shown_no_signs_of_a_browser(text: str) -> None:
    """Whatever a page is made of, its fences and comments are gone, and its code is indented."""
    shown = markdown.plain(text)
    assert "```" not in shown
    assert "<!--" not in shown
    assert shown.count("  # no heading\n    inside\n") == text.count("# no heading\n")
    assert "\n\n\n" not in shown


@given(TEXTS, st.integers(1, 3))
def test_headings_move_together(text: str, level: int) -> None:
    """The highest is of the level that was asked for, the others keep their distance; code stays."""

    def levels(of: str) -> list[int]:
        told = re.sub(r"```sh\n.*?\n```", "", of, flags=re.DOTALL)
        return [len(one) for one in re.findall(r"^(#+) [xyz]$", told, re.MULTILINE)]

    moved = markdown.under(text, level)
    before, after = levels(text), levels(moved)
    by = level - min(before, default=level)
    assert after == [one + by for one in before]
    assert markdown.code(moved) == markdown.code(text)


@given(st.lists(st.one_of(WORDS, st.sampled_from(["### x", "#### y", CODE])), max_size=8))
def test_a_section_is_what_stands_below_its_heading(lines: list[str]) -> None:
    """It ends where another of its level begins; what is in code begins nothing."""
    inside = "\n".join(lines)
    found = markdown.between(f"# before\n\n## it\n{inside}\n## other\n\nnot this\n", "it")
    assert found == inside.strip() + "\n"


def test_a_bold_lead_begins_a_section() -> None:
    """It goes to the next lead, or to a heading, or to the lead that ends it."""
    text = "## A\n\nfirst\n\n**B.** one\n\nmore\n\n**C**: two\n\n## D\n"
    assert markdown.between(text, "A") == "first\n\n**B.** one\n\nmore\n\n**C**: two\n"
    assert markdown.between(text, "A", "B") == "first\n"
    assert markdown.between(text, "B") == "**B.** one\n\nmore\n"
    assert markdown.between(text, "C") == "**C**: two\n"


def test_links_lead_elsewhere_or_are_words() -> None:
    """A link is given its new target; without one it is its words, and a picture is nothing."""
    text = "[a](one) [b](two) ![c](two)\n```\n[d](two)\n```\n"
    told = markdown.relinked(text, {"one": "1", "two": ""}.__getitem__)
    assert told == "[a](1) b \n```\n[d](two)\n```\n"
