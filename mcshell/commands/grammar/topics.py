"""What `help NAME` explains beside the verbs: the manual's pages, and the words of its reference.

The manual loads when somebody asks for more than a list of its pages.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LANGUAGES", "parts", "text", "words"]

LANGUAGES: Final = ("filters", "times", "rows")
"""The small languages inside a line; each has a page."""


def parts() -> dict[str, list[str]]:
    """The pages' names, by part of the manual; the languages come first."""
    from mcshell.docs import pages  # noqa: PLC0415 - only where help is asked for

    found: dict[str, list[str]] = {"languages": [*LANGUAGES]}
    for name, part in pages.names().items():
        if name not in LANGUAGES:
            found.setdefault(part, []).append(name)
    return found


def text(name: str) -> str:
    """A page, or what the reference says of a word (`client.timeout`), for a terminal.

    It is empty where there is neither.
    """
    from mcshell.docs import markdown, pages  # noqa: PLC0415 - as above

    found = pages.page(name).text if name in pages.names() else pages.entry(name)
    return markdown.plain(found) if found else ""


def words() -> set[str]:
    """All names of which `text` has something to say."""
    from mcshell.docs import pages, reference  # noqa: PLC0415 - as above

    return {*LANGUAGES, *pages.names(), *reference.words()}
