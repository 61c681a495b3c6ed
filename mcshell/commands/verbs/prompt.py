"""`history`, `exit`, `version`: what a prompt says of itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Prose, Table
from mcshell.errors import MachineError
from mcshell.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import HistoryOptions
    from mcshell.commands.grammar.options import Options

__all__ = ["history", "leave", "typed_lines", "version"]

_COLUMNS = ("typed", "line")


def history(context: Context, options: HistoryOptions) -> Table:
    """The lines that were typed at this operator's prompts, the newest last; secrets were not kept."""
    path = context.settings.state_dir / "history"
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror}") from error
    rows: list[tuple[float | None, str]] = list(typed_lines(text.splitlines()))
    kept = rows[-options.count :] if options.count else []
    return Table(_COLUMNS, kept, notes=() if rows else ("no line is kept",), times=("typed",))


def typed_lines(lines: Iterable[str]) -> Iterator[tuple[float | None, str]]:
    """Read prompt_toolkit's file of lines: each with when it was typed (epoch), None where it is unsaid."""
    when: float | None = None
    line: list[str] = []
    for text in (*lines, ""):
        if text.startswith("+"):
            line.append(text[1:])
            continue
        if line:
            yield when, "\n".join(line)
            when, line = None, []
        if text.startswith("# "):
            when = _moment(text[2:])


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError:
        return None


def leave(context: Context, _options: Options) -> None:
    """End the prompt, or the script, behind this line."""
    context.left = True


def version(_context: Context, _options: Options) -> Prose:
    """Which mcshell this is."""
    return Prose(f"mcshell {VERSION}")
