"""What the lines `session …`, `plan …` and `supervisor sign` say."""

from __future__ import annotations

from mcshell.commands.grammar.arguments import flag, option, seconds, word
from mcshell.commands.grammar.options import Options, Output, Stored


class New(Output):
    name: str = word("NAME", "its name")


class Save(Stored, Output):
    name: str = word("NAME", "the name under which it is found again")


class Attach(Output):
    session: str = word("SESSION", "its name")
    timeout: float | None = seconds("-t --timeout S", "how long to wait for what is in its queue")


class Export(Output):
    session: str | None = word("SESSION", "its name (default: the one that lines use)", nargs="?")
    file: str = word("FILE", "where the copy goes")


class Import(Output):
    file: str = word("FILE", "what `session export` wrote")
    session: str | None = option("--session NAME", "its name here (default: as it was)")


class Drop(Output):
    session: str = word("SESSION", "its name")
    yes: bool = flag("-y --yes", "do not ask")


class Plans(Output):
    session: str | None = option("--session NAME", "the session that keeps it")


class PlanPreview(Plans):
    file: str = word("FILE", "the plan, YAML")


class _Stay(Options):
    timeout: float | None = seconds(
        "-t --timeout S", "leave it after so long; `plan resume` goes on with it"
    )


class PlanRun(PlanPreview, _Stay):
    again: bool = flag("--again", "though the same revision is under way")
    yes: bool = flag("-y --yes", "do not ask before a change")


class PlanResume(Plans, _Stay):
    plan: str | None = word("PLAN", "its id, first letters or name; default: the newest", nargs="?")
    accept: bool = flag(
        "--accept",
        "take the failures for which it stands still as mended by hand; it is written down",
    )


class RuleSign(Output):
    file: str = word("RULE", "the rule, YAML")
    out: str | None = option(
        "-o --out DIR", "the folder of the signed rules (default: supervisor.rules, else here)"
    )
