"""What the verbs `job …` take (mcshell/README.md §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.commands.grammar.options import duration, whole

if TYPE_CHECKING:
    import argparse

__all__ = ["INPUTS", "change", "edit", "forecast", "list_", "log", "submit"]

INPUTS = "the action's inputs; behind -- the words of its one list (exec run -- ls -l)"
_JOB = "a job's id, its first letters, or its name"


def _job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help=_JOB)


def _inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="input=value", nargs="*", help=INPUTS)


def _length(text: str) -> float:
    return duration(text)


def _times(parser: argparse.ArgumentParser) -> Any:
    say = parser.add_argument_group("time").add_argument
    say("--at", metavar="TIME", help="tomorrow 04:00, fri 22:30, 2026-11-25 04:00, +2h")
    say("--cron", metavar="FIELDS", help="such as '0 4 * * 1'")
    say("--every", type=_length, metavar="TIME", help="again and again, such as 6h")
    say("--tz", metavar="ZONE", help="node (each its own), or a name such as Europe/Vienna")
    say("--splay", type=_length, metavar="TIME", help="spread the nodes over so long")
    say("--late", type=_length, metavar="TIME", help="how late a start is still worth it (1h)")
    say("--until", metavar="TIME", help="no start after that (what recurs: 90 days)")
    say = parser.add_argument_group("job").add_argument
    text = "start when that job has ended so; also several times"
    say("--after", action="append", metavar="JOB[:ok|failed|done]", help=text)
    say("--name", metavar="NAME", help="a name for people")
    say("--retries", type=whole, metavar="N", help="try a failed run so many times more")
    say("--backoff", type=_length, metavar="TIME", help="before the first retry (60s); it doubles")
    say("--max-runtime", type=_length, metavar="TIME", help="in place of the DDL's timeout")
    return say


def submit(parser: argparse.ArgumentParser) -> None:
    """An agent, an action, its inputs, and when."""
    parser.add_argument("agent", metavar="AGENT", help="whom to ask; `agents` lists them")
    parser.add_argument("action", metavar="ACTION", help="what to ask; `doc AGENT` lists them")
    _inputs(parser)
    say = _times(parser)
    say("--ttl", type=_length, metavar="TIME", help="how long it may wait for a node that is down")
    say("-b", "--background", action="store_true", help="do not wait for the nodes to accept it")
    say("-y", "--yes", action="store_true", help="do not ask before a change")


def edit(parser: argparse.ArgumentParser) -> None:
    """A job, and what changes about it."""
    _job(parser)
    _inputs(parser)
    _times(parser)


def change(parser: argparse.ArgumentParser) -> None:
    """The job that is meant, for the verbs that change or show one."""
    _job(parser)


def list_(parser: argparse.ArgumentParser) -> None:
    """Which jobs are listed: by id, name or state; all without."""
    parser.add_argument("job", metavar="JOB", nargs="?", help=f"only this one: {_JOB}")
    parser.add_argument("--name", metavar="NAME", help="only jobs of this name")
    parser.add_argument("--state", metavar="STATE", help="only jobs in this state")


def log(parser: argparse.ArgumentParser) -> None:
    """Whose log: the job, the node, which run; and whether to follow it."""
    _job(parser)
    parser.add_argument("node", metavar="NODE", help="where it runs or ran")
    parser.add_argument("--run", metavar="RUN", help="which run (default: the newest)")
    parser.add_argument("-f", "--follow", action="store_true", help="until it ends")


def forecast(parser: argparse.ArgumentParser) -> None:
    """From when on, and for how long."""
    parser.add_argument("--from", dest="from_", metavar="TIME", help="from then on (default: now)")
    text = "and so long (1d)"
    parser.add_argument("--within", type=_length, default=86_400.0, metavar="TIME", help=text)
