"""Completion of `%mco` lines in IPython: a matcher of its API v2, on what the prompt uses too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from IPython.core.completer import SimpleCompletion, context_matcher

from mcshell.commands.completion import Refresher, candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from mcshell.config import Settings

__all__ = ["CompletionMatcher"]

#: `%mco …`, `%%mco …`, and behind an assignment: `df = %mco …`, `a, b = %mco …`.
_MAGIC = re.compile(r"^\s*(?:[\w.\[\]'\", ]+=\s*)?%{1,2}mco\s+")


class CompletionMatcher:
    """The matcher of one IPython shell, and the cache behind it.

    `load` gives the settings, `variables` the names that `--nodes` may mean.
    """

    def __init__(
        self, load: Callable[[], Settings], variables: Callable[[], Iterable[str]]
    ) -> None:
        self.refresher = Refresher(load)
        self._variables = variables

        @context_matcher(identifier="mcshell", priority=200)  # type: ignore[untyped-decorator]  # IPython has no types for it
        def match(context: CompletionContext) -> SimpleMatcherResult:
            return self.matches(context)

        self._match = match

    def install(self, shell: InteractiveShell) -> None:
        """Have the shell complete `%mco` lines; the cache is filled in the background."""
        shell.Completer.custom_matchers.append(self._match)
        self.refresher.start()

    def uninstall(self, shell: InteractiveShell) -> None:
        """Take the matcher away."""
        matchers = shell.Completer.custom_matchers
        if self._match in matchers:
            matchers.remove(self._match)
        self.refresher.stop()

    def matches(self, context: CompletionContext) -> SimpleMatcherResult:
        """What may follow on a `%mco` line; nothing, and no claim, on any other."""
        before = context.text_until_cursor
        magic = _MAGIC.match(before)
        if magic is None:
            return {"completions": []}
        start = magic.end()
        line = before[start:]
        found = candidates(
            line, len(line), self.refresher.cache, face="magic", variables=self._variables()
        )
        if not found:
            return {"completions": [], "suppress": True}
        fragment = line[found[0].start :]
        return {
            "completions": [
                SimpleCompletion(one.text, type=one.kind)
                for one in found
                if one.start == found[0].start
            ],
            "matched_fragment": fragment,
            "suppress": True,
            "ordered": True,
        }
