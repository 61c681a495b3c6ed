"""Which verbs there are (mcshell/README.md §3): declarations only.

A verb names the function that does it as "module:function" below `mcshell.commands.verbs` (what is
"face:" is the command line's own), and the class of its options as "family:Class": a line loads
`family_options` of its own family only; what has no family is in `options`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from mcshell.commands.grammar.options import Options

__all__ = ["INTRODUCTION", "VERBS", "Verb", "offered"]

INTRODUCTION = {
    "cli": "mcshell talks to a fleet.\n\n"
    "  mcshell VERB ...           run one line\n"
    "  mcshell                    a prompt (lines, when standard input is no terminal)\n"
    "  mcshell -e 'LINE; LINE'    run lines and leave\n"
    "  mcshell --version          the version\n\n"
    "Verbs:",
    "prompt": "Verbs (also !COMMAND for your shell, Ctrl-D to leave):",
    "magic": "%mco VERB ... gives a DataFrame; %%mco takes inputs as YAML. Verbs:",
}


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its name (one or two words), its function, its options."""

    name: str
    summary: str
    target: str
    options: str
    cli_only: bool = False

    @property
    def kind(self) -> type[Options]:
        """The class of what its lines say."""
        family, _, name = self.options.rpartition(":")
        module = f"{family}_options" if family else "options"
        return cast("type[Options]", getattr(import_module(f"{__package__}.{module}"), name))


# fmt: off
VERBS: dict[str, Verb] = {verb.name: verb for verb in (
    Verb("ping", "who is there, and how far away", "discovery:ping", "request:Ping"),
    Verb("find", "the identities that match", "discovery:find", "request:Find"),
    Verb("facts", "how a fact is distributed", "facts:facts", "request:Facts"),
    Verb("inventory", "facts, classes, agents and versions", "discovery:inventory", "request:Inventory"),
    Verb("agents", "the agents that can be asked", "doc:agents", "Output"),
    Verb("doc", "what an agent or action takes and gives", "doc:doc", "local:Doc"),
    Verb("rpc", "ask an agent to act; the replies", "rpc:rpc", "request:Rpc"),
    Verb("retry", "ask the failed and silent again", "retry:retry", "request:Retry"),
    Verb("replies", "what came back", "history:replies", "request:Replies"),
    Verb("ledger", "each target's state and times", "history:ledger", "request:Ledger"),
    Verb("explain", "why a node is silent", "explain:explain", "request:Explain"),
    Verb("requests", "what was asked", "history:requests", "request:Requests"),
    Verb("fold", "nodes with equal answers", "analysis:fold", "request:Columns"),
    Verb("diff", "what changed since", "analysis:diff", "request:Diff"),
    Verb("outliers", "the odd ones out", "analysis:outliers", "request:Outliers"),
    Verb("summary", "each column in a line", "analysis:summary", "request:Columns"),
    Verb("sql", "SQLite over the session", "analysis:sql", "request:SQL"),
    Verb("filter", "narrow every line to come", "filter:filter_", "request:Filter"),
    Verb("session list", "the durable sessions", "session:list_", "Output"),
    Verb("session new", "make one", "session:new", "session:New"),
    Verb("session save", "give this one a name", "session:save", "session:Save"),
    Verb("session attach", "take one up again", "session:attach", "session:Attach"),
    Verb("session detach", "leave it; it goes on", "session:detach", "Output"),
    Verb("session export", "copy it into a file", "session:export", "session:Export"),
    Verb("session import", "take in a copy", "session:import_", "session:Import"),
    Verb("session drop", "delete one", "session:drop", "session:Drop"),
    Verb("job submit", "work for a later time", "jobs:submit", "job:Submit"),
    Verb("job list", "where the jobs of the nodes stand", "jobs:list_", "job:List"),
    Verb("job show", "all about one, with its runs", "jobs:show", "job:Job"),
    Verb("job edit", "put a new revision in its place", "jobs:edit", "job:Edit"),
    Verb("job pause", "start it no more", "jobs:pause", "job:Job"),
    Verb("job resume", "let it start again", "jobs:resume", "job:Job"),
    Verb("job skip", "leave out its next start", "jobs:skip", "job:Job"),
    Verb("job cancel", "end it, and what runs of it", "jobs:cancel", "job:Job"),
    Verb("job log", "what a run wrote", "jobs:log", "job:Log"),
    Verb("job forecast", "what will start when", "jobs:forecast", "job:Forecast"),
    Verb("plan run", "steps across nodes, with gates", "plans:run", "session:PlanRun"),
    Verb("plan preview", "who would run what, when", "plans:preview", "session:PlanPreview"),
    Verb("plan resume", "go on where it was left", "plans:resume", "session:PlanResume"),
    Verb("plan list", "the plans of the session", "plans:list_", "session:Plans"),
    Verb("demo", "a fleet on this machine, to try", "face:demo", "local:Demo", True),
    Verb("broker", "run the embedded broker", "services:broker", "local:Broker", True),
    Verb("broker config", "write a broker's configuration: TLS, rights", "broker_config:config", "local:BrokerConfig", True),
    Verb("node", "run a node daemon", "services:node", "Part", True),
    Verb("node forget", "drop a node from what is known", "discovery:forget", "local:Forget"),
    Verb("emulate", "run emulated nodes", "services:emulate", "local:Emulate", True),
    Verb("supervisor", "give machines the jobs of their rules", "services:supervisor", "Part", True),
    Verb("supervisor sign", "sign a rule, for supervisors to carry", "rules:sign", "session:RuleSign", True),
    Verb("pki init", "make a small CA", "pki:init", "local:PKIInit", True),
    Verb("pki issue", "issue a certificate", "pki:issue", "local:PKIIssue", True),
    Verb("pki list", "certificates that were issued", "pki:listing", "local:PKIList", True),
    Verb("pki revoke", "take a certificate back", "pki:revoke", "local:PKIRevoke", True),
    Verb("pki publish", "send the newest revocation list to the nodes", "pki_publish:publish", "local:PKIPublish", True),
    Verb("doctor", "what is wrong here, and why", "doctor:doctor", "local:Doctor", True),
    Verb("config show", "settings and their origin", "config_show:show", "Output", True),
    Verb("config import", "MCollective's client.cfg or server.cfg", "config_import:import_", "local:ConfigImport", True),
    Verb("ddl export", "schemas for the real mco", "ddl_export:export", "local:DDLExport", True),
    Verb("report", "a notebook, run and kept as a page", "report:report", "local:Report"),
    Verb("agent new", "begin an agent of your own", "agent_new:new", "local:AgentNew", True),
    Verb("shell", "the prompt", "face:shell", "Options", True),
)}
# fmt: on


def offered(face: str) -> dict[str, str]:
    """The verbs of a face, each with its summary."""
    shown = (verb for verb in VERBS.values() if face == "cli" or not verb.cli_only)
    return {verb.name: verb.summary for verb in shown}
