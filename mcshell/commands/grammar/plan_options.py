"""What the verbs `plan …` and `supervisor sign` take (mcshell/README.md §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.commands.grammar.options import duration

if TYPE_CHECKING:
    import argparse

__all__ = ["list_", "preview", "resume", "run", "sign"]


def preview(parser: argparse.ArgumentParser) -> None:
    """A file, and the session whose broker is asked."""
    parser.add_argument("file", metavar="FILE", help="the plan, YAML")
    list_(parser)


def run(parser: argparse.ArgumentParser) -> None:
    """A file, and how long to stay."""
    preview(parser)
    _stay(parser)
    say = parser.add_argument
    say("--again", action="store_true", help="though the same revision is under way")
    say("-y", "--yes", action="store_true", help="do not ask before a change")


def resume(parser: argparse.ArgumentParser) -> None:
    """A plan of the session."""
    text = "its id, first letters or name; default: the newest"
    parser.add_argument("plan", metavar="PLAN", nargs="?", help=text)
    list_(parser)
    _stay(parser)
    text = "take the failures for which it stands still as mended by hand; it is written down"
    parser.add_argument("--accept", action="store_true", help=text)


def sign(parser: argparse.ArgumentParser) -> None:
    """A rule's file, and where the signed one goes."""
    parser.add_argument("file", metavar="RULE", help="the rule, YAML")
    text = "the folder of the signed rules (default: supervisor.rules, else here)"
    parser.add_argument("-o", "--out", metavar="DIR", help=text)


def list_(parser: argparse.ArgumentParser) -> None:
    """The session whose plans are listed."""
    parser.add_argument("--session", metavar="NAME", help="the session that keeps it")


def _stay(parser: argparse.ArgumentParser) -> None:
    text = "leave it after so long; `plan resume` goes on with it"
    parser.add_argument("-t", "--timeout", type=duration, metavar="S", help=text)
