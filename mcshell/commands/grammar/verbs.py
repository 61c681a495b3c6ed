"""Which verbs there are (mcshell/README.md §3): declarations only.

A verb names the function that does it as "module:function" below `mcshell.commands.verbs` (what is
"face:" is the command line's own), and the class of its options as "family:Class": a line loads
`family_options` of its own family only; what has no family is in `options`.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from mcshell.errors import did_you_mean
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Container

    from mcshell.commands.grammar.options import Options

__all__ = [
    "BEFORE",
    "INTRODUCTION",
    "SAME",
    "VERBS",
    "Face",
    "Verb",
    "begins_verb",
    "elsewhere",
    "misplaced",
    "offered",
    "said_here",
]

Face: TypeAlias = Literal["cli", "prompt", "magic"]

INTRODUCTION = {
    "cli": "mcshell talks to a fleet.\n\n"
    "  mcshell VERB ...           run one line\n"
    "  mcshell                    a prompt (lines, when standard input is no terminal)\n"
    "  mcshell -e 'LINE; LINE'    run lines and leave\n"
    "  mcshell --version          the version\n\n"
    "Verbs:",
    "prompt": "Verbs (also !COMMAND for your shell, Ctrl-Z, Ctrl-D to leave):",
    "magic": "%mco VERB ... gives a DataFrame; %%mco takes inputs as YAML. Verbs:",
}
BEFORE = {
    "-e": True,
    "--config": True,
    "--format": True,
    "-j": False,
    "--json": False,
    "--jsonl": False,
    "--version": False,
    "-h": False,
    "--help": False,
}
"""The options that may stand before a verb of the command line, each with whether a value follows."""

_TRIALS = ("--check", "--dry-run", "--noop")
_ELSEWHERE = {
    **dict.fromkeys(_TRIALS[:2], "--noop"),
    "-1": "--one",
    "-W": "-F FACT=VALUE, -C CLASS, or -S with both",
    "--with": "-F FACT=VALUE, -C CLASS, or -S with both",
    "--disc-method": "--dm",
    "--disc-option": "--do",
    "--ln": "--limit",
    "--limit-nodes": "--limit",
    **dict.fromkeys(("--batch-size", "--forks", "--fanout", "--serial"), "--batch"),
    "--batch-sleep-time": "--batch-sleep",
    "--batch-wait": "--batch-sleep",
    "--display": "--only state=failed, or of another state",
    "--failhard": "--max-failures 1",
    "--max-fail-percentage": "--max-failures",
    "--out": "--format",
    "--subset": "--limit",
    "-E": "-I /REGEX/",
    "-G": "-F FACT=VALUE",
    "-L": "-I, also NAME,NAME",
    "-g": "-I @GROUP",
    "-l": "-I, also NAME,NAME and @GROUP",
    "-w": "-I, also web[01-40]",
    "-x": "-I 'SET!EXCEPT'",
}
"""Options by which mco, salt, ansible and clush say what one has here by another name."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its name (one or two words), its function, its options.

    `only` is the one face that has it, None for all. `free` says what of a line it takes as text in
    which `|` and `>` send nothing elsewhere: "query" all behind its options, "--" the words behind
    `--`, "line" another line behind its first word.
    """

    name: str
    summary: str
    target: str
    options: str
    only: Face | None = None
    free: Literal["", "query", "--", "line"] = ""

    def offered(self, face: str) -> bool:
        """Whether a face has it; a cell shows nothing again and again."""
        own = face == "magic" and self.target.startswith("face:")
        return self.only in (None, face) and not own

    @property
    def kind(self) -> type[Options]:
        """The class of what its lines say."""
        family, _, name = self.options.rpartition(":")
        module = f"{family}_options" if family else "options"
        return cast("type[Options]", getattr(import_module(f"{__package__}.{module}"), name))

    @property
    def flags(self) -> dict[str, bool]:
        """Its options in any face, each with whether a value follows."""
        found = {"-h": False, "--help": False, "--config": True, "-o": True}
        for one in self.kind.arguments().values():
            found |= one.flags
        return found


# fmt: off
VERBS: dict[str, Verb] = {verb.name: verb for verb in (
    Verb("ping", "who is there, and how far away", "discovery:ping", "request:PingOptions"),
    Verb("find", "the identities that match", "discovery:find", "request:FindOptions"),
    Verb("facts", "how a fact is distributed", "facts:facts", "request:FactsOptions"),
    Verb("inventory", "facts, classes, agents and versions", "discovery:inventory", "request:InventoryOptions"),
    Verb("agents", "the agents that can be asked", "doc:agents", "OutputOptions"),
    Verb("doc", "what an agent or action takes and gives", "doc:doc", "local:DocOptions"),
    Verb("rpc", "ask an agent to act; the replies", "rpc:rpc", "request:RpcOptions", free="--"),
    Verb("retry", "ask the failed and silent again", "retry:retry", "request:RetryOptions", free="--"),
    Verb("replies", "what came back", "history:replies", "request:RepliesOptions"),
    Verb("ledger", "each target's state and times", "history:ledger", "request:LedgerOptions"),
    Verb("explain", "why a node is silent", "explain:explain", "request:ExplainOptions"),
    Verb("requests", "what was asked", "history:requests", "request:RequestsOptions"),
    Verb("fold", "nodes with equal answers", "analysis:fold", "request:ColumnsOptions"),
    Verb("diff", "what changed since", "analysis:diff", "request:DiffOptions"),
    Verb("outliers", "the odd ones out", "analysis:outliers", "request:OutliersOptions"),
    Verb("summary", "each column in a line", "analysis:summary", "request:ColumnsOptions"),
    Verb("sql", "SQLite over all sessions", "analysis:sql", "request:SQLOptions", free="query"),
    Verb("filter", "narrow every line to come", "filter:filter_", "request:FilterOptions"),
    Verb("cp", "files to nodes, or from nodes", "cp:cp", "file:CopyOptions"),
    Verb("session list", "the durable sessions", "session:list_", "OutputOptions"),
    Verb("session new", "make one", "session:new", "session:NewOptions"),
    Verb("session save", "give this one a name", "session:save", "session:SaveOptions"),
    Verb("session attach", "take one up again", "session:attach", "session:AttachOptions"),
    Verb("session detach", "leave it; it goes on", "session:detach", "OutputOptions"),
    Verb("session export", "copy it into a file", "session:export", "session:ExportOptions"),
    Verb("session import", "take in a copy", "session:import_", "session:ImportOptions"),
    Verb("session drop", "delete one", "session:drop", "session:DropOptions"),
    Verb("propose", "put an action before those who have to approve it", "approvals:propose", "request:ProposeOptions", free="--"),
    Verb("proposals", "what was proposed, and who has approved it", "approvals:proposals", "request:ProposalsOptions"),
    Verb("approve", "see a proposal, and sign that you approve it", "approvals:approve", "request:ApproveOptions"),
    Verb("proposal run", "have done what you have proposed", "approvals:run", "request:RunOptions"),
    Verb("job submit", "work for a later time", "jobs:submit", "job:SubmitOptions", free="--"),
    Verb("job list", "where the jobs of the nodes stand", "jobs:list_", "job:ListOptions"),
    Verb("job show", "all about one, with its runs", "jobs:show", "job:JobOptions"),
    Verb("job edit", "put a new revision in its place", "jobs:edit", "job:EditOptions", free="--"),
    Verb("job pause", "start it no more", "jobs:pause", "job:ChangeOptions"),
    Verb("job resume", "let it start again", "jobs:resume", "job:ChangeOptions"),
    Verb("job skip", "leave out its next start", "jobs:skip", "job:ChangeOptions"),
    Verb("job cancel", "end it, and what runs of it", "jobs:cancel", "job:ChangeOptions"),
    Verb("job log", "what a run wrote", "jobs:log", "job:LogOptions"),
    Verb("job forecast", "what will start when", "jobs:forecast", "job:ForecastOptions"),
    Verb("plan run", "steps across nodes, with gates", "plans:run", "session:PlanRunOptions"),
    Verb("plan preview", "who would run what, when", "plans:preview", "session:PlanPreviewOptions"),
    Verb("plan resume", "go on where it was left", "plans:resume", "session:PlanResumeOptions"),
    Verb("plan list", "the plans of the session", "plans:list_", "session:PlansOptions"),
    Verb("watch", "a line again every N seconds, until Ctrl-C", "face:watch", "local:WatchOptions", free="line"),
    Verb("history", "the lines that were typed", "prompt:history", "local:HistoryOptions"),
    Verb("clear", "an empty screen", "face:clear", "Options", "prompt"),
    Verb("exit", "leave (also quit, \\q, Ctrl-D)", "prompt:leave", "Options", "prompt"),
    Verb("version", "which mcshell this is", "prompt:version", "Options"),
    Verb("demo", "a fleet on this machine, to try", "face:demo", "local:DemoOptions", "cli"),
    Verb("tour", "plans, jobs, rules, a talk, an incident, on a demo", "tour:tour", "local:TourOptions"),
    Verb("broker", "run the embedded broker", "services:broker", "local:BrokerOptions", "cli"),
    Verb("broker config", "write a broker's configuration: TLS, rights", "broker_config:config", "local:BrokerConfigOptions", "cli"),
    Verb("broker move", "take what waits in a broker to another one", "broker_move:move", "local:BrokerMoveOptions", "cli"),
    Verb("node", "run a node daemon", "services:node", "local:NodeOptions", "cli"),
    Verb("node forget", "drop a node from what is known", "discovery:forget", "local:ForgetOptions"),
    Verb("node enroll", "a certificate for a key that is made here", "enrolment:enroll", "local:NodeEnrollOptions", "cli"),
    Verb("emulate", "run emulated nodes", "services:emulate", "local:EmulateOptions", "cli"),
    Verb("supervisor", "give machines the jobs of their rules", "services:supervisor", "PartOptions", "cli"),
    Verb("supervisor sign", "sign a rule, for supervisors to carry", "rules:sign", "session:RuleSignOptions", "cli"),
    Verb("pki init", "make a small CA", "pki:init", "local:PKIInitOptions", "cli"),
    Verb("pki issue", "issue a certificate", "pki:issue", "local:PKIIssueOptions", "cli"),
    Verb("pki list", "certificates that were issued", "pki:listing", "local:PKIListOptions", "cli"),
    Verb("pki revoke", "take a certificate back", "pki:revoke", "local:PKIRevokeOptions", "cli"),
    Verb("pki rotate", "let another CA take this one's place, step by step", "pki:rotate", "local:PKIRotateOptions", "cli"),
    Verb("pki token", "let machines ask for certificates", "enrolment:token", "local:PKITokenOptions", "cli"),
    Verb("pki requests", "the requests that wait to be signed", "enrolment:requests", "local:PKIRequestsOptions", "cli"),
    Verb("pki receive", "take requests that came as files", "enrolment:receive", "local:PKIReceiveOptions", "cli"),
    Verb("pki sign", "sign what waits", "enrolment:sign", "local:PKISignOptions", "cli"),
    Verb("pki serve", "answer machines that ask for certificates", "services:pki_serve", "local:PKIServeOptions", "cli"),
    Verb("pki publish", "send the newest revocation list to the nodes", "pki_publish:publish", "local:PKIPublishOptions", "cli"),
    Verb("policy lint", "lines of policies that cannot be used", "policy:lint", "local:PolicyLintOptions", "cli"),
    Verb("policy test", "what would be decided, and by which line", "policy:decide", "local:PolicyTestOptions", "cli"),
    Verb("audit verify", "is a node's audit log, or a session, what was written", "audit:verify", "local:AuditVerifyOptions", "cli"),
    Verb("doctor", "what is wrong here, and why", "doctor:doctor", "local:DoctorOptions", "cli"),
    Verb("config show", "settings and their origin", "config_show:show", "OutputOptions", "cli"),
    Verb("config import", "MCollective's client.cfg or server.cfg", "config_import:import_", "local:ConfigImportOptions", "cli"),
    Verb("ddl export", "schemas for the real mco", "ddl_export:export", "local:DDLExportOptions", "cli"),
    Verb("report", "a notebook, run and kept as a page", "report:report", "local:ReportOptions"),
    Verb("notebook", "sessions as a notebook that runs on what was answered", "notebook:notebook", "local:NotebookOptions"),
    Verb("agent new", "begin an agent of your own", "agent_new:new", "local:AgentNewOptions", "cli"),
    Verb("completion", "what a shell's Tab wants to know", "completion:completion", "local:CompletionOptions", "cli"),
    Verb("mcp", "the fleet for an assistant: reads, and proposes", "face:mcp", "local:MCPOptions", "cli"),
    Verb("shell", "the prompt", "face:shell", "Options", "cli"),
)}
# fmt: on
SAME = {"quit": "exit", "q": "exit"}
"""Other words for a verb; `\\q` is read as the word q."""
_FIRST = {name.split()[0] for name in VERBS} | {"help", "-h", "--help", *SAME}


def begins_verb(word: str) -> bool:
    """Whether a line that begins so can only be a verb's, or asks for help."""
    return word in _FIRST


def offered(face: str) -> dict[str, str]:
    """The verbs of a face, each with its summary."""
    shown = (verb for verb in VERBS.values() if verb.offered(face))
    return {verb.name: verb.summary for verb in shown}


def said_here(option: str, known: Container[str] | None = None) -> str:
    """What stands here for an option of mco, salt, ansible or clush, if it is one of the `known`."""
    meant = _ELSEWHERE.get(option, "")
    if option in _TRIALS and known is not None and "--noop" not in known:
        return " (help see-before-a-change)"
    first = meant.split(" ")[0].rstrip(",")
    return f" (here: {meant})" if meant and (known is None or first in known) else ""


def elsewhere() -> Any:
    """The module that knows the words of other tools; None on a light node, which is built without it."""
    with suppress(ModuleNotFoundError):
        return import_module(f"{__package__}.elsewhere")
    return None


def misplaced(option: str) -> str:
    """What is wrong with an option before the verb: it stands behind it, or is none."""
    if any(
        option in one.flags for verb in VERBS.values() for one in verb.kind.arguments().values()
    ):
        return f"{option} stands behind the verb, as in mcshell VERB {option} ..."
    return f"unknown option {option}{did_you_mean(option, BEFORE)}"
