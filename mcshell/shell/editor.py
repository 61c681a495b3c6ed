"""The line editor of the prompt: prompt_toolkit with our completion, keys, toolbar and history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import CompletionState
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, completion_is_selected, has_focus
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings

from mcshell.commands.completion import candidates
from mcshell.commands.completion.scan import incomplete
from mcshell.commands.grammar.reading import read_lines
from mcshell.commands.output.sanitize import sanitize
from mcshell.commands.verbs.filter import words
from mcshell.errors import MCShellError
from mcshell.private import private_file, private_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyPressEvent

    from mcshell.commands.completion import Refresher
    from mcshell.commands.context import Context
    from mcshell.ddl.ddl_library import Library
    from mcshell.shell.progress import ProgressBar
    from mcshell.shell.watcher import RequestWatcher

__all__ = ["LineHistory", "editor", "gives_secret"]


def editor(
    context: Context,
    refresher: Refresher,
    watcher: RequestWatcher,
    progress: ProgressBar,
    tell: Callable[[str], None],
) -> PromptSession[str]:
    """A line editor with the history of this operator's state directory."""
    completer = _Completer(refresher)
    return PromptSession(
        f"{context.settings.collective.main}> ",
        history=LineHistory(context.settings.state_dir / "history", context.ddls, tell),
        auto_suggest=AutoSuggestFromHistory(),
        completer=completer,
        complete_while_typing=True,
        multiline=Condition(lambda: incomplete(get_app().current_buffer.text)),
        prompt_continuation="... ",
        key_bindings=_keys(progress, completer),
        bottom_toolbar=lambda: _toolbar(context, watcher, progress),
        refresh_interval=1.0,
        enable_open_in_editor=True,
        enable_suspend=True,
    )


class _Completer(Completer):
    """`commands.completion` as prompt_toolkit wants it."""

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterator[Completion]:
        """The ways to go on at the cursor."""
        cursor = document.cursor_position
        for one in candidates(document.text, cursor, self._refresher.cache):
            yield Completion(
                one.text,
                start_position=one.start - cursor,
                display=sanitize(one.display),
                display_meta=sanitize(one.meta),
            )


def _keys(progress: ProgressBar, completer: Completer) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("tab", filter=has_focus("DEFAULT_BUFFER"))
    def _complete(event: KeyPressEvent) -> None:
        """Tab takes the next completion; it doesn't wait for the menu that typing is to open."""
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.completions:
            buffer.complete_next()
            return
        asked = CompleteEvent(completion_requested=True)
        found = list(completer.get_completions(buffer.document, asked))
        buffer.complete_state = None
        if len(found) == 1:
            buffer.apply_completion(found[0])
        elif found:
            buffer.complete_state = CompletionState(buffer.document, found)
            buffer.complete_next()

    @keys.add("f2")
    def _live(_event: KeyPressEvent) -> None:
        progress.on = not progress.on

    @keys.add("f4")
    def _mode(event: KeyPressEvent) -> None:
        vi = event.app.editing_mode is EditingMode.VI
        event.app.editing_mode = EditingMode.EMACS if vi else EditingMode.VI

    @keys.add("enter", filter=completion_is_selected & has_focus("DEFAULT_BUFFER"))
    def _accept(event: KeyPressEvent) -> None:
        """Enter takes the completion; the next one runs the line."""
        event.current_buffer.complete_state = None

    return keys


def _toolbar(context: Context, watcher: RequestWatcher, progress: ProgressBar) -> str:
    """Broker, session, filter in force, and what is still to come."""
    client, status = context.current(), watcher.status
    name = status.session or context.session or "none yet"
    parts = [
        _broker(context),
        f"session {name if client is None else client.session.name}",
        f"collective {context.settings.collective.main}",
    ]
    if context.filter is not None:
        parts.append(
            "filter " + " ".join(f"{option} {word}" for option, word in words(context.filter))
        )
    if status.open:
        parts.append(f"{status.open} open")
    if status.unseen:
        parts.append(f"{status.unseen} new replies")
    mode = "vi" if get_app().editing_mode is EditingMode.VI else "emacs"
    parts += [f"F2 progress {'on' if progress.on else 'off'}", f"F4 {mode}"]
    return sanitize(" · ".join(parts))


def _broker(context: Context) -> str:
    client = context.current()
    if client is None:
        return "not connected"
    return f"broker {client.broker}" if client.connected else "broker LOST, reconnecting"


class LineHistory(FileHistory):
    """Lines of the past; what DDLs call sensitive is remembered until the prompt ends, no longer.

    So is every line while the file can be neither read nor written: `tell` is told so, once.
    """

    def __init__(self, path: Path, library: Library, tell: Callable[[str], None]) -> None:
        super().__init__(str(path))
        self._path = path
        self._library = library
        self._tell = tell
        self._told = False
        self._unwritten: list[str] = []

    def load_history_strings(self) -> Iterator[str]:
        """The lines of the past, the newest first."""
        found = list(reversed(self._unwritten))
        try:
            found += super().load_history_strings()
        except OSError as error:
            self._complain(error)
        yield from found

    def store_string(self, string: str) -> None:
        """Write a line to the file, unless it gives a secret."""
        try:
            if not gives_secret(string, self._library):
                private_folder(self._path.parent)
                private_file(self._path)
                super().store_string(string)
                return
        except OSError as error:
            self._complain(error)
        self._unwritten.append(string)

    def _complain(self, error: OSError) -> None:
        if not self._told:
            self._tell(f"lines are not kept: {self._path}: {error.strerror or error}")
        self._told = True


def gives_secret(line: str, library: Library) -> bool:
    """Whether a word of a line is NAME=VALUE with an input that some DDL marks `sensitive`."""
    read = read_lines(line)
    words = [word.text for one in read for word in one.words]
    words += [word for one in read for rest in one.rest for word in rest.text.split()]
    given = {word.partition("=")[0] for word in words if "=" in word}
    return bool(given) and not given.isdisjoint(_sensitive(library))


def _sensitive(library: Library) -> set[str]:
    names: set[str] = set()
    for agent in library.agents():
        try:
            actions = library.merged(agent).actions.values()
        except MCShellError:
            continue  # a DDL that cannot be read gives nothing that could be asked
        names.update(*(action.sensitive for action in actions))
    return names
