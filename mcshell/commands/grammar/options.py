"""Groups of options that several verbs share (mcshell/README.md §3), as bases of a verb's own class."""

from __future__ import annotations

from mcshell.commands.grammar.arguments import Declared, Words, flag, option, seconds, several, word
from mcshell.commands.grammar.values import FORMATS, SOURCES, Choice, Form, share, source, whole
from mcshell.message import Via

INPUTS = "the action's inputs; behind -- the words of its one list (exec run -- ls -l)"
LEVELS = ("debug", "info", "warning", "error")
_WAYS = tuple(via.value for via in Via)


class Options(Declared):
    """What every line is asked for, with what it means where a line cannot say it.

    Where it can, a group or the verb declares it. `config` is an option of every command line,
    `store` of every cell.
    """

    config: str | None = None
    store: str | None = None
    format: str | None = None
    session: str | None = None
    timeout: float | None = None
    arrived: bool = False
    background: bool = False
    yes: bool = False


class OutputOptions(Options):
    """How the result is written."""

    format: str | None = (
        option("--format FORMAT", ", ".join(FORMATS), type=Form())
        | option("-j --json", "one document", action="store_const", const="json")
        | option("--jsonl", "a line a row", action="store_const", const="jsonl")
        | option("--senders", "names only", action="store_const", const="senders")
    )


class UnaskedOptions(Options):
    """What changes something, so that it might ask before."""

    yes: bool = flag("-y --yes", "do not ask")


class FiltersOptions(Options, title="filters"):
    """What must be true of a node."""

    fact: Words = several("-F --wf FACT", "with FACT")
    cls: Words = several("-C --wc CLASS", "with CLASS")
    agent_filter: Words = several("-A --wa AGENT", "with AGENT")
    identity: Words = several("-I --wi IDENTITY", "with IDENTITY")
    compound: Words = several(
        "-S --select EXPRESSION", "of which it is true: 'os.name=Debian and not role=db'"
    )


class TargetsOptions(FiltersOptions, title="targets"):
    """Whom a line is for, and how they are found."""

    collective: str | None = option("-T --target COLLECTIVE", "ask this collective")
    nodes: str | None = option(
        "--nodes X", "names from a file, - (standard input), _ (the last rows) or a variable"
    )
    source: str | None = option("--dm SOURCE", ", ".join(SOURCES), type=source)
    source_options: Words = several(
        "--do KEY=VALUE",
        "for the source external; may be repeated (command=PROGRAM is the program)",
    )
    discovery_timeout: float | None = seconds("--dt S", "discovery window")
    known: bool = flag("--no-known", "only nodes that answer now", default=True)
    fresh: bool = flag("--fresh", "ask anew who matches, though it be known")
    limit: str | None = option("--limit N|N%", "so many of them, at random", type=share)
    limit_seed: int | None = option("--limit-seed SEED", "the same choice each time", type=whole)
    one: bool = flag("--one", "one of them")
    session: str | None = option("--session NAME", "the durable session to use")
    timeout: float | None = seconds("-t --timeout S", "how long to wait for replies")

    @property
    def named(self) -> bool:
        """Whether all of them were named by hand, so that nobody asked the network."""
        others = [*self.fact, *self.cls, *self.agent_filter, *self.compound]
        if self.nodes is not None or self.source == "stdin":
            return not others and not self.identity
        patterns = [name for name in self.identity if name.startswith("/")]
        return bool(self.identity) and not others and not patterns


class RowsOptions(Options, title="rows"):
    """Which rows are shown, and how; `diff`, which only `rpc` has, wants them all."""

    only: str | None = option(
        "--only EXPRESSION", "those of which it is true: state=silent, 'installed=false and lag>2'"
    )
    odd: str | None = option("--odd COLUMN", "those whose COLUMN is not what most have")
    top: Words = option(
        "--top",
        "the N largest; of a list of hashes (processes.rss_bytes) each is a row",
        nargs=2,
        metavar=("N", "COLUMN"),
    )
    fold: Words = several(
        "--fold COLUMN", "nodes that have the same there as one line; may be repeated"
    )
    diff: str | None = None


class AskingOptions(Options, title="asking"):
    """How a request is put."""

    via: str | None = option("--via WAY", ", ".join(_WAYS), type=Choice(*_WAYS))
    pool: str | None = option("--pool NAME", "with --via pool: which (default: the agent's name)")
    ttl: float | None = seconds("--ttl TIME", "how long the request is worth running")
    batch: str | None = option("--batch N|N%", "so many nodes at a time", type=share)
    canary: str | None = option(
        "--canary N|N%", "these first; the rest if all of them are ok", type=share
    )
    batch_sleep: float = seconds("--batch-sleep S", "rest between batches", default=0.0)
    max_failures: str | None = option(
        "--max-failures K|K%", "stop the batches after K failures", type=share
    )
    break_glass: str | None = option(
        "--break-glass REASON", "without the approvals it wants; everybody is told why"
    )
    background: bool = flag("-b --background", "send, print the request id, leave")
    yes: bool = flag("-y --yes", "do not ask before a change")


class ActionOptions(Options):
    """An agent and its action."""

    agent: str = word("AGENT", "whom to ask; `agents` lists them")
    action: str = word("ACTION", "what to ask; `doc AGENT` lists them")


class InputsOptions(Options):
    """An action's inputs; `behind` are the words behind `--`, None without it."""

    inputs: Words = word("input=value", INPUTS, nargs="*")
    behind: Words | None = None


class StoredOptions(Options):
    """Which session is looked into."""

    session: str | None = option("--session NAME", "the session to look in")


class PKIOptions(Options):
    """Which CA is meant."""

    pki: str | None = option("--pki DIR", "the CA's directory (default: that of pki.ca)")


class ServiceOptions(Options):
    """What runs until it is told to stop."""

    log_json: bool = flag("--log-json", "log as JSON lines")
    log_level: str = option(
        "--log-level LEVEL",
        f"from where on: {', '.join(LEVELS)}",
        type=Choice(*LEVELS),
        default="info",
    )


class PartOptions(ServiceOptions):
    """A service that may be a part of something."""

    until_eof: bool = flag(
        "--until-eof",
        "end when standard input does: with whoever holds its other end, however he ends",
    )
