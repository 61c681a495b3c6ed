"""What the lines `job …` say."""

from __future__ import annotations

from mcshell.commands.grammar.arguments import Words, flag, option, seconds, word
from mcshell.commands.grammar.options import (
    ActionOptions,
    InputsOptions,
    Options,
    OutputOptions,
    StoredOptions,
    TargetsOptions,
    UnaskedOptions,
)
from mcshell.commands.grammar.values import whole

_JOB = "a job's id, its first letters, or its name"


class TimesOptions(Options, title="time"):
    at: str | None = option("--at TIME", "tomorrow 04:00, fri 22:30, 2026-11-25 04:00, +2h")
    cron: str | None = option("--cron FIELDS", "such as '0 4 * * 1'")
    every: float | None = seconds("--every TIME", "again and again, such as 6h")
    tz: str | None = option("--tz ZONE", "node (each its own), or a name such as Europe/Vienna")
    splay: float | None = seconds("--splay TIME", "spread the nodes over so long")
    late: float | None = seconds("--late TIME", "how late a start is still worth it (1h)")
    until: str | None = option("--until TIME", "no start after that (what recurs: 90 days)")


class TermsOptions(Options, title="job"):
    after: Words | None = option(
        "--after JOB[:ok|failed|done]",
        "start when that job has ended so; also several times",
        action="append",
    )
    name: str | None = option("--name NAME", "a name for people")
    retries: int | None = option("--retries N", "try a failed run so many times more", type=whole)
    backoff: float | None = seconds("--backoff TIME", "before the first retry (60s); it doubles")
    max_runtime: float | None = seconds("--max-runtime TIME", "in place of the DDL's timeout")


class SubmitOptions(
    TargetsOptions,
    OutputOptions,
    ActionOptions,
    InputsOptions,
    TimesOptions,
    TermsOptions,
    UnaskedOptions,
    title="job",
):
    ttl: float | None = seconds("--ttl TIME", "how long it may wait for a node that is down")
    background: bool = flag("-b --background", "do not wait for the nodes to accept it")


class JobOptions(TargetsOptions, OutputOptions):
    job: str = word("JOB", _JOB)


class ChangeOptions(JobOptions, UnaskedOptions): ...


class EditOptions(ChangeOptions, InputsOptions, TimesOptions, TermsOptions): ...


class ListOptions(TargetsOptions, OutputOptions):
    job: str | None = word("JOB", f"only this one: {_JOB}", nargs="?")
    name: str | None = option("--name NAME", "only jobs of this name")
    state: str | None = option("--state STATE", "only jobs in this state")


class LogOptions(StoredOptions, OutputOptions):
    job: str = word("JOB", _JOB)
    node: str = word("NODE", "where it runs or ran")
    run: str | None = option("--run RUN", "which run (default: the newest)")
    follow: bool = flag("-f --follow", "until it ends")


class ForecastOptions(TargetsOptions, OutputOptions):
    from_: str | None = option("--from TIME", "from then on (default: now)")
    within: float = seconds("--within TIME", "and so long (1d)", default=86_400.0)
