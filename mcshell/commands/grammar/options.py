"""Options that several verbs share, and how their values are read (mcshell/README.md §3).

A group is a parser of its own, made afresh for each verb that takes it.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from mcshell import config, plugins
from mcshell.errors import did_you_mean
from mcshell.message import Via

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "FORMATS",
    "GROUPS",
    "SOURCES",
    "Choice",
    "Formatter",
    "duration",
    "percentage",
    "share",
    "source",
    "whole",
]

FORMATS = ("table", "psql", "github", "vertical", "csv", "tsv", "json", "jsonl", "senders")
SOURCES = ("broadcast", "inventory", "file", "stdin", "table", "external")


class Choice:
    """One word of several, with "did you mean", which argparse's own `choices` lacks."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def __call__(self, text: str) -> str:
        """Read the word; ArgumentTypeError with what was meant when it is none of them."""
        if text in self.known:
            return text
        hint = did_you_mean(text, self.known)
        listed = ", ".join(self.known)
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {listed}{hint}")


def source(text: str) -> str:
    """A source of targets: one of ours, or a plugin's."""
    return text if text in SOURCES else Choice(*plugins.names("discovery"))(text)


def duration(text: str) -> float:
    """A length of time, in seconds."""
    try:
        return config.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole(text: str) -> int:
    """A whole number."""
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number")


def share(text: str) -> str:
    """A number or a percentage, as it is written."""
    if text.removesuffix("%").isdecimal() and int(text.removesuffix("%")) > 0:
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no number or percentage above 0, as 5 or 10%")


def percentage(text: str) -> float:
    """A percentage, as a share of 1."""
    number = text.removesuffix("%")
    if number.isdecimal() and 0 < int(number) <= 100:  # noqa: PLR2004 - per cent
        return int(number) / 100
    raise argparse.ArgumentTypeError(f"{text!r} is no percentage from 1% to 100%")


class Formatter(argparse.RawDescriptionHelpFormatter):
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


def _group(parents: Sequence[argparse.ArgumentParser] = ()) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        parents=parents, add_help=False, allow_abbrev=False, formatter_class=Formatter
    )


def _output() -> argparse.ArgumentParser:
    parser = _group()
    one = parser.add_argument_group("output").add_mutually_exclusive_group()
    say = one.add_argument
    say("--format", dest="format", type=Choice(*FORMATS), metavar="FORMAT", help=", ".join(FORMATS))
    for flag, short in (("json", ["-j"]), ("jsonl", []), ("senders", [])):
        text = {"json": "one document", "jsonl": "a line a row", "senders": "names only"}[flag]
        say(*short, f"--{flag}", dest="format", action="store_const", const=flag, help=text)
    return parser


def _filters() -> argparse.ArgumentParser:
    parser = _group()
    say = parser.add_argument_group("filters").add_argument
    for short, long, dest, what in (
        ("-F", "--wf", "fact", "FACT"),
        ("-C", "--wc", "cls", "CLASS"),
        ("-A", "--wa", "agent_filter", "AGENT"),
        ("-I", "--wi", "identity", "IDENTITY"),
        ("-S", "--select", "compound", "EXPRESSION"),
    ):
        say(short, long, dest=dest, action="append", default=[], metavar=what, help=f"with {what}")
    return parser


def _targets() -> argparse.ArgumentParser:
    parser = _group([_filters()])
    say = parser.add_argument_group("targets").add_argument
    say("-T", "--target", dest="collective", metavar="COLLECTIVE", help="ask this collective")
    text = "names from a file, - (standard input), _ (the last rows) or a variable"
    say("--nodes", metavar="X", help=text)
    say("--dm", dest="source", type=source, metavar="SOURCE", help=", ".join(SOURCES))
    text = "for the source external; may be repeated (command=PROGRAM is the program)"
    say("--do", dest="source_options", action="append", default=[], metavar="KEY=VALUE", help=text)
    say("--dt", dest="discovery_timeout", type=duration, metavar="S", help="discovery window")
    say("--no-known", dest="known", action="store_false", help="only nodes that answer now")
    say("--limit", type=share, metavar="N|N%", help="so many of them, at random")
    say("--limit-seed", type=whole, metavar="SEED", help="the same choice each time")
    say("--one", action="store_true", help="one of them")
    say("--session", metavar="NAME", help="the durable session to use")
    say("-t", "--timeout", type=duration, metavar="S", help="how long to wait for replies")
    return parser


def _rows() -> argparse.ArgumentParser:
    parser = _group()
    say = parser.add_argument_group("rows").add_argument
    text = "those of which it is true: state=silent, 'installed=false and lag>2'"
    say("--only", metavar="EXPRESSION", help=text)
    say("--odd", metavar="COLUMN", help="those whose COLUMN is not what most have")
    text = "the N largest; of a list of hashes (processes.rss_bytes) each is a row"
    say("--top", nargs=2, metavar=("N", "COLUMN"), help=text)
    text = "nodes that have the same there as one line; may be repeated"
    say("--fold", action="append", default=[], metavar="COLUMN", help=text)
    return parser


def _asking() -> argparse.ArgumentParser:
    parser = _group()
    say = parser.add_argument_group("asking").add_argument
    ways = tuple(via.value for via in Via)
    say("--via", type=Choice(*ways), metavar="WAY", help=", ".join(ways))
    say("--pool", metavar="NAME", help="with --via pool: which (default: the agent's name)")
    say("--ttl", type=duration, metavar="TIME", help="how long the request is worth running")
    say("--batch", type=share, metavar="N|N%", help="so many nodes at a time")
    say("--canary", type=share, metavar="N|N%", help="these first; the rest if all of them are ok")
    say("--batch-sleep", type=duration, default=0.0, metavar="S", help="rest between batches")
    say("--max-failures", type=share, metavar="K|K%", help="stop the batches after K failures")
    say("-b", "--background", action="store_true", help="send, print the request id, leave")
    say("-y", "--yes", action="store_true", help="do not ask before a change")
    return parser


def _stored() -> argparse.ArgumentParser:
    parser = _group()
    parser.add_argument("--session", metavar="NAME", help="the session to look in")
    return parser


def _pki() -> argparse.ArgumentParser:
    parser = _group()
    parser.add_argument("--pki", metavar="DIR", help="the CA's directory (default: that of pki.ca)")
    return parser


def _service() -> argparse.ArgumentParser:
    parser = _group()
    parser.add_argument("--log-json", action="store_true", help="log as JSON lines")
    return parser


def _part() -> argparse.ArgumentParser:
    parser = _group()
    text = "end when standard input does: with whoever holds its other end, however he ends"
    parser.add_argument("--until-eof", action="store_true", help=text)
    return parser


GROUPS = {
    "output": _output,
    "filters": _filters,
    "targets": _targets,
    "rows": _rows,
    "asking": _asking,
    "stored": _stored,
    "pki": _pki,
    "service": _service,
    "part": _part,
}
