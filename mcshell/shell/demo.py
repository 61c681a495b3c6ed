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
from mcshell.shell.lines import run_lines
from mcshell.shell.operator import meet
from mcshell.shell.output import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcshell.commands.grammar.local_options import DemoOptions
    from mcshell.pki import Authority

__all__ = ["DemoError", "demo"]

_READY = 60.0  # seconds: far more than any part takes on an idle machine
_STOP = 10.0

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
"""
_NODE = """\
[node]
policies = "policies"
"""
_POLICY = """\
# Whoever holds the demo's own certificate may look at everything; exec.policy, package.policy and
# process.policy, which let him change this machine, are for its owner to write.
policy default deny
allow\t{caller}\t*\t*\t*
"""


class DemoError(MCShellError):
    """A part of the demo that did not start; the message holds its last words."""


class _TerminatedError(BaseException):
    """SIGTERM or SIGHUP, whose number is the argument: unwind and end what we started."""


def demo(options: DemoOptions) -> int:
    """Run the demo and return the exit code of its lines (of the prompt's last line: 0)."""
    if options.json and options.lines is None:
        raise UsageError("demo: --json goes with --exec")
    if options.notebook and importlib.util.find_spec("jupyterlab") is None:
        raise UsageError("demo: --notebook needs JupyterLab: pip install 'mcshell[lab]'")
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
    if options.dir is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcshell-demo-")))
    else:
        folder = Path(options.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = _prepare(folder)
    _start(folder, options.count, stack)
    os.environ["MCSHELL_CONFIG"] = str(config)
    context = Context("prompt", config)
    stack.callback(context.close)
    if sys.stdin.isatty() and sys.stderr.isatty():
        meet(context)
    _meet(context, options.count + 1)
    took = time.monotonic() - began
    screen.say(f"{options.count} emulated nodes and this host are ready after {took:.1f} s")
    if options.lines is not None:
        return run_lines(options.lines, context, screen, "json" if options.json else None)
    screen.say(f"other shells join with: export MCSHELL_CONFIG={config}")
    if options.notebook:
        return _notebook(folder)
    if not sys.stdin.isatty():
        return run_lines(sys.stdin.read(), context, screen)
    from mcshell.shell.prompt import prompt  # noqa: PLC0415 - lines that are given need no prompt

    return prompt(context)


def _meet(context: Context, count: int) -> None:
    """Discover until every node has been seen once: from then on each is a known target.

    Raises:
        DemoError: some do not answer at all.
    """
    from mcshell.client.discovery.targeting import Targeting  # noqa: PLC0415 - the client is slow to load

    deadline = time.monotonic() + _READY
    client = context.client()
    while (seen := len(client.find(Targeting()).answers)) < count:
        if time.monotonic() > deadline:
            raise DemoError(f"only {seen} of {count} nodes answer after {_READY:g} s")


def _prepare(folder: Path) -> Path:
    """Make the CA, certificates, policies and configurations; what is there already stays."""
    from mcshell.pki import Authority  # noqa: PLC0415 - cryptography is slow to load

    pki = folder / "pki"
    authority = Authority.open(pki) if (pki / "ca.key").exists() else Authority.init(pki, "demo")
    operator = _issue(authority, _clean(getpass.getuser()), "operator", folder / "operator")
    host = _issue(authority, _clean(socket.getfqdn()), "node", folder / "node")
    secret = folder / "broker.pass"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24) + "\n", encoding="utf-8")
    policies = folder / "policies"
    policies.mkdir(exist_ok=True)
    for name in ("default.policy", "file.policy"):
        if not (policies / name).exists():
            text = _POLICY.format(caller=f"cert={operator.stem}")
            (policies / name).write_text(text, encoding="utf-8")
    port = _free_port()
    for name, cert, more in (("mcshell", operator, ""), ("node", host, _NODE)):
        place = cert.relative_to(folder)
        text = _CLIENT.format(port=port, cert=place, key=place.with_suffix(".key")) + more
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder / "mcshell.toml"


def _issue(authority: Authority, name: str, kind: str, out: Path) -> Path:
    """The certificate of a name; a new one when the directory was kept from another day."""
    assert kind in ("operator", "node")
    found = sorted(out.glob("*.pem"))
    if found:
        return found[0]
    return authority.issue(name, "operator" if kind == "operator" else "node", out=out)[0]


def _clean(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]", "-", name.lower()).strip("-._") or "demo"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _start(folder: Path, count: int, stack: ExitStack) -> None:
    """Start the broker, then all nodes at once; return when each has said `ready`."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    port = re.search(r":(\d+)\"", (folder / "mcshell.toml").read_text(encoding="utf-8"))
    assert port is not None
    listen = f"127.0.0.1:{port[1]}"
    secret = str(folder / "broker.pass")
    data = str(folder / "broker")
    words = ["--listen", listen, "--data", data, "--user", "mcs", "--passcode-file", secret]
    broker = stack.enter_context(_part("broker", words, logs))
    broker.wait()
    node = ["--config", str(folder / "node.toml")]
    parts = [stack.enter_context(_part("node", node, logs))]
    if count:
        words = [str(count), *node, "--pki", str(folder / "pki")]
        parts.append(stack.enter_context(_part("emulate", words, logs)))
    for part in parts:
        part.wait()


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
    argv = python_module("jupyterlab", str(_books(folder)))
    with subprocess.Popen(argv, env=python_environment(os.environ)) as lab:
        try:
            while True:
                try:
                    code = lab.wait()
                    return code if code >= 0 else 128 - code  # as a shell says it
                except KeyboardInterrupt:
                    continue  # it has heard it too, and asks whether it shall end
        except _TerminatedError:
            lab.terminate()  # it ends its kernels first
            with suppress(subprocess.TimeoutExpired):
                lab.wait(_STOP)
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
