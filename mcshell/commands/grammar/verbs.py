"""Which verbs there are and which options they take (mcshell/README.md §3): declarations only.

Options that several verbs share are in `options`. A verb names the function that does it as
"module:function" below `mcshell.commands.verbs`; what is "face:" is the command line's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcshell.commands.grammar import job_options as joboptions
from mcshell.commands.grammar import plan_options as planoptions
from mcshell.commands.grammar.options import Choice, duration, percentage, whole

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["INTRODUCTION", "VERBS", "Verb"]

_REQUEST = "an id, package.status, @yesterday or package.status@7d; default: the newest"
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
    groups: tuple[str, ...] = ()
    build: Callable[[argparse.ArgumentParser], Any] = lambda _parser: None
    cli_only: bool = False


def _word(name: str, text: str, nargs: str | None = None) -> Callable[..., Any]:
    def build(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(name.partition("[")[0].lower(), metavar=name, nargs=nargs, help=text)

    return build


def _rpc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", metavar="AGENT", help="whom to ask; `agents` lists them")
    parser.add_argument("action", metavar="ACTION", help="what to ask; `doc AGENT` lists them")
    parser.add_argument("inputs", metavar="input=value", nargs="*", help=joboptions.INPUTS)
    text = "what has changed since a request, or since the same was asked as of a moment (@7d)"
    parser.add_argument("--diff", metavar="BEFORE", help=text)


def _inventory(parser: argparse.ArgumentParser) -> None:
    _word("NODE", "only this node, in full", "?")(parser)
    text = "with --jsonl: a line for each registration, until Ctrl-C"
    parser.add_argument("--follow", action="store_true", help=text)


def _explain(parser: argparse.ArgumentParser) -> None:
    _word("NODE", "the node, or pool:NAME")(parser)
    _word("REQUEST", _REQUEST, "?")(parser)


def _columns(parser: argparse.ArgumentParser) -> None:
    text = "outputs, or paths into them: value.release.major (default: all)"
    parser.add_argument("columns", metavar="COLUMN", nargs="*", help=text)


def _of_request(parser: argparse.ArgumentParser) -> None:
    _columns(parser)
    parser.add_argument("-r", "--request", metavar="REQUEST", help=_REQUEST)


def _outliers(parser: argparse.ArgumentParser) -> None:
    _of_request(parser)
    text = "a value that more of the nodes have is not odd (10%%)"
    parser.add_argument("--share", type=percentage, metavar="N%", help=text)


def _diff(parser: argparse.ArgumentParser) -> None:
    what = "a request, or a moment (@7d, @yesterday, @2026-11-20T09:00): when the same was asked"
    _word("BEFORE", f"{what}; default: the time before", "?")(parser)
    _word("AFTER", f"{what}; default: the newest", "?")(parser)
    text = "compare only this column; may be repeated"
    parser.add_argument(
        "--column", dest="columns", action="append", default=[], metavar="COLUMN", help=text
    )


def _sql(parser: argparse.ArgumentParser) -> None:
    text = "over the tables replies, ledger and requests; data ->> '$.version'"
    parser.add_argument("query", metavar="QUERY", nargs="*", help=text)


def _retry(parser: argparse.ArgumentParser) -> None:
    say = parser.add_argument
    say("-r", "--request", metavar="REQUEST", help=_REQUEST)
    say("inputs", metavar="input=value", nargs="*", help=f"{joboptions.INPUTS}, over those of then")
    say("-t", "--timeout", type=duration, metavar="S", help="how long to wait for replies")
    say("--ttl", type=duration, metavar="TIME", help="how long the request is worth running")
    say("-b", "--background", action="store_true", help="send, print the request id, leave")
    _yes(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    say = parser.add_argument
    say("notebook", metavar="NOTEBOOK", help="the .ipynb file")
    text = "a parameter of the notebook, as YAML; may be repeated"
    say("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help=text)
    say("-o", dest="out", metavar="FILE", help="the page (default: NOTEBOOK's name and .html)")
    say("-t", "--timeout", type=duration, metavar="S", help="how long a cell may take")
    say("--code", action="store_true", help="show the code, too")


def _agent_new(parser: argparse.ArgumentParser) -> None:
    _word("NAME", "the agent's name")(parser)
    parser.add_argument("--dir", metavar="DIR", help="where its files go (default: here)")


def _replies(parser: argparse.ArgumentParser) -> None:
    _word("REQUEST", _REQUEST, "?")(parser)
    parser.add_argument("--arrived", action="store_true", help="only targets that answered")
    text = "wait until it is complete, so long at most"
    parser.add_argument("-t", "--timeout", type=duration, metavar="S", help=text)


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _attach(parser: argparse.ArgumentParser) -> None:
    _word("SESSION", "its name")(parser)
    text = "how long to wait for what is in its queue"
    parser.add_argument("-t", "--timeout", type=duration, metavar="S", help=text)


def _export(parser: argparse.ArgumentParser) -> None:
    _word("SESSION", "its name (default: the one that lines use)", "?")(parser)
    _word("FILE", "where the copy goes")(parser)


def _import(parser: argparse.ArgumentParser) -> None:
    _word("FILE", "what `session export` wrote")(parser)
    parser.add_argument("--session", metavar="NAME", help="its name here (default: as it was)")


def _drop(parser: argparse.ArgumentParser) -> None:
    _word("SESSION", "its name")(parser)
    _yes(parser)


def _filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--off", action="store_true", help="no filter any more")


def _broker(parser: argparse.ArgumentParser) -> None:
    say = parser.add_argument
    say("--listen", default="127.0.0.1:61613", metavar="HOST:PORT", help="where to listen")
    say("--data", required=True, metavar="DIR", help="where messages are kept")
    say("--user", metavar="NAME", help="the login that clients must give")
    say("--passcode-file", metavar="FILE", help="its passcode, on the first line")
    for name in ("cert", "key", "ca"):
        say(f"--tls-{name}", metavar="FILE", help=f"the {name} (off loopback TLS is demanded)")


def _broker_config(parser: argparse.ArgumentParser) -> None:
    say = parser.add_argument
    kinds = "activemq|rabbitmq"
    say("broker", type=Choice("activemq", "rabbitmq"), metavar=kinds, help="which broker")
    say("--dir", required=True, metavar="DIR", help="where the configuration goes")
    say("--host", action="append", metavar="NAME", help="how others reach it (also several times)")
    say("--listen", default="0.0.0.0", metavar="IP", help="where to listen (default: everywhere)")  # noqa: S104 - behind TLS with client certificates
    say("--tls-port", type=whole, default=61614, metavar="PORT", help="for STOMP over TLS")
    say("--retention", type=duration, metavar="TIME", help="default: node.max_ttl and a week")


def _config_import(parser: argparse.ArgumentParser) -> None:
    say = parser.add_argument
    say("source", metavar="CFG", help="the file (plugin.d beside it is read, too)")
    say("-o", dest="out", required=True, metavar="FILE", help="the configuration to write")
    kinds = "client|server"
    say("--role", type=Choice("client", "server"), metavar=kinds, help="whose (default: by name)")


def _ddl_export(parser: argparse.ArgumentParser) -> None:
    _word("DIR", "where mcollective/agent/NAME.ddl go")(parser)
    text = "only these (default: all but rpcutil)"
    parser.add_argument("agents", metavar="AGENT", nargs="*", help=text)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--broker", metavar="DIR", help="look at what `broker config` wrote, too")


def _emulate(parser: argparse.ArgumentParser) -> None:
    say = parser.add_argument
    say("count", metavar="N", type=whole, help="how many nodes")
    say("--pki", metavar="DIR", required=True, help="the CA that issues their certificates")
    say("--seed", type=whole, default=1, metavar="S", help="facts are drawn from it")
    say("--prefix", default="emu", metavar="NAME", help="identities are NAME0001 and on")


def _demo(parser: argparse.ArgumentParser) -> None:
    say = parser.add_argument
    say("--nodes", dest="count", type=whole, default=25, metavar="N", help="emulated nodes (25)")
    say("--dir", metavar="DIR", help="keep the state there, for other shells to join")
    say("--exec", dest="lines", metavar="'LINE; LINE'", help="run lines and leave")
    say("-j", "--json", action="store_true", help="with --exec: a document a line")
    say("--notebook", action="store_true", help="JupyterLab instead of the prompt")


def _issue(parser: argparse.ArgumentParser) -> None:
    _word("NAME", "whose certificate")(parser)
    say = parser.add_argument
    say("--kind", required=True, type=Choice("operator", "node"), metavar="operator|node")
    say("--out", metavar="DIR", help="where NAME.pem and NAME.key go (default: here)")
    say("--renew", action="store_true", help="another one, beside or over the one that is valid")


_ASKS = ("targets", "output")
_ROWS = ("rows", "output")
_OUT = ("output",)
_SERVICE = ("service", "part")
_LIST = (
    Verb("ping", "who is there, and how far away", "discovery:ping", ("targets", *_ROWS)),
    Verb("find", "the identities that match", "discovery:find", _ASKS),
    Verb("facts", "how a fact is distributed", "facts:facts", _ASKS, _word("NAME", "the fact")),
    Verb(
        "inventory",
        "facts, classes, agents and versions",
        "discovery:inventory",
        ("targets", *_ROWS),
        _inventory,
    ),
    Verb("agents", "the agents that can be asked", "doc:agents", ("output",)),
    Verb(
        "doc",
        "what an agent or action takes and gives",
        "doc:doc",
        ("output",),
        _word("AGENT[.ACTION]", "such as package or package.status"),
    ),
    Verb("rpc", "ask an agent to act; the replies", "rpc:rpc", ("targets", "asking", *_ROWS), _rpc),
    Verb("retry", "ask the failed and silent again", "retry:retry", ("stored", *_ROWS), _retry),
    Verb("replies", "what came back", "history:replies", ("stored", *_ROWS), _replies),
    Verb(
        "ledger",
        "each target's state and times",
        "history:ledger",
        ("stored", *_ROWS),
        _word("REQUEST", _REQUEST, "?"),
    ),
    Verb("explain", "why a node is silent", "explain:explain", ("stored", "output"), _explain),
    Verb("requests", "what was asked", "history:requests", ("stored", "output")),
    Verb("fold", "nodes with equal answers", "analysis:fold", ("stored", "output"), _of_request),
    Verb("diff", "what changed since", "analysis:diff", ("stored", "output"), _diff),
    Verb("outliers", "the odd ones out", "analysis:outliers", ("stored", "output"), _outliers),
    Verb("summary", "each column in a line", "analysis:summary", ("stored", "output"), _of_request),
    Verb("sql", "SQLite over the session", "analysis:sql", ("stored", "output"), _sql),
    Verb("filter", "narrow every line to come", "filter:filter_", ("filters",), _filter),
    Verb("session list", "the durable sessions", "session:list_", ("output",)),
    Verb("session new", "make one", "session:new", ("output",), _word("NAME", "its name")),
    Verb(
        "session save",
        "give this one a name",
        "session:save",
        ("stored", "output"),
        _word("NAME", "the name under which it is found again"),
    ),
    Verb("session attach", "take one up again", "session:attach", ("output",), _attach),
    Verb("session detach", "leave it; it goes on", "session:detach", ("output",)),
    Verb("session export", "copy it into a file", "session:export", ("output",), _export),
    Verb("session import", "take in a copy", "session:import_", ("output",), _import),
    Verb("session drop", "delete one", "session:drop", ("output",), _drop),
    Verb("job submit", "work for a later time", "jobs:submit", _ASKS, joboptions.submit),
    Verb("job list", "where the jobs of the nodes stand", "jobs:list_", _ASKS, joboptions.list_),
    Verb("job show", "all about one, with its runs", "jobs:show", _ASKS, joboptions.change),
    Verb("job edit", "put a new revision in its place", "jobs:edit", _ASKS, joboptions.edit),
    Verb("job pause", "start it no more", "jobs:pause", _ASKS, joboptions.change),
    Verb("job resume", "let it start again", "jobs:resume", _ASKS, joboptions.change),
    Verb("job skip", "leave out its next start", "jobs:skip", _ASKS, joboptions.change),
    Verb("job cancel", "end it, and what runs of it", "jobs:cancel", _ASKS, joboptions.change),
    Verb("job log", "what a run wrote", "jobs:log", ("stored", "output"), joboptions.log),
    Verb("job forecast", "what will start when", "jobs:forecast", _ASKS, joboptions.forecast),
    Verb("plan run", "steps across nodes, with gates", "plans:run", _OUT, planoptions.run),
    Verb("plan preview", "who would run what, when", "plans:preview", _OUT, planoptions.preview),
    Verb("plan resume", "go on where it was left", "plans:resume", _OUT, planoptions.resume),
    Verb("plan list", "the plans of the session", "plans:list_", _OUT, planoptions.list_),
    Verb("demo", "a fleet on this machine, to try", "face:demo", ("service",), _demo, True),
    Verb("broker", "run the embedded broker", "services:broker", _SERVICE, _broker, True),
    Verb(
        "broker config",
        "write a broker's configuration: TLS, rights",
        "broker_config:config",
        ("pki", "output"),
        _broker_config,
        True,
    ),
    Verb("node", "run a node daemon", "services:node", _SERVICE, cli_only=True),
    Verb(
        "node forget",
        "drop a node from what is known",
        "discovery:forget",
        ("stored", "output"),
        _word("NAME", "the node"),
    ),
    Verb("emulate", "run emulated nodes", "services:emulate", _SERVICE, _emulate, True),
    Verb(
        "supervisor",
        "give machines the jobs of their rules",
        "services:supervisor",
        _SERVICE,
        cli_only=True,
    ),
    Verb(
        "supervisor sign",
        "sign a rule, for supervisors to carry",
        "rules:sign",
        ("output",),
        planoptions.sign,
        True,
    ),
    Verb(
        "pki init",
        "make a small CA",
        "pki:init",
        ("output",),
        lambda parser: (
            _word("DIR", "where it lives")(parser),
            parser.add_argument("--name", default="mcshell", help="the CA's common name"),
        ),
        True,
    ),
    Verb("pki issue", "issue a certificate", "pki:issue", ("pki", "output"), _issue, True),
    Verb(
        "pki list", "certificates that were issued", "pki:listing", ("pki", "output"), cli_only=True
    ),
    Verb(
        "pki revoke",
        "take a certificate back",
        "pki:revoke",
        ("pki", "output"),
        _word("NAME", "whose certificate"),
        True,
    ),
    Verb(
        "pki publish",
        "send the newest revocation list to the nodes",
        "pki_publish:publish",
        ("pki", *_ASKS),
        cli_only=True,
    ),
    Verb("doctor", "what is wrong here, and why", "doctor:doctor", ("output",), _doctor, True),
    Verb(
        "config show", "settings and their origin", "config_show:show", ("output",), cli_only=True
    ),
    Verb(
        "config import",
        "MCollective's client.cfg or server.cfg",
        "config_import:import_",
        ("output",),
        _config_import,
        True,
    ),
    Verb(
        "ddl export",
        "schemas for the real mco",
        "ddl_export:export",
        ("output",),
        _ddl_export,
        True,
    ),
    Verb("report", "a notebook, run and kept as a page", "report:report", (), _report),
    Verb("agent new", "begin an agent of your own", "agent_new:new", (), _agent_new, True),
    Verb("shell", "the prompt", "face:shell", cli_only=True),
)
VERBS: dict[str, Verb] = {verb.name: verb for verb in _LIST}
