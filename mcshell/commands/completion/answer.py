"""What a shell asks when its operator presses Tab: one short process, from local files alone.

`mcshell completion --answer SHELL TEXT [WORD]` is for the scripts of `mcshell completion`. TEXT is
the line before the cursor as it is written, WORD the end of it that the shell is going to replace.
Whatever goes wrong, it says nothing: no error, no question, no file, nothing over the network.

The answer is a line for each way to go on. bash gets what takes the place of WORD, quoted; zsh and
fish, which quote for themselves, the whole word as it is meant. Tabs divide a line, and no candidate
has one, or a line end: what nodes say is printable when it comes here.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, cast

from mcshell.commands.completion.candidates import candidates
from mcshell.commands.completion.local import LocalFiles
from mcshell.commands.completion.shell_words import quoted, read_shell_line
from mcshell.commands.grammar.reading import read_to_cursor
from mcshell.commands.grammar.verbs import BEFORE
from mcshell.commands.output.sanitize import sanitize
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mcshell.commands.completion.shell_words import Shell, ShellLine
    from mcshell.commands.completion.values import Knowledge

__all__ = ["ShellCandidate", "answer", "main", "ways"]

_SHELLS: Final = ("bash", "zsh", "fish")
_GLANCE: Final = 60
"""Letters of a remark beside a candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellCandidate:
    """A word that may stand at the cursor, as mcshell is to get it; `open`: more follows at once."""

    text: str
    open: bool = False
    meta: str = ""


def main(argv: Sequence[str]) -> NoReturn:
    """Answer on standard output and end the process; silent and 0 whatever happens."""
    sys.dont_write_bytecode = True
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 2)
    try:
        shell, text, *rest = argv
        if shell in _SHELLS:
            said = answer(cast("Shell", shell), text, rest[0] if rest else "", LocalFiles)
            sys.stdout.buffer.write(said.encode())
            sys.stdout.flush()
    finally:
        os._exit(
            0
        )  # also after an error, which nobody who types is to see; it frees no memory first


def answer(shell: Shell, text: str, word: str, known: Callable[[Path | None], Knowledge]) -> str:
    """What a shell's script reads: the lines of the module's docstring.

    For bash the first line says what is to follow a candidate that is the only one: a `space`,
    nothing (`open`), or that the word is a file of the `shell`'s own.
    """
    line = read_shell_line(text, shell)
    if line.redirected:
        return "shell\n" if shell == "bash" else ""
    if not line.known:
        return ""
    words = _ours(line.words)
    found = _of_one_spelling(line.current, ways(words, line.current, known(_config(words))))
    if shell == "bash":
        return _for_bash(line, found, text, word)
    if shell == "fish":
        return "".join(f"{one.text}\t{one.meta}\n" for one in found)
    return "".join(f"{one.text}\t{'open' if one.open else 'space'}\t{one.meta}\n" for one in found)


def _ours(words: Sequence[str]) -> tuple[str, ...]:
    """The words behind our command, which may stand behind others: `sudo mcshell`."""
    names = [os.path.basename(word) for word in words]  # noqa: PTH119 - light
    at = names.index("mcshell") if "mcshell" in names else 0
    return tuple(words[at + 1 :])


def _config(words: Sequence[str]) -> Path | None:
    """The configuration that a line names."""
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--config" and (equals or words[at + 1 :]):
            return Path(value if equals else words[at + 1])
    return None


def ways(words: Sequence[str], current: str, known: Knowledge) -> list[ShellCandidate]:
    """The words that may stand behind these, beginning as the one that is typed does."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, _ = rest.pop(0).partition("=")
        if not BEFORE.get(name) or equals:
            continue
        if rest:
            del rest[0]
        elif name == "-e":
            return _script(current, known)
        else:
            return _verb_words(("ping", name), current, known)
    if not rest and current.startswith("-"):
        return [ShellCandidate(text=name) for name in BEFORE if name.startswith(current)]
    return _verb_words(rest, current, known)


def _script(script: str, known: Knowledge) -> list[ShellCandidate]:
    """Ways to go on in lines that are one word of the shell's."""
    return [
        ShellCandidate(text=script[: one.start] + one.text, open=True, meta=one.meta)
        for one in candidates(script, len(script), known)
    ]


def _verb_words(words: Sequence[str], current: str, known: Knowledge) -> list[ShellCandidate]:
    """Ask as the prompt does, of a line in the prompt's own quotes, and read what it would become."""
    line = "".join(f"{shlex.quote(word)} " for word in words) + _begun(current)
    found: list[ShellCandidate] = []
    for one in candidates(line, len(line), known, face="cli"):
        typed = read_to_cursor(line[: one.start] + one.text).words[-1].text
        fits = typed.lower().startswith(current.lower())
        if fits and (one.kind == "option" or not typed.startswith("-") or current.startswith("--")):
            found.append(ShellCandidate(text=typed, open=one.open, meta=one.meta))
    return found


def _begun(current: str) -> str:
    """A word in an open quote: a single one, if there is none in it."""
    for quote in ("'", '"'):
        if quote not in current and (quote == "'" or "\\" not in current):
            return quote + current
    return shlex.quote(current)[:-1]


def _of_one_spelling(current: str, found: Iterable[ShellCandidate]) -> list[ShellCandidate]:
    """Those that begin letter for letter as it is typed; else as the first of them does.

    A shell puts what all have in common in the place of what was typed, which must not get shorter.
    """
    ways = list(dict.fromkeys(found))
    size = len(current)
    as_typed = any(one.text.startswith(current) for one in ways)
    front = current if as_typed or not ways else ways[0].text[:size]
    return [
        ShellCandidate(text=one.text, open=one.open, meta=_glance(one.meta))
        for one in ways
        if one.text.startswith(front)
    ]


def _glance(meta: str) -> str:
    """A remark on one line, harmless to look at."""
    text = " ".join(sanitize(meta).split())
    return text if len(text) <= _GLANCE else f"{text[: _GLANCE - 1]}…"


def _for_bash(line: ShellLine, found: list[ShellCandidate], text: str, word: str) -> str:
    """Readline replaces what stands behind its last sign (`=`, `:`, `@`, a quote): `word`."""
    front = text[: len(text) - len(word)]
    kept = read_shell_line(front, "bash")
    if not text.endswith(word) or kept.words != line.words or not kept.known:
        return ""
    offered = [
        quoted(one.text.removeprefix(kept.current), kept.quote)
        for one in found
        if one.text.startswith(kept.current)
    ]
    after = "open" if len(found) == 1 and found[0].open else "space"
    return "".join(f"{one}\n" for one in (after, *offered)) if offered else ""
