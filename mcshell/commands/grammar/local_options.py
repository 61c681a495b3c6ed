"""What the lines say that are about this machine: services, files, certificates, documentation."""

from __future__ import annotations

from typing import Literal

from mcshell.commands.grammar.arguments import Words, flag, option, seconds, several, word
from mcshell.commands.grammar.options import (
    Options,
    OutputOptions,
    PartOptions,
    PKIOptions,
    ServiceOptions,
    StoredOptions,
    TargetsOptions,
    UnaskedOptions,
)
from mcshell.commands.grammar.values import Choice, days, duration, listed, whole


class DocOptions(OutputOptions):
    agent: str = word("AGENT[.ACTION]", "such as package or package.status")
    action: str | None = word("ACTION", "the action, as a word of its own", nargs="?")


class WatchOptions(Options):
    every: float = word("N", "seconds from one to the next, such as 5 or 1m", type=duration)
    line: Words = ()


class HistoryOptions(OutputOptions):
    count: int = word("N", "so many, the newest (20)", type=whole, nargs="?", default=20)


class ForgetOptions(StoredOptions, OutputOptions, UnaskedOptions):
    name: str = word("NAME", "the node")


class DemoOptions(ServiceOptions):
    count: int = option("--nodes N", "emulated nodes (25)", type=whole, default=25)
    dir: str | None = option("--dir DIR", "keep the state there, for other shells to join")
    lines: str | None = option("--exec 'LINE; LINE'", "run lines and leave")
    json: bool = flag("-j --json", "with --exec: a document a line")
    notebook: bool = flag("--notebook", "JupyterLab instead of the prompt")
    incident: bool = flag("--incident", "two nodes go down: find them")


class MCPOptions(ServiceOptions):
    session: str | None = option("--session NAME", "the durable session (default: mcp-HOST)")


class TourOptions(Options):
    stop: Literal["plan", "job", "rule", "talk", "incident"] | None = word(
        "STOP",
        "plan, job, rule, talk or incident (default: all in turn)",
        nargs="?",
        type=Choice("plan", "job", "rule", "talk", "incident"),
    )


class BrokerOptions(PartOptions):
    listen: str = option("--listen HOST:PORT", "where to listen", default="127.0.0.1:61613")
    data: str = option("--data DIR", "where messages are kept", required=True)
    user: str | None = option("--user NAME", "the login that clients must give")
    passcode_file: str | None = option("--passcode-file FILE", "its passcode, on the first line")
    tls_cert: str | None = option("--tls-cert FILE", "the cert (off loopback TLS is demanded)")
    tls_key: str | None = option("--tls-key FILE", "the key (off loopback TLS is demanded)")
    tls_ca: str | None = option("--tls-ca FILE", "the ca (off loopback TLS is demanded)")
    enrol_listen: str | None = option(
        "--enrol-listen HOST:PORT", "where machines without a certificate may ask for one"
    )
    enrol_passcode_file: str | None = option(
        "--enrol-passcode-file FILE", "the passcode with which pki serve answers them there"
    )


class BrokerConfigOptions(PKIOptions, OutputOptions):
    broker: str = word(
        "activemq|rabbitmq|embedded", "which", type=Choice("activemq", "rabbitmq", "embedded")
    )
    dir: str = option("--dir DIR", "where the configuration goes", required=True)
    host: Words | None = option(
        "--host NAME", "how others reach it (also several times)", action="append"
    )
    cluster: list[str] | None = option(
        "--cluster A,B,C", "RabbitMQ: the hosts of a cluster's members", type=listed
    )
    listen: str | None = option("--listen IP", "where to listen (default: everywhere)")
    tls_port: int | None = option("--tls-port PORT", "for STOMP over TLS (61614)", type=whole)
    enrol_port: int | None = option(
        "--enrol-port PORT",
        "where machines without a certificate ask for one (default, and 0: nowhere)",
        type=whole,
    )
    retention: float | None = seconds("--retention TIME", "default: node.max_ttl and a week")
    mover: Words = several(
        "--mover NAME", "an operator who may move what waits, until it is written without"
    )
    ca: str | None = option("--ca FILE", "another CA than mcshell's: all of its chain, in PEM")
    cert: str | None = option("--cert FILE", "another CA: the broker's certificate")
    key: str | None = option("--key FILE", "another CA: the broker's key")
    crl: str | None = option("--crl FILE", "another CA: the revocation lists")
    identities: Words | None = option(
        "--identities PATH",
        "another CA: who may log in: a folder or file of certificates, or a file of names",
        action="append",
    )


class BrokerMoveOptions(OutputOptions):
    source: str = option("--from URL", "the broker that is left", required=True)
    target: list[str] = option(
        "--to URL,URL", "the one, or a cluster's members, where it goes", required=True, type=listed
    )
    queues: str | None = option(
        "--queues FILE", "the old broker's queues, a name and a number a line; - is standard input"
    )


class NodeOptions(PartOptions):
    check: bool = flag(
        "--check",
        "say what is wrong with configuration, keys, policies, agents and facts; start nothing",
    )


class EmulateOptions(PartOptions):
    count: int = word("N", "how many nodes", type=whole)
    pki: str = option("--pki DIR", "the CA that issues their certificates", required=True)
    seed: int = option("--seed S", "facts are drawn from it", type=whole, default=1)
    prefix: str = option("--prefix NAME", "identities are NAME0001 and on", default="emu")
    roles: bool = flag("--roles", "identities by role, as the demo's: web01, db01, …")


class PKIInitOptions(OutputOptions):
    dir: str = word("DIR", "where it lives")
    name: str = option("--name NAME", "the CA's common name", default="mcshell")


class PKIIssueOptions(PKIOptions, OutputOptions):
    name: str = word("NAME", "whose certificate")
    kind: Literal["operator", "node", "login"] = option(
        "--kind operator|node|login",
        "login: for the connection to the broker, signs nothing",
        required=True,
        type=Choice("operator", "node", "login"),
    )
    public: str | None = option("--public FILE", "for this key (ssh's .pub, or PEM): none is made")
    out: str | None = option("--out DIR", "where NAME.pem and NAME.key go (default: here)")
    renew: bool = flag("--renew", "another one, beside or over the one that is valid")


class PKIListOptions(PKIOptions, OutputOptions):
    ending: float | None = seconds(
        "--ending TIME", "only what ends so soon, with no other after it"
    )


class PKIRevokeOptions(PKIOptions, OutputOptions, UnaskedOptions):
    name: str | None = word("NAME", "whose certificates", nargs="?")
    serial: str | None = option("--serial SERIAL", "this one alone, as openssl or step print it")
    kind: Literal["operator", "node", "login"] | None = option(
        "--kind operator|node|login", "these only", type=Choice("operator", "node", "login")
    )


class PKIRotateOptions(PKIOptions, OutputOptions):
    step: Literal["begin", "switch", "finish"] | None = word(
        "STEP",
        "begin makes the other CA, switch has it sign, finish trusts the old one no more",
        nargs="?",
        type=Choice("begin", "switch", "finish"),
    )
    name: str = option("--name NAME", "the new CA's common name", default="mcshell")
    force: bool = flag("--force", "finish, though some have a certificate of the old CA alone")


class PKITokenOptions(PKIOptions, OutputOptions):
    matching: str = option(
        "--matching PATTERN", "for names such as web*, and for no others", required=True
    )
    kind: Literal["operator", "node"] = option(
        "--kind operator|node",
        "operators are signed by hand all the same",
        type=Choice("operator", "node"),
        default="node",
    )
    ends: float = seconds("--ends TIME", "how long it is good for (1d)", default=86_400.0)
    count: int = option("--count N", "how many machines (1)", type=whole, default=1)


class PKIRequestsOptions(PKIOptions, OutputOptions): ...


class PKIReceiveOptions(PKIOptions, OutputOptions):
    files: Words = word("FILE", "requests, as `node enroll` makes them", nargs="+")
    out: str | None = option("--out DIR", "where the answers go (default: here)")


class PKISignOptions(PKIOptions, OutputOptions):
    days: float | None = option("--days N", "how long it lasts (default: a year)", type=days)
    names: Words = word("NAME", "a name, or a request's first digits", nargs="*")
    matching: str | None = option("--matching PATTERN", "all that wait for such names")
    out: str | None = option("--out DIR", "where the answers go (default: here)")


class PKIServeOptions(PKIOptions, PartOptions):
    broker: str | None = option(
        "--broker DIR", "the broker's configuration: who is new is written there, and reloaded"
    )
    reload: str | None = option(
        "--reload COMMAND", "what makes the broker take it over (default: DIR/reload)"
    )
    url: list[str] | None = option(
        "--url URL", "the broker's listener for machines without a certificate", type=listed
    )
    passcode_file: str | None = option(
        "--passcode-file FILE", "the passcode for it (default: DIR/enrolment.passcode)"
    )
    days: float | None = option(
        "--days N", "how long what is signed lasts (default: a year)", type=days
    )
    decide: str | None = option(
        "--decide PROGRAM", "asked KIND and NAME, with the request: 0 signs, 2 refuses, else wait"
    )
    node_config: str | None = option(
        "--node-config FILE", "what nodes get with their certificate (default: broker.urls)"
    )


class NodeEnrollOptions(OutputOptions):
    name: str | None = word("NAME", "this machine's identity (default: the host's name)", nargs="?")
    kind: Literal["operator", "node"] = option(
        "--kind operator|node", "default: node", type=Choice("operator", "node"), default="node"
    )
    token_file: str | None = option("--token-file FILE", "the token; - is standard input")
    ca: str | None = option(
        "--ca FINGERPRINT", "without a token: the SHA-256 of the CA that is meant"
    )
    out: str | None = option("--out DIR", "where key and certificate are (default: here)")
    answer: str | None = option("--answer FILE", "take the CA's answer")
    check: bool = flag(
        "--check", "only say whether there is a certificate that has not ended (else 5)"
    )
    broker: list[str] | None = option(
        "--broker URL", "ask there, and wait for the answer", type=listed
    )
    wait: float = seconds("--wait TIME", "how long it is waited for (60s)", default=60.0)
    collective: str | None = option("--collective NAME", "whose CA is asked (collective.main)")
    ca_file: str | None = option(
        "--ca-file FILE", "the CA, where it is here already: the broker must be of it"
    )


class PKIPublishOptions(PKIOptions, TargetsOptions, OutputOptions, UnaskedOptions): ...


class PolicyLintOptions(OutputOptions):
    file: str | None = word("FILE", "only this one (default: the node's policies)", nargs="?")


class PolicyTestOptions(OutputOptions):
    caller: str = word("CALLER", "who asks, such as cert=alice")
    agent: str = word("AGENT", "for which agent")
    action: str = word("ACTION", "and action (of converse: the protocol)")
    facts: str | None = option("--facts FILE", "a node's facts, YAML or JSON (default: those here)")
    classes: str | None = option(
        "--classes FILE|NAMES", "a node's classes, or a,b (default: those here)"
    )
    owner: str | None = option("--owner CALLER", "it is about what belongs to CALLER")


class AuditVerifyOptions(OutputOptions):
    file: str = word(
        "FILE|SESSION", "a log, with rotated ones beside it; or a session, its name or file"
    )
    heads: str | None = option(
        "--heads FILE|inventory", "heads that left the node: JSON lines, or a supervisor's file"
    )
    node: str | None = option("--node NAME", "whose heads (default: whom the log names)")
    log: Words = several(
        "--log FILE", "a session's: a node's audit log, to compare replies with; may be repeated"
    )


class DoctorOptions(OutputOptions):
    broker: str | None = option("--broker DIR", "look at what `broker config` wrote, too")


class ConfigImportOptions(OutputOptions):
    source: str = word("CFG", "the file (plugin.d beside it is read, too)")
    out: str = option("-o FILE", "the configuration to write", required=True)
    role: Literal["client", "server"] | None = option(
        "--role client|server", "whose (default: by name)", type=Choice("client", "server")
    )


class DDLExportOptions(OutputOptions):
    dir: str = word("DIR", "where mcollective/agent/NAME.ddl go")
    agents: Words = word("AGENT", "only these (default: all but rpcutil)", nargs="*")


class ReportOptions(Options):
    notebook: str = word("NOTEBOOK", "the .ipynb file")
    parameters: Words = several(
        "-p NAME=VALUE", "a parameter of the notebook, as YAML; may be repeated"
    )
    out: str | None = option("-o FILE", "the page (default: NOTEBOOK's name and .html)")
    timeout: float | None = seconds("-t --timeout S", "how long a cell may take")
    code: bool = flag("--code", "show the code, too")


class NotebookOptions(OutputOptions):
    sessions: Words = word("SESSION", "names of sessions, or files of them", nargs="+")
    out: str = option("-o FILE", "the notebook; copies of the sessions go beside it", required=True)
    heading: str | None = option("--title TEXT", "its title (default: FILE's name)")
    log: Words = several(
        "--log FILE", "a node's audit log, to compare replies with; may be repeated"
    )
    heads: str | None = option(
        "--heads FILE|inventory", "heads of these logs, as `audit verify` takes them"
    )


class AgentNewOptions(Options):
    name: str = word("NAME", "the agent's name")
    dir: str | None = option("--dir DIR", "where its files go (default: here)")


class CompletionOptions(Options):
    shell: Literal["bash", "zsh", "fish"] = word(
        "bash|zsh|fish", "whose script to print", type=Choice("bash", "zsh", "fish")
    )
