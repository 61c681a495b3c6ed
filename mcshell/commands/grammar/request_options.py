"""What the lines say that ask nodes at once (`ping`, `rpc` …) or look at replies (`replies`, `fold` …)."""

from __future__ import annotations

from mcshell.commands.grammar.arguments import Words, flag, option, seconds, several, word
from mcshell.commands.grammar.options import (
    INPUTS,
    ActionOptions,
    AskingOptions,
    FiltersOptions,
    InputsOptions,
    Options,
    OutputOptions,
    RowsOptions,
    StoredOptions,
    TargetsOptions,
    UnaskedOptions,
)
from mcshell.commands.grammar.values import Choice, percentage

_REQUEST = (
    "an id, package.status, @yesterday, package.status@7d or a job's name; default: the newest"
)
_MOMENT = "a request, or a moment (@7d, @yesterday, @2026-11-20T09:00): when the same was asked"


class FindOptions(TargetsOptions, OutputOptions): ...


class PingOptions(TargetsOptions, RowsOptions, OutputOptions): ...


class FactsOptions(TargetsOptions, OutputOptions):
    name: str = word("NAME", "the fact")


class InventoryOptions(TargetsOptions, RowsOptions, OutputOptions):
    node: str | None = word("NODE", "only this node, in full", nargs="?")
    follow: bool = flag("--follow", "with --jsonl: a line for each registration, until Ctrl-C")

    @property
    def named(self) -> bool:
        """NODE is named as those of -I are."""
        return self.node is not None or super().named


class RpcOptions(
    TargetsOptions, AskingOptions, RowsOptions, OutputOptions, ActionOptions, InputsOptions
):
    diff: str | None = option(
        "--diff BEFORE",
        "what has changed since a request, or since the same was asked as of a moment (@7d)",
    )


class ProposeOptions(TargetsOptions, OutputOptions, ActionOptions, InputsOptions, title="proposal"):
    why: str | None = option("--why TEXT", "a line for those who are to approve")
    ttl: float | None = seconds("--ttl TIME", "until when it may begin (1d)")


class ProposalsOptions(OutputOptions):
    timeout: float | None = seconds("-t --timeout S", "how long to wait for the nodes")


class ApproveOptions(ProposalsOptions, UnaskedOptions):
    proposal: str = word("PROPOSAL", "the first digits of its digest, 8 at least")


class RunOptions(ProposalsOptions, UnaskedOptions):
    proposal: str = word("PROPOSAL", "the first digits of its digest, 8 at least")
    via: str | None = option(
        "--via WAY", "direct, or queue (default)", type=Choice("direct", "queue")
    )


class _EarlierOptions(Options):
    earlier: str | None = word("REQUEST", _REQUEST, nargs="?")


class RetryOptions(
    StoredOptions, RowsOptions, OutputOptions, _EarlierOptions, InputsOptions, UnaskedOptions
):
    request: str | None = option("-r --request REQUEST", "the same as REQUEST")
    inputs: Words = word("input=value", f"{INPUTS}, over those of then", nargs="*")
    timeout: float | None = seconds("-t --timeout S", "how long to wait for replies")
    ttl: float | None = seconds("--ttl TIME", "how long the request is worth running")
    background: bool = flag("-b --background", "send, print the request id, leave")


class RepliesOptions(StoredOptions, RowsOptions, OutputOptions):
    request: str | None = word("REQUEST", _REQUEST, nargs="?")
    arrived: bool = flag("--arrived", "only targets that answered")
    timeout: float | None = seconds("-t --timeout S", "wait until it is complete, so long at most")


class LedgerOptions(StoredOptions, RowsOptions, OutputOptions):
    request: str | None = word("REQUEST", _REQUEST, nargs="?")


class ExplainOptions(StoredOptions, OutputOptions):
    node: str = word("NODE", "the node, or pool:NAME")
    request: str | None = word("REQUEST", _REQUEST, nargs="?")


class RequestsOptions(StoredOptions, OutputOptions): ...


class ColumnsOptions(StoredOptions, OutputOptions):
    columns: Words = word(
        "COLUMN", "outputs, or paths into them: value.release.major (default: all)", nargs="*"
    )
    request: str | None = option("-r --request REQUEST", _REQUEST)


class OutliersOptions(ColumnsOptions):
    share: float | None = option(
        "--share N%", "a value that more of the nodes have is not odd (10%%)", type=percentage
    )


class DiffOptions(StoredOptions, OutputOptions):
    before: str | None = word("BEFORE", f"{_MOMENT}; default: the time before", nargs="?")
    after: str | None = word("AFTER", f"{_MOMENT}; default: the newest", nargs="?")
    columns: Words = several("--column COLUMN", "compare only this column; may be repeated")


class SQLOptions(OutputOptions):
    session: str | None = option("--session NAME", "only this session (default: all)")
    query: Words = word(
        "QUERY",
        "over requests, ledger, replies, nodes, and for each action package_status: "
        "SELECT sender, version, facts ->> '$.os.name' FROM package_status. To the line's end;"
        " in quotes it may go to a file: sql '…' > f.csv",
        nargs="*",
    )


class FilterOptions(FiltersOptions):
    off: bool = flag("--off", "no filter any more")
