"""`mcshell demo`: a fleet on this machine, from one command.

An embedded broker, a throw-away CA, this host as a real node and emulated nodes, each a process
of its own that ends with us. Then the prompt, JupyterLab, or the lines that were given.
"""

from __future__ import annotations

import getpass
import importlib.util
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mcshell.children import python_environment, python_module
from mcshell.commands.context import Context
from mcshell.config import variables
from mcshell.errors import MCShellError, UsageError
from mcshell.node.admission.policy import UNCOVERED
from mcshell.private import lock_file
from mcshell.shell.lines import run_lines
from mcshell.shell.operator import meet
from mcshell.shell.output import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcshell.commands.grammar.local_options import DemoOptions
    from mcshell.pki import Authority
    from mcshell.pki.identity import Kind
    from mcshell.private import FileLock

__all__ = ["DemoError", "demo"]

_READY = 60.0  # seconds: far more than any part takes on an idle machine
_STOP = 10.0
_PAST = 9 * 86400.0
"""So long (seconds) its CA has been good when a demo first starts: its session has a week behind it."""

_CLIENT = """\
state = "state"
[broker]
urls = ["stomp://127.0.0.1:{port}"]
user = "mcs"
passcode_file = "broker.pass"
[pki]
ca = "pki/ca.pem"
crl = "pki/crl.pem"
cert = "{cert}"
key = "{key}"
[client]
confirm_share = "100%"
[pools.inventory]
members = ["supervisor"]
[pools.checks]
members = ["*[0-9]"]
"""
_NODE = """\
[node]
policies = "{policies}"
register_every = "5s"
"""
_TALKERS = """\
agents = ["{agents}"]
serve = ["checks"]
[agents.file]
write = ["/etc", "/srv"]
"""
_REPL = '''\
"""The conversation `repl` of the demo's emulated nodes: {"eval": "1 + 1"} is answered with 2."""

import ast
import operator

from mcshell.node.handler import AgentError, Handler

SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


class Repl(Handler):
    """A desk calculator: sums of numbers, and nothing else of Python."""

    protocol = "repl"

    def turn(self, line, data):
        """Answer one turn."""
        try:
            line.send({"value": value(ast.parse(data["eval"], mode="eval").body)})
        except (KeyError, TypeError, SyntaxError, ZeroDivisionError) as error:
            raise AgentError(f"a sum is meant, such as 1 + 1: {error}") from error


def value(node):
    """What a sum comes to."""
    if isinstance(node, ast.BinOp):
        return SIGNS[type(node.op)](value(node.left), value(node.right))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    raise TypeError(ast.unparse(node))
'''
_OWN = "policies"
_PRETENDED = "policies-of-emulated"
_AGENTS = "agents-of-emulated"
_SUPERVISOR = """\
[supervisor]
rules = "rules"
"""
_PLAN = """\
plan: update
steps:
  - step: web
    ask: package.update
    inputs: {name: openssl}
    where: role=web and emulated=true
    waves: [1, 50%, rest]
  - step: look
    ask: service.status
    inputs: {name: nginx}
    where: role=web and emulated=true
    after: {web: ok}
"""
_RULE = """\
rule: nightly
where: role=cache and emulated=true
jobs:
  - job: restart
    ask: service.restart
    inputs: {name: redis-server}
    cron: "0 4 * * *"
    splay: 30m
"""
_LOOKS = {
    "rpcutil": "*",
    "package": "status search",
    "service": "status",
    "process": "list",
    "file": "*",
    "job": "*",
}
"""What this host does for the demo: it looks. Of a job what it does is asked for, too."""
_UNTOUCHED = """\
# This machine is only looked at: what its owner wants of it beyond that he allows in a file of its
# own, such as exec.policy or service.policy, which is read within a second:
#     allow\t{caller}\trestart\t*\t*
policy default deny
"""
_ALLOWED = "policy default deny\nallow\t{caller}\t{actions}\t*\t*\n"
_TRY = (
    "try: ping · facts os.name · rpc package status name=openssl -F role=web --odd version"
    " · rpc exec run -I web01 -- uptime · tour"
)
_TROUBLED = ("web02", "db01", "worker01")


class DemoError(MCShellError):
    """A part of the demo that did not start; the message holds its last words."""


class _TerminatedError(BaseException):
    """SIGTERM or SIGHUP, whose number is the argument: unwind and end what we started."""


def demo(options: DemoOptions) -> int:
    """Run the demo and return the exit code of its lines (of the prompt's last line: 0)."""
    if options.json and options.lines is None:
        raise UsageError("demo: --json goes with --exec")
    if options.notebook and importlib.util.find_spec("jupyterlab") is None:
        raise UsageError("demo: --notebook needs JupyterLab: pip install jupyterlab")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    for name in variables():
        os.environ.pop(name, None)  # the demo is a world of its own
    try:
        with ExitStack() as stack:
            try:
                return _run(options, stack)
            finally:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)  # ending our parts is not broken off
    except _TerminatedError as ended:
        return 128 + int(ended.args[0])


def _terminate(number: int, _frame: object) -> NoReturn:
    raise _TerminatedError(number)


def _run(options: DemoOptions, stack: ExitStack) -> int:
    began = time.monotonic()
    screen = Screen()
    emulated = f"{options.count} emulated node{'' if options.count == 1 else 's'}"
    screen.say(f"starting a broker, this host as a node and {emulated}")
    if options.dir is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcshell-demo-")))
    else:
        folder = Path(options.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stack.enter_context(_alone(folder))
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    port = _free_port()
    broker = stack.enter_context(_part("broker", _broker_words(folder, port), logs))
    authority = _prepare(folder, port)
    broker.wait()
    supervisor = ["--config", str(folder / "supervisor.toml")]
    stack.enter_context(_part("supervisor", supervisor, logs))  # nobody waits for it
    parts = [stack.enter_context(_part(*one, logs)) for one in _node_words(folder, options.count)]
    _write_history(folder, authority, options.count)
    for part in parts:
        part.wait()
    config = folder / "mcshell.toml"
    os.environ["MCSHELL_CONFIG"] = str(config)
    context = Context("prompt", config)
    stack.callback(context.close)
    if sys.stdin.isatty() and sys.stderr.isatty():
        meet(context)
    names = _names(folder, options.count)
    _meet(context, names)
    took = time.monotonic() - began
    screen.say(f"{emulated} and this host are ready after {took:.1f} s")
    screen.say(
        f"this host is only looked at; more is for {folder / _OWN} to allow (exec.policy, …)"
    )
    screen.say(_TRY)
    if options.incident:
        _take_down(config, names, screen)
    if options.lines is not None:
        return run_lines(options.lines, context, screen, "json" if options.json else None)
    screen.say(f"other shells join with: export MCSHELL_CONFIG={config}")
    if options.notebook:
        return _notebook(folder)
    if not sys.stdin.isatty():
        return run_lines(sys.stdin.read(), context, screen)
    from mcshell.shell.prompt import prompt  # noqa: PLC0415 - lines that are given need no prompt

    return prompt(context)


def _alone(folder: Path) -> FileLock:
    """Have the folder to ourselves: another demo's ports, logs and processes are in it.

    Raises:
        UsageError: a demo runs there.
    """
    lock = lock_file(folder / "lock")
    if lock is None:
        raise UsageError(
            f"demo: another demo runs in {folder}: join it with "
            f"export MCSHELL_CONFIG={shlex.quote(str(folder / 'mcshell.toml'))}, or name another --dir"
        )
    return lock


def _meet(context: Context, names: Sequence[str]) -> None:
    """Discover until every node has been seen once: from then on each is a known target.

    Who is there is known beforehand, so that nobody waits for others.

    Raises:
        DemoError: some do not answer at all.
    """
    from mcshell.client.discovery.node_cache import CachedNode  # noqa: PLC0415 - the client is slow to load
    from mcshell.client.discovery.targeting import Targeting  # noqa: PLC0415 - as above
    from mcshell.message import Filter  # noqa: PLC0415 - as above

    deadline = time.monotonic() + _READY
    client = context.client()
    collective, began = client.settings.collective.main, time.time()
    client.known.learn(collective, [CachedNode(identity=name, seen=began) for name in names])
    client.known.survey(collective, Filter(), began)
    while len(found := client.find(Targeting()).answers) < len(names):
        if time.monotonic() > deadline:
            silent = ", ".join(sorted(set(names) - set(found)))
            raise DemoError(f"no answer from {silent} after {_READY:g} s")


def _take_down(config: Path, names: Sequence[str], screen: Screen) -> None:
    """Switch two machines off, from a session of its own: the operator's does not say which."""
    from mcshell.client.client import Client  # noqa: PLC0415 - as above
    from mcshell.config import load  # noqa: PLC0415 - as above

    elsewhere = load(config, overrides={"state": str(config.parent / "state-of-incident")})
    machines = [name for name in names[1:] if name not in _TROUBLED]
    two = secrets.SystemRandom().sample(machines, min(2, len(machines)))
    client = Client(elsewhere)
    try:
        client.rpc("exec", "run", nodes=two, argv=["poweroff"])
    finally:
        client.close()
    screen.say(
        "incident: customers call, something is down. ping --only state=silent says who,"
        " explain NODE why, requests what was asked before"
    )


def _prepare(folder: Path, port: int) -> Authority:
    """Make the CA, certificates, policies and configurations; what is there already stays."""
    from mcshell.pki import Authority  # noqa: PLC0415 - cryptography is slow to load

    pki = folder / "pki"
    began = time.time() - _PAST
    there = (pki / "ca.pem").exists()
    authority = Authority.open(pki) if there else Authority.init(pki, "demo", not_before=began)
    operator = _issue(authority, _clean(getpass.getuser()), "operator", folder / "operator", began)
    host = _issue(authority, _clean(socket.getfqdn()), "node", folder / "node", began)
    _allow(folder, f"cert={operator.stem}")
    _write_once(folder / _AGENTS / "converse" / "repl.py", _REPL)
    _write_once(folder / "tour" / "update.yaml", _PLAN)
    _write_once(folder / "tour" / "nightly.yaml", _RULE)
    supervisor = _issue(authority, "supervisor", "node", folder / "supervisor", began)
    parts = (
        ("mcshell", operator, ""),
        ("supervisor", supervisor, _SUPERVISOR),
        ("node", host, _NODE.format(policies=_OWN)),
        ("emulate", host, _NODE.format(policies=_PRETENDED) + _TALKERS.format(agents=_AGENTS)),
    )
    for name, cert, more in parts:
        place = cert.relative_to(folder)
        text = _CLIENT.format(port=port, cert=place, key=place.with_suffix(".key")) + more
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return authority


def _write_history(folder: Path, authority: Authority, count: int) -> None:
    """Give the session that the prompt will take its week, if it is new."""
    from mcshell.shell.demo_history import write_history  # noqa: PLC0415 - while others are starting
    from mcshell.wire.documents.signatures import Signer  # noqa: PLC0415 - as above

    cert = next((folder / "operator").glob("*.pem"))
    operator = Signer.load(cert, cert.with_suffix(".key"))
    write_history(folder / "state", authority, operator, count, time.time() - _PAST)


def _allow(folder: Path, caller: str) -> None:
    """Write what the operator may: look at this host, and do anything to machines that are made up."""
    looks = {name: _ALLOWED.format(caller=caller, actions=what) for name, what in _LOOKS.items()}
    every = _ALLOWED.format(caller=caller, actions="*")
    anything = dict.fromkeys(("default", *UNCOVERED), every)
    files = {
        _OWN: {"default": _UNTOUCHED.format(caller=caller), **looks},
        _PRETENDED: anything,
    }
    for place, policies in files.items():
        for name, text in policies.items():
            _write_once(folder / place / f"{name}.policy", text)


def _write_once(path: Path, text: str) -> None:
    """Write a file that its owner may change: one that is there stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(text, encoding="utf-8")


def _issue(authority: Authority, name: str, kind: Kind, out: Path, not_before: float) -> Path:
    """The certificate of a name; a new one when the directory was kept from another day."""
    found = sorted(out.glob("*.pem"))
    if found:
        return found[0]
    return authority.issue(name, kind, out=out, not_before=not_before)[0]


def _names(folder: Path, count: int) -> list[str]:
    """Who is there: the emulated nodes, and this host."""
    from mcshell.node.emulator.machines import named_by_role  # noqa: PLC0415 - late, as the client

    host = next((folder / "node").glob("*.pem")).stem
    return [host, *(one.identity for one in named_by_role(count, 1))]


def _clean(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]", "-", name.lower()).strip("-._") or "demo"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _broker_words(folder: Path, port: int) -> list[str]:
    """What the broker is started with; its passcode is made the first time."""
    secret = folder / "broker.pass"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24) + "\n", encoding="utf-8")
    words = ["--listen", f"127.0.0.1:{port}", "--data", str(folder / "broker")]
    return [*words, "--user", "mcs", "--passcode-file", str(secret)]


def _node_words(folder: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    """The verbs that serve this host and the emulated nodes, each with its words."""
    yield "node", ["--config", str(folder / "node.toml")]
    if count:
        words = [str(count), "--config", str(folder / "emulate.toml"), "--roles"]
        yield "emulate", [*words, "--pki", str(folder / "pki")]


class _Part:
    """One service that we started: its process, and whether it has said `ready`."""

    def __init__(self, name: str, process: subprocess.Popen[str], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log
        self._news = threading.Event()
        self._serves = False
        self._last = "it said nothing"
        threading.Thread(target=self._read, name=f"mcshell-demo-{name}", daemon=True).start()

    def _read(self) -> None:
        """Keep what the service says in its log until it ends."""
        assert self.process.stderr is not None
        with self.process.stderr as stream, self.log.open("a", encoding="utf-8") as log:
            for line in stream:
                log.write(line)
                log.flush()
                self._last = line.strip() or self._last
                if line.startswith("ready"):
                    self._serves = True
                    self._news.set()
        self._news.set()  # it has ended: whoever waits must look

    def wait(self) -> None:
        """Wait until it serves.

        Raises:
            DemoError: it ended, or is silent for too long.
        """
        if not self._news.wait(_READY):
            raise DemoError(f"the {self.name} is not ready after {_READY:g} s: {self._last}")
        if not self._serves:
            raise DemoError(f"the {self.name} did not start: {self._last}")

    def stop(self) -> None:
        """End it: with SIGTERM, and with SIGKILL when it is still there after a while."""
        self.process.terminate()
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def _part(verb: str, words: list[str], logs: Path) -> Iterator[_Part]:
    """Run one of our services for as long as the context lasts.

    It has a process group of its own: Ctrl-C at the prompt is for the request, not for the fleet.
    Its standard input is a pipe that nothing is written to: it closes with us, also after SIGKILL.
    """
    process = subprocess.Popen(
        python_module("mcshell", verb, *words, "--until-eof"),
        env=python_environment(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    part = _Part(verb, process, logs / f"{verb}.log")
    try:
        yield part
    finally:
        part.stop()


def _notebook(folder: Path) -> int:
    """JupyterLab on the tour until it is told to end, by Ctrl-C or from its own menu."""
    # It listens on this machine alone, behind its token: who is root here may look at it, too.
    root = ["--allow-root"] if os.geteuid() == 0 else []
    argv = python_module("jupyterlab", *root, str(_books(folder)))
    with subprocess.Popen(argv, env=python_environment(os.environ)) as lab:
        try:
            while True:
                try:
                    code = lab.wait()
                    return code if code >= 0 else 128 - code  # as a shell says it
                except KeyboardInterrupt:
                    continue  # it has heard it too, and asks whether it shall end
        except _TerminatedError:
            try:
                lab.terminate()  # it ends its kernels first
                with suppress(subprocess.TimeoutExpired):
                    lab.wait(_STOP)
            finally:  # where we are told once more to end, too
                lab.kill()
            raise


def _books(folder: Path) -> Path:
    """The tour, among copies of the notebooks that ship: what is tried out changes no original."""
    package = Path(__file__).resolve().parents[1]
    books = folder / "notebooks"
    books.mkdir(exist_ok=True)
    for shipped in (package / "notebooks", package.parent / "notebooks"):
        for book in shipped.glob("*.ipynb"):
            if not (books / book.name).exists():
                shutil.copyfile(book, books / book.name)
    tour = books / "01_explore.ipynb"
    return tour if tour.exists() else books
