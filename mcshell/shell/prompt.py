"""The prompt: one line in, one result out, until Ctrl-D."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

import mcshell.shell.pager  # noqa: F401 - not when it is to show something: Ctrl-C may come
from mcshell import interrupts
from mcshell.commands.completion import Refresher
from mcshell.shell.lines import run_lines
from mcshell.shell.operator import meet
from mcshell.shell.output import Screen
from mcshell.shell.watcher import RequestWatcher, answered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prompt_toolkit import PromptSession

    from mcshell.client.rpc.replies import Replies
    from mcshell.commands.context import Context
    from mcshell.shell.progress import ProgressBar

__all__ = ["Editor", "Lines", "loop", "prompt", "session"]


class Lines(Protocol):
    """Where the operator's lines come from: prompt_toolkit's session."""

    def prompt(self) -> str:
        """Read a line; EOFError at Ctrl-D, KeyboardInterrupt at Ctrl-C."""


def prompt(context: Context) -> int:
    """Talk with an operator at a terminal; the exit code is that of the last line."""
    context.face = "prompt"
    context.check_aliases()
    progress = meet(context)
    with session(context, progress) as lines:
        return loop(lines, context, Screen(paged=True))


@contextmanager
def session(context: Context, progress: ProgressBar) -> Iterator[Editor]:
    """The line editor, with what goes on behind it: completion's cache and the watcher."""
    from mcshell.shell.editor import editor  # noqa: PLC0415 - prompt_toolkit is slow to load

    notices = _Notices()
    refresher = Refresher(lambda: context.settings)
    watcher = RequestWatcher(context, notices.tell)
    context.seen = lambda replies: _seen(watcher, replies)
    with ExitStack() as stack:
        for one in (refresher, watcher):
            one.start()
            stack.callback(one.stop)
        lines = editor(context, refresher, watcher, progress, notices.tell)
        yield Editor(lines, refresher, notices)


class _Notices:
    """Lines from the background: shown above the prompt, or held while a line runs."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._open = False

    def tell(self, line: str) -> None:
        """Show a line when the operator is at the prompt."""
        if self._open:
            _print(line)
        else:
            self._held.append(line)

    @contextmanager
    def at_prompt(self) -> Iterator[None]:
        """Show what was held, and everything for as long as the context lasts."""
        from prompt_toolkit.patch_stdout import patch_stdout  # noqa: PLC0415 - slow to load

        with patch_stdout():
            self._open = True
            try:
                held, self._held = self._held, []
                for line in held:
                    _print(line)
                yield
            finally:
                self._open = False


def _print(line: str) -> None:
    from mcshell.commands.output.sanitize import sanitize  # noqa: PLC0415 - with the first notice

    sys.stdout.write(f"{sanitize(line)}\n")
    sys.stdout.flush()


class Editor:
    """prompt_toolkit's session, with the notices above it; `buffer` holds what is being typed."""

    def __init__(self, lines: PromptSession[str], refresher: Refresher, notices: _Notices) -> None:
        self._lines = lines
        self._notices = notices
        self.refresher = refresher
        self.buffer = lines.default_buffer

    def prompt(self) -> str:
        """Read a line."""
        self.refresher.hurry()
        with self._notices.at_prompt():
            return self._lines.prompt()


def _seen(watcher: RequestWatcher, replies: Replies) -> None:
    stats = replies.stats
    watcher.shown(replies.requestid, answered(stats))


def loop(lines: Lines, context: Context, screen: Screen) -> int:
    """Run what is typed or pasted. Ctrl-C clears the line, Ctrl-D and `exit` leave."""
    code = 0
    while True:
        try:
            text = lines.prompt()
        except KeyboardInterrupt:
            if interrupts.ended_by():
                raise
            continue
        except EOFError:
            return code
        found = run_lines(text, context, screen)
        if interrupts.ended_by():
            return found
        if context.left:
            return found or code
        code = found
