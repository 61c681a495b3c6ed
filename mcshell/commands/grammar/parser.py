"""The one grammar: argv, a prompt line and a `%mco` line all become an `Invocation` here.

argparse does the work, one parser a verb, built when the verb is asked for. It never exits,
never prints and takes no abbreviations; what it cannot read is a `UsageError` of one line.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mcshell import interrupts
from mcshell.commands.grammar import topics
from mcshell.commands.grammar import verbs as grammar
from mcshell.commands.grammar.options import Options
from mcshell.commands.grammar.reading import named_verb, no_alias, read_lines
from mcshell.errors import ConfigError, UsageError, did_you_mean
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.commands.grammar.reading import Alias, Line
    from mcshell.commands.grammar.verbs import Face, Verb

__all__ = [
    "Invocation",
    "LineParser",
    "alias_words",
    "help_text",
    "numbered_lines",
    "only_line",
    "parse",
    "split_line",
]

_SHOWN: Final = 60
"""Letters of a word that is refused."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One line, understood: `verb` is what to do, `options` what the line says, of its verb's type.

    `help` is set instead when the line asks for help; nothing is to be run then.
    """

    verb: Verb | None
    options: Options
    help: str = ""


class _HelpAskedError(Exception):
    """A `-h` was read. The text is made later: argparse's usage is in disorder just now."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's formatter, which asks for a terminal's width without `shutil`.

    argparse makes a formatter for each argument that is declared, so a node daemon would load
    that module, and the compressors behind it, for nothing (0.5 MiB).
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """The terminal's; 80 where there is none."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    if sys.__stdout__ is None:
        return 80
    try:  # not sys.stdout: at the prompt that is a stand-in
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80
    except (ValueError, OSError):  # it is closed, or no terminal
        return 80


class LineParser(argparse.ArgumentParser):
    """argparse without a process: no exit, no print, no abbreviation, no file arguments."""

    def __init__(self, verb: Verb, face: Face) -> None:
        prog = {"cli": "mcshell ", "prompt": "", "magic": "%mco "}[face] + verb.name
        super().__init__(
            prog=prog,
            description=verb.summary,
            add_help=False,
            allow_abbrev=False,
            formatter_class=_Formatter,
        )
        self.verb = verb
        # In the help a verb's own options stand behind -h, those of the groups before it.
        declared = list(verb.kind.arguments().values())
        shared = list(takewhile(lambda one: one.owner.__module__ == Options.__module__, declared))
        for one in shared:
            one.declare(self)
        self.add_argument("-h", "--help", action="help", help="show this help")
        if face == "cli":
            self.add_argument("--config", metavar="FILE", help="the configuration file")
        for one in declared[len(shared) :]:
            one.declare(self)
        if face == "magic" and "-o" not in self._option_string_actions:  # `report` has its own
            self.add_argument("-o", dest="store", metavar="NAME", help="store the result as NAME")

    def print_help(self, _file: object = None) -> NoReturn:
        """Tell that help was asked for."""
        raise _HelpAskedError

    def error(self, message: str) -> NoReturn:
        """Say what was wrong on one line."""
        _, missing, names = message.partition("the following arguments are required: ")
        if missing:
            # While options and words are mixed, argparse counts optional words as required too.
            optional = {a.metavar for a in self._actions if a.nargs in ("?", "*")}
            message = " and ".join(n for n in names.split(", ") if n not in optional)
            message += " is missing" if " and " not in message else " are missing"
        raise UsageError(f"{self.verb.name}: {message.removeprefix('argument ')}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Never end the process: a prompt and a kernel live on."""
        self.error(message or f"cannot go on ({status})")


@interrupts.call(asks=False)  # argparse stumbles over Ctrl-C, in what it has put aside meanwhile
def parse(words: Sequence[str], *, face: Face = "cli") -> Invocation:
    """Understand one line, already split into words.

    Raises:
        UsageError: an unknown verb, option or value; the message says what was meant.
    """
    if not words or words[0] in ("-h", "--help", "help"):
        return Invocation(None, Options(), help_text(words[1:], face=face))
    if [*words[1:]] in (["-h"], ["--help"]) and _verbs_of(words[0], face):
        return Invocation(None, Options(), help_text(words[:1], face=face))
    verb, rest = _verb(words, face)
    parser = LineParser(verb, face)
    said: dict[str, Any] = {}
    if "--" in rest and verb.free == "--":
        at = rest.index("--")
        rest, said["behind"] = rest[:at], rest[at + 1 :]
    elif verb.free == "line":
        rest, said["line"] = rest[:1], rest[1:]
    try:
        found, extra = parser.parse_known_intermixed_args(rest)
    except _HelpAskedError:
        return Invocation(None, Options(), help_text(verb.name.split(), face=face))
    if extra:
        _refuse(parser, extra, getattr(found, "inputs", None) or ())
    return Invocation(verb, verb.kind(**vars(found), **said))


def _verb(words: Sequence[str], face: Face, *, helped: bool = False) -> tuple[Verb, list[str]]:
    """The verb that the line starts with; two words ("pki issue") win over one."""
    found = named_verb(words)
    if found is None:
        names = [name.split() for name in grammar.VERBS]
        inner = [name[1] for name in names if name[0] == words[0] and name[1:]]
        raise UsageError(_unknown(words, inner, face, helped=helped))
    if not found.offered(face):
        where = (
            f"on the command line: mcshell {found.name}" if found.only == "cli" else "at the prompt"
        )
        raise UsageError(f"{found.name}: only {where}")
    return found, list(words[len(found.name.split()) :])


def _unknown(words: Sequence[str], inner: list[str], face: Face, *, helped: bool) -> str:
    words = [word[:_SHOWN] for word in words]
    known = {name.split()[0] for name in grammar.offered(face)}
    if not inner:
        if words[0].startswith("-"):
            return f"{words[0]}: a line begins with its verb, options stand behind it"
        if named_verb(words[1:]) is not None:  # "mcshell ping" at the prompt, "mco ping"
            return f"unknown verb {words[0]!r}: without it, {words[1]!r} is one"
        if (asked := words[0].strip("?")) != words[0]:  # IPython's habit
            return f"unknown verb {words[0]!r} (here: {f'help {asked}'.rstrip()})"
        known |= topics.words() if helped else set()
        said = grammar.elsewhere()
        near = (said and said.verb_here(words[0])) or did_you_mean(words[0], sorted(known))
        return f"unknown verb {words[0]!r}{near or ' (help lists them)'}"
    listed = ", ".join(inner)
    if len(words) == 1 or words[1].startswith("-"):
        longer = sorted(one for one in known - {words[0]} if one.startswith(words[0]))
        return f"{words[0]}: one of {listed} is meant{did_you_mean(words[0], longer, limit=1)}"
    return f"unknown verb '{words[0]} {words[1]}'{did_you_mean(words[1], inner)}: one of {listed}"


_OF_FOLDERS = ("-r", "-R", "-a", "--recursive", "--archive")


def _refuse(parser: LineParser, extra: list[str], inputs: Sequence[str]) -> NoReturn:
    extra = [word[:_SHOWN] for word in extra]
    odd = next((word for word in extra if word.startswith("-") and word != "-"), None)
    known = [text for action in parser._actions for text in action.option_strings]  # noqa: SLF001 - argparse has no other list of its options
    if odd is None:
        hint = _filter_of(extra[0]) if "-I" in known else ""
        raise UsageError(f"{parser.verb.name}: {extra[0]!r} is one word too many{hint}")
    option = odd.partition("=")[0]
    hint = grammar.said_here(option, known) or did_you_mean(option, known)
    if parser.verb.name == "cp" and option in _OF_FOLDERS:
        hint = " (folders are not copied: name the files in them)"
    if parser.verb.name == "rpc" and any("=" not in word for word in inputs):
        hint += "; the words of a command stand behind --"
    hint = hint or f" (help {parser.verb.name} lists them)"
    raise UsageError(f"{parser.verb.name}: unknown option {option}{hint}")


def _filter_of(word: str) -> str:
    """Which option takes a word that has no place."""
    if " " in word:
        return " (an expression goes with -S)"
    return " (a fact goes with -F)" if "=" in word else " (a node's name goes with -I)"


def help_text(words: Sequence[str] = (), *, face: Face = "cli") -> str:
    """Help as text: of what is named, or the list of verbs."""
    name = " ".join(words)
    if name == "help":
        return help_text(face=face)
    if words and named_verb(words) is None:
        told = _verbs_of(name, face) + topics.text(name)
        if not told and not words[1:] and (elsewhere := grammar.elsewhere()):
            told = str(elsewhere.option_text(name, face))
        if told:
            return told.lstrip("\n")
    if words:
        verb = _verb(words, face, helped=True)[0]
        return LineParser(verb, face).format_help() + _verbs_of(verb.name, face)
    lines = [grammar.INTRODUCTION[face], "", *_listed(grammar.offered(face))]
    told = "help VERB, or VERB --help, tells a verb's options; help NAME what the manual says of these,"
    lines += ["", told, "and of any setting, state, reason, exit code or action:", ""]
    for part, pages in topics.parts().items():
        lines.append(f"  {part:<12} {', '.join(pages)}")
    lines.append("")
    return "\n".join(lines)


def _listed(verbs: Mapping[str, str]) -> list[str]:
    """A line for each of the verbs: its name, and what it is for."""
    width = max(map(len, verbs))
    return [f"  {name:<{width}}  {summary}" for name, summary in verbs.items()]


def _verbs_of(word: str, face: Face) -> str:
    """The verbs that begin with a word ("pki") and go on, for its help; empty where there are none.

    Those of the command line alone are named elsewhere only where there are no others.
    """
    found = [verb for verb in grammar.VERBS.values() if verb.name.startswith(f"{word} ")]
    here = [verb for verb in found if verb.offered(face)]
    if not found:
        return ""
    begin = (
        f"Verbs that begin with {word}" if here else f"On the command line, as mcshell {word} ..."
    )
    told = (
        [f"help {here[0].name}, or {here[0].name} --help, tells its options.", ""] if here else []
    )
    listed = _listed({verb.name: verb.summary for verb in here or found})
    return "\n".join(["", f"{begin}:", "", *listed, "", *told])


def only_line(text: str, alias: Alias = no_alias) -> Line | None:
    """The one line that a text is; None where it says nothing.

    Raises:
        UsageError: a quote, an escape or a loop of the shell's is left open, or there are several.
    """
    lines = read_lines(text, alias)
    if len(lines) > 1:
        raise UsageError(f"one line is meant, and these are {len(lines)}: {lines[1].text}")
    if not lines:
        return None
    (line,) = lines
    if line.open:
        what = {
            "'": "no closing quotation",
            '"': "no closing quotation",
            "\\": "no escaped character",
        }
        said = what.get(line.open, f"the command behind {line.sign} lacks its {line.open}")
        raise UsageError(f"{said}: {line.text.strip()}")
    return line


def split_line(text: str, alias: Alias = no_alias) -> list[str]:
    """The words of one line, whose result stays where it is.

    Raises:
        UsageError: it does not stay there, or it is no whole line.
    """
    line = only_line(text, alias)
    if line is not None and line.sign:
        raise UsageError(f"{line.sign}: only at the prompt and in its scripts (quoted it is text)")
    return [] if line is None else list(line.meant)


def alias_words(aliases: Mapping[str, str], word: str) -> Sequence[str]:
    """The words for which a word stands by `[aliases]`; none where it stands for itself.

    Raises:
        ConfigError: what it stands for is not the beginning of one line.
    """
    if word not in aliases:
        return ()
    try:
        words = split_line(aliases[word])
    except UsageError as error:
        raise ConfigError(f"aliases.{word}: {error}", f"aliases.{word}") from error
    if not words:
        raise ConfigError(f"aliases.{word}: it says nothing", f"aliases.{word}")
    return words


def numbered_lines(text: str, alias: Alias = no_alias) -> list[tuple[int, str]]:
    """The lines of a script as they are written, each with the number on which it begins, from 1."""
    return [(line.number, line.text) for line in read_lines(text, alias)]
