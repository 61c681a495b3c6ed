"""`tour [STOP]`: walks through what a fleet can be asked, on a demo's: plans, jobs, rules, talks, a fault.

A prompt types the lines of each stop, one after the other. They are about machines that are made up:
no stop asks a real one for anything but to be looked at.
"""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Final

from mcshell.commands.grammar.session_options import RuleSignOptions
from mcshell.commands.output.result import Script
from mcshell.commands.verbs.rules import sign
from mcshell.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import TourOptions

    Steps = list[tuple[str, str]]

__all__ = ["tour"]

_TALK_SECONDS: Final = 10.0
_RULE_SECONDS: Final = 15.0
_LOOK: Final = 0.3


def tour(context: Context, options: TourOptions) -> Script:
    """Walk through one stop, or all of them in turn.

    Raises:
        UsageError: this is no demo, or there is no such stop.
    """
    path = context.settings.path
    folder = None if path is None else path.absolute().parent / "tour"
    if folder is None or not folder.is_dir():
        raise UsageError("tour: it walks through a demo's fleet; begin one with: mcshell demo")
    stops = [options.stop] if options.stop else list(STOPS)
    return Script(step for name in stops for step in STOPS[name](context, folder))


def _plan(_context: Context, folder: Path) -> Steps:
    file = shlex.quote(str(folder / "update.yaml"))
    return [
        ("A plan: steps across nodes, one web server first, then half of them, then the rest.", ""),
        ("Who would do what, and when; nothing is sent:", f"plan preview {file}"),
        ("Each wave waits for the one before, and a failure stops it:", f"plan run {file}"),
    ]


def _job(_context: Context, _folder: Path) -> Steps:
    submit = 'job submit service restart name=nginx -F role=web --at "tomorrow 04:00" --name tour'
    return [
        ("A job lives on the nodes: nobody has to be there when its time comes.", submit),
        ("What will start when, by the nodes themselves:", "job forecast --within 2d"),
        ("And off it goes again:", "job cancel tour"),
    ]


def _rule(context: Context, folder: Path) -> Steps:
    file = folder / "nightly.yaml"
    sign(context, RuleSignOptions(file=str(file), out=str(folder.parent / "rules")))
    _wait_for_rule(context)
    told = (
        f"A rule says which jobs a machine should have. {file} is signed now, and the demo's"
        " supervisor brings it to those whom it is about, now and whenever one joins."
    )
    return [
        (told, ""),
        ("The caches have it:", "job list -F role=cache"),
    ]


def _wait_for_rule(context: Context) -> None:
    """Until a machine has what it says, or it should: supervisors hear of nodes as they register."""
    ends = time.monotonic() + _RULE_SECONDS
    while not context.client().jobs.rows(where="role=cache") and time.monotonic() < ends:
        time.sleep(_LOOK)


def _talk(context: Context, _folder: Path) -> Steps:
    with context.client().open("web01", "repl") as talk:
        talk.send({"eval": "6 * 7"})
        heard = talk.receive(timeout=_TALK_SECONDS)
    opened = 'with client.open("web01", "repl") as talk: talk.send({"eval": "6 * 7"})'
    return [(f"A conversation, in Python: {opened}; talk.receive() gives {heard}", "")]


def _incident(_context: Context, _folder: Path) -> Steps:
    return [
        (
            "Two machines go down:",
            "rpc exec run -I web07 -I cache02 -F emulated=true -- poweroff",
        ),
        ("Who should be there and is not:", "ping --only state=silent"),
        ("Why:", "explain web07"),
        ("What is for them waits until they are back:", "rpc rpcutil ping -I web07 --via queue -b"),
    ]


STOPS: Final[dict[str, Callable[[Context, Path], Steps]]] = {
    "plan": _plan,
    "job": _job,
    "rule": _rule,
    "talk": _talk,
    "incident": _incident,
}
