"""Markdown as our documents have it: cut into sections, moved into another page, read in a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["between", "code", "plain", "prose", "relinked", "slug", "under", "whole"]

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"(#+) (.+)")
_LEAD: Final = re.compile(r"\*\*(.+?)\.?\*\*")
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_RULE: Final = re.compile(r"\|[-| :]+\|")
_UNDERLINES: Final = {1: "=", 2: "-"}


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is code (fences included)."""
    inside = False
    for line in text.split("\n"):
        fence = line.startswith("```")
        yield line, inside or fence
        inside = inside != fence


def _begins(line: str) -> tuple[int, str]:
    """The level and the name of what a line begins: a heading, or (level 9) a paragraph's bold lead."""
    if heading := _HEADING.fullmatch(line):
        return len(heading[1]), heading[2]
    lead = _LEAD.match(line)
    return (9, lead[1]) if lead else (0, "")


def between(text: str, first: str, end: str = "") -> str:
    """What stands below a heading, or from a bold lead on; up to what ends it, or to the lead `end`.

    Raises:
        LookupError: the text begins nothing of that name.
    """
    kept: list[str] = []
    level = 0
    for line, is_code in _lines(text):
        here, name = (0, "") if is_code else _begins(line)
        if level and here and (name == end or (here <= level)):
            return "\n".join(kept).strip() + "\n"
        if level or name == first:
            kept += [line] if level or here == 9 else []  # noqa: PLR2004 - a lead is text itself
            level = level or here
    if not level:
        raise LookupError(f"no section {first!r}")
    return "\n".join(kept).strip() + "\n"


def whole(text: str) -> str:
    """A document without its title."""
    return text.partition("\n")[2].strip() + "\n" if text.startswith("# ") else text


def under(text: str, level: int) -> str:
    """Move headings so that the highest is of a level; two of the same words stay apart by place."""
    found = [_begins(line)[0] for line, is_code in _lines(text) if not is_code]
    levels = [one for one in found if 0 < one < 9]  # noqa: PLR2004 - leads are none
    by = level - min(levels, default=level)
    moved = (
        line if is_code or not _HEADING.fullmatch(line) else "#" * by + line[max(0, -by) :]
        for line, is_code in _lines(text)
    )
    return "\n".join(moved)


def slug(heading: str) -> str:
    """A heading as a link names it behind `#`."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def relinked(text: str, target: Callable[[str], str]) -> str:
    """Give each link its new target; one that has none is its words alone, and a picture goes."""

    def link(found: re.Match[str]) -> str:
        place = target(found[3])
        if place:
            return f"{found[1]}[{found[2]}]({place})"
        return "" if found[1] else found[2]

    return "\n".join(line if is_code else _LINK.sub(link, line) for line, is_code in _lines(text))


def code(text: str) -> list[tuple[str, str]]:
    """The fenced blocks: the language and the lines of each."""
    return _FENCE.findall(text)


def prose(text: str, change: Callable[[str], str]) -> str:
    """Change what is no code."""
    return "\n".join(line if is_code else change(line) for line, is_code in _lines(text))


def plain(text: str) -> str:
    """A page as a terminal shows it: code is indented, signs that only a browser needs are gone."""
    kept: list[str] = []
    term = False
    for line, is_code in _lines(text):
        if is_code:
            kept += [] if line.startswith("```") else [f"  {line}".rstrip()]
            continue
        if line.startswith("<!--") or _RULE.fullmatch(line):
            continue
        heading = _HEADING.fullmatch(line)
        if heading:
            kept += [heading[2], _UNDERLINES.get(len(heading[1]), "") * len(heading[2])]
            continue
        term = line.startswith(": ") or (term and line.startswith("  "))
        line = f"    {line[2:]}" if term else line  # noqa: PLW2901 - the same line, indented
        line = _LINK.sub(lambda link: link[2], line).replace("**", "").replace(r"\|", "|")  # noqa: PLW2901
        kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n") + "\n"
