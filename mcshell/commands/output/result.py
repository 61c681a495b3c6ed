"""What verbs return besides `Replies`: small values that every face can draw, and exit codes."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from mcshell.commands.grammar.options import Options, TargetsOptions
from mcshell.errors import ExitCode
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mcshell.client.rpc.replies import Replies

__all__ = [
    "INTERNAL",
    "INTERRUPTED",
    "USAGE",
    "Feed",
    "Prose",
    "Result",
    "Script",
    "Table",
    "counts_code",
    "exit_code",
    "submitted_code",
]

USAGE = ExitCode.USAGE
INTERNAL = ExitCode.INTERNAL
INTERRUPTED = ExitCode.INTERRUPTED

_BAD_STATES = ("failed", "denied", "interrupted")
_OPEN_STATES = ("silent", "expired", "pending", "received", "running")
_WORDLESS = ("silent", "expired", "pending")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with named columns. `code` is the exit code they come to, `notes` lines for the eye.

    `times` are the columns that hold moments (seconds since the epoch, or ISO's text), which a screen
    shows as local time and a DataFrame as UTC; `ids` those that a terminal may show by their first
    letters, `bulky` those whose contents it may only count, `quiet` those that it may leave out where
    there is nothing in them (0, no, none), `minor` those that it leaves out first where it is narrow.
    `kinds` are the dtypes of columns that have one whatever stands in them. `precise`: its moments lie
    close together. `glance` is what a reader is shown who names no format.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    code: int = 0
    notes: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    bulky: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()
    minor: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    precise: bool = False
    glance: Table | None = None

    def records(self) -> list[dict[str, Any]]:
        """The rows as dicts, in the order of the columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Prose(str):
    """Prose for a reader, such as help; IPython shows it as it is, not as a quoted string.

    `notes` are lines for the eye beside it.
    """

    __slots__ = ("notes",)

    notes: tuple[str, ...]

    def __new__(cls, text: str = "", notes: Iterable[str] = ()) -> Self:
        """Make one of a text."""
        prose = super().__new__(cls, text)
        prose.notes = tuple(notes)
        return prose

    def __repr__(self) -> str:
        return str(self) or "\n".join(self.notes)


class Script(Prose):
    """Lines that a prompt types for its operator; elsewhere it is read. `steps`: what for, and the line."""

    steps: tuple[tuple[str, str], ...]

    def __new__(cls, steps: Iterable[tuple[str, str]]) -> Self:
        """Make one of its steps; a step without a line is only said."""
        steps = tuple(steps)
        script = super().__new__(
            cls, "\n".join(f"{text}\n    {line}".rstrip() for text, line in steps)
        )
        script.steps = steps
        return script


@dataclass(frozen=True, slots=True)
class Feed:
    """Records that come one by one for as long as somebody looks; each is shown as it comes.

    `text` names the field that a reader wants, a `note` beside it being a line for the eye; without it,
    and with `--jsonl`, it is all of them.
    """

    records: Iterator[Mapping[str, Any]]
    text: str = ""


Result: TypeAlias = "Replies | Table | Feed | Prose | None"


def counts_code(stats: Mapping[str, Any], *, discovered: bool = True) -> int:
    """The exit code that a request's counts come to (§3, first that fits).

    `stats` has "targets" and one key a state; `discovered` is False when all targets were named
    by hand and nobody had asked the network for them.
    """
    if not stats["targets"]:
        return ExitCode.NO_TARGETS
    if sum(stats[state] for state in _WORDLESS) == stats["targets"]:
        return ExitCode.NO_REPLY if discovered else ExitCode.NO_REPLY_FROM_NAMED
    if any(stats[state] for state in _BAD_STATES):
        return ExitCode.FAILED
    return ExitCode.OPEN if any(stats[state] for state in _OPEN_STATES) else 0


def submitted_code(stats: Mapping[str, Any], *, discovered: bool, heard: bool) -> int:
    """The same of a job that was handed in: that a node has it is all that was asked for.

    `heard`: somebody has given a last reply, such as that its only start was missed.
    """
    code = counts_code({**stats, "received": 0, "running": 0}, discovered=discovered)
    return (
        ExitCode.OPEN
        if heard and code in (ExitCode.NO_REPLY, ExitCode.NO_REPLY_FROM_NAMED)
        else code
    )


def exit_code(result: Result, options: Options | None = None) -> int:
    """The exit code of what a line returned; `options` are the line's."""
    if result is None or isinstance(result, Prose | Feed):
        return 0
    if isinstance(result, Table):
        return result.code
    if result.interrupted:
        return INTERRUPTED
    if options is not None and options.background:
        if not result.stats["targets"]:
            return ExitCode.NO_TARGETS
        return 0 if result.confirmed else ExitCode.OPEN
    named = isinstance(options, TargetsOptions) and options.named
    return counts_code(result.stats, discovered=not named)
