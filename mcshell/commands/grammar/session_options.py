"""What the lines `session …`, `plan …` and `supervisor sign` say."""

from __future__ import annotations

from mcshell.commands.grammar.arguments import flag, option, seconds, word
from mcshell.commands.grammar.options import (
    Options,
    OutputOptions,
    StoredOptions,
    UnaskedOptions,
)


class NewOptions(OutputOptions):
    name: str = word("NAME", "its name")


class SaveOptions(StoredOptions, OutputOptions):
    name: str = word("NAME", "the name under which it is found again")


class AttachOptions(OutputOptions):
    session: str = word("SESSION", "its name")
    timeout: float | None = seconds("-t --timeout S", "how long to wait for what is in its queue")


class ExportOptions(OutputOptions):
    session: str | None = word("SESSION", "its name (default: the one that lines use)", nargs="?")
    file: str = word("FILE", "where the copy goes")


class ImportOptions(OutputOptions):
    file: str = word("FILE", "what `session export` wrote")
    session: str | None = option("--session NAME", "its name here (default: as it was)")


class DropOptions(OutputOptions, UnaskedOptions):
    session: str = word("SESSION", "its name")


class PlansOptions(OutputOptions):
    session: str | None = option("--session NAME", "the session that keeps it")


class PlanPreviewOptions(PlansOptions):
    file: str = word("FILE", "the plan, YAML")


class _StayOptions(Options):
    timeout: float | None = seconds(
        "-t --timeout S", "leave it after so long; `plan resume` goes on with it"
    )


class PlanRunOptions(PlanPreviewOptions, _StayOptions, UnaskedOptions):
    again: bool = flag("--again", "though the same revision is under way")


class PlanResumeOptions(PlansOptions, _StayOptions, UnaskedOptions):
    plan: str | None = word("PLAN", "its id, first letters or name; default: the newest", nargs="?")
    accept: bool = flag(
        "--accept",
        "take the failures for which it stands still as mended by hand; it is written down",
    )


class RuleSignOptions(OutputOptions):
    file: str = word("RULE", "the rule, YAML")
    out: str | None = option(
        "-o --out DIR", "the folder of the signed rules (default: supervisor.rules, else here)"
    )
