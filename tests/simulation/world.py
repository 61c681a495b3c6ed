"""One run: machines with real daemons and clients on them, a broker, and the history of it all."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

from mcshell import config
from mcshell.client import client as client_module
from mcshell.client.client import Client
from mcshell.client.jobs import manager as _jobs  # noqa: F401 - loaded before locks are replaced
from mcshell.client.messaging import receiver as receiver_module
from mcshell.client.store.store import SessionStore
from mcshell.errors import MCShellError, WireError
from mcshell.message import Via
from mcshell.node import daemon as daemon_module
from mcshell.node import reload as reload_module
from mcshell.node import replies as replies_module
from mcshell.node import server as server_module
from mcshell.node.daemon import Daemon
from mcshell.node.store import spool as spool_module
from mcshell.pki import Authority
from mcshell.wire.credentials import load_credentials
from mcshell.wire.stomp.reconnect import PATIENCE
from tests.history.events import Asked, Confirmed, Ended, Event, Ran, Row, Said
from tests.simulation import effects
from tests.simulation.disk import Disk
from tests.simulation.green import EPOCH, Process, Scheduler, installed
from tests.simulation.logged_errors import logged_errors
from tests.simulation.network import Broker, Connection
from tests.simulation.shims import Machine, Runner
from tests.simulation.signature_checks import SignatureChecks

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.wire.documents.signatures import Signer

__all__ = ["Question", "World"]

AGENTS = Path(__file__).parent / "agents"
SESSION = "friday"
NODES = ("n1", "n2")
TTL = 7200.0
JOBS: dict[str, dict[str, Any]] = {
    "job": {"at": "+4s"},
    "jobs": {"every": "4s", "until": "+15s"},
}
CONFIG = """\
state = "state"
[broker]
urls = ["stomp://127.0.0.1:61613"]
[pki]
ca = "pki/ca.pem"
cert = "{name}.pem"
key = "{name}.key"
[collective]
main = "sim"
[node]
agents = ["{agents}"]
policies = "policies"
audit_every = "0s"
register_every = "0s"
serve = [{serve}]
[pools.pool]
members = ["n*"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the operator is to ask, and when; `name` is what it is called in the history.

    `via` is a way of requests, `job` (once, after a while) or `jobs` (a few times).
    """

    name: str
    via: str
    action: str
    targets: tuple[str, ...]
    at: float
    before: float
    after: float
    wait: bool

    @property
    def recurs(self) -> bool:
        """Whether it is done several times."""
        return self.via == "jobs"


@cache
def _fleet() -> Path:
    """Keys, certificates and configurations: the same for all runs of this process."""
    folder = Path(
        mkdtemp(prefix="mcshell-sim-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
    with patch("time.time", lambda: EPOCH - 3600):
        authority = Authority.init(folder / "pki", "sim")
        for name in NODES:
            authority.issue(name, "node", out=folder)
        authority.issue("alice", "operator", out=folder)
    (folder / "policies").mkdir()
    (folder / "policies" / "default.policy").write_text(
        "policy default deny\nallow\tcert=alice\t*\t*\t*\n"
    )
    for name in (*NODES, "alice"):
        serve = '"pool"' if name != "alice" else ""
        text = CONFIG.format(name=name, agents=AGENTS, serve=serve)
        (folder / f"{name}.toml").write_text(text)
    return folder


@cache
def _settings(name: str) -> Any:
    return config.load(_fleet() / f"{name}.toml")


@dataclass
class Place:
    """A process that is started again when it has died, and how."""

    name: str
    machine: Machine
    work: Callable[[], None]
    process: Process | None = None
    starts: int = 0
    wanted: bool = True
    again_at: float = 0.0


class World:
    """Everything of one run; a context manager. `dice` is the seed's."""

    def __init__(self, dice: random.Random, questions: list[Question], **broker: Any) -> None:
        self.dice = dice
        self.scheduler = Scheduler(dice)
        self.disk = Disk(self.scheduler)
        self.questions = questions
        self._recurring = {one.name: one for one in questions if one.recurs}
        self.history: list[Event] = []
        self._broker_options = broker
        self.refused: list[str] = []
        """What was asked and came back with an error: nothing was promised of it."""
        self.clients: dict[str, Client] = {}
        self._names: dict[str, str] = {}
        self.said: list[Said] = []

    def __enter__(self) -> Self:
        self.folder = Path(mkdtemp(prefix="run-", dir=_fleet()))
        for name in (*NODES, "alice"):
            _settings(name)
        self._desk, self._moves = self.folder / "alice", 0
        with ExitStack() as stack:  # whatever fails in here, nothing stays replaced
            self._replace(stack)
            self._populate()
            self._stack = stack.pop_all()
        return self

    def _replace(self, stack: ExitStack) -> None:
        """Have all that mcshell waits at, draws and writes be this run's, until the stack is closed."""
        stack.callback(shutil.rmtree, self.folder)
        stack.callback(random.setstate, random.getstate())
        random.seed(self.dice.getrandbits(64))  # a connection that comes back scatters its attempts
        stack.enter_context(installed(self.scheduler, self._wall))
        for place, name, value in self._patches():
            stack.enter_context(patch.object(place, name, value))
        effects.listener.append(self._ran)
        stack.callback(effects.listener.pop)
        stack.enter_context(logged_errors(self.scheduler))

    def _populate(self) -> None:
        """Have a broker, machines, and the places of their processes."""
        scheduler = self.scheduler
        self.broker = Broker(scheduler, **self._broker_options)
        self.places: dict[str, Place] = {}
        for name in NODES:
            self._place(name, Machine(name), lambda name=name: self._node(name))
        desk = Machine("desk")
        for number in (1, 2):
            name = f"client{number}"
            self._place(name, desk, lambda name=name: self._client(name))

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self.disk.close()
            self.scheduler.bury()

    def _patches(self) -> list[tuple[Any, str, Any]]:
        random_word = random.Random(self.dice.getrandbits(64))
        seal = replies_module.seal_reply

        def sealed(reply: Any, signer: Any) -> Any:
            if reply.final:
                self.said.append(
                    Said(
                        request=reply.requestid,
                        node=reply.sender,
                        state=reply.state.value,
                        at=self.scheduler.now,
                    )
                )
            return seal(reply, signer)

        def connector(settings: Any, on_state: Any = None, **more: Any) -> Connection:
            patience = 0.0 if more.get("many") else PATIENCE
            return Connection(self.broker, settings.broker.urls, patience, on_state)

        def checks(verifier: Any, *_: Any) -> SignatureChecks:
            return SignatureChecks(self.scheduler, verifier)

        return [
            *self.disk.patches(),
            (secrets, "token_hex", lambda count=16: random_word.randbytes(count).hex()),
            (server_module, "connector", connector),
            (client_module, "connector", connector),
            (client_module, "closing", lambda *_: lambda: None),
            (receiver_module, "SignatureProcess", checks),
            (daemon_module, "ShimRunner", lambda *about: Runner(self.scheduler, *about)),
            (reload_module, "shipped_dir", lambda: AGENTS),
            (daemon_module, "has_room", self.disk.has_room),
            (replies_module, "seal_reply", sealed),
            (spool_module, "has_room", self.disk.has_room),
        ]

    def _wall(self, process: Process | None) -> float:
        machine = process.machine if process is not None else None
        return EPOCH + self.scheduler.now + (machine.skew if machine is not None else 0.0)

    # --- processes -----------------------------------------------------------------------------

    def _place(self, name: str, machine: Machine, work: Callable[[], None]) -> None:
        machine.life = machine.life or Process(f"{machine.name} itself", machine)
        self.places[name] = Place(name, machine, work)

    def start(self, place: Place) -> None:
        """Start a process anew, from its files."""
        place.starts += 1
        process = place.process = Process(f"{place.name}#{place.starts}", place.machine)

        self.scheduler.spawn(process, place.work)

    def kill(self, place: Place, *, again: float = 0.0) -> None:
        """SIGKILL; it is started again after so many seconds."""
        if place.process is not None and place.process.alive:
            place.process.alive = False
            self._cut_lines({place.process})
            self.disk.killed(place.process)
        place.again_at = self.scheduler.now + again

    def power_cut(self, machine: Machine, *, again: float = 0.0) -> None:
        """All processes of a machine end, and its files are what was synced."""
        mine = [one for one in self.places.values() if one.machine is machine]
        dead = {one.process for one in mine if one.process is not None and one.process.alive}
        for process in dead:
            process.alive = False
        machine.life.alive = False
        machine.life = Process(f"{machine.name} itself", machine)
        for shim in machine.shims.values():
            shim.alive = False
        self._cut_lines(dead)
        self.disk.cut(dead, self.dice)
        for place in mine:
            place.again_at = self.scheduler.now + again

    def _cut_lines(self, dead: set[Process]) -> None:
        for link in list(self.broker.links):
            if link.process in dead:
                link.sever(here=0.0, there=self.dice.choice((0.0, 0.05, 8.0)), reason="it died")

    def move(self, *, again: float = 0.0) -> None:
        """The session goes to another machine, as a copy of its files; nobody is left at the first."""
        clients = [place for place in self.places.values() if place.name.startswith("client")]
        for place in clients:
            self.kill(place, again=again)
        self._moves += 1
        before, self._desk = self._desk, self.folder / f"alice{self._moves}"
        if before.exists():
            shutil.copytree(before, self._desk)
        machine = Machine(f"desk{self._moves}")
        machine.life = Process(f"{machine.name} itself", machine)
        for place in clients:
            place.machine = machine

    def tend(self) -> None:
        """Start what has died and whose time has come; called again and again."""
        for place in self.places.values():
            dead = place.process is None or not place.process.alive
            if dead and place.wanted and place.again_at <= self.scheduler.now:
                self.start(place)
        self.scheduler.at(self.scheduler.now + 0.25, self.tend)

    def _node(self, name: str) -> None:
        base = _settings(name)
        daemon = Daemon(replace(base, state_dir=self.folder / name))
        daemon.serve(lambda: None)

    def _client(self, name: str) -> None:
        settings = replace(_settings("alice"), state_dir=self._desk)
        while True:
            try:
                client = Client(settings, session=SESSION)
            except WireError:  # an operator tries again
                self.scheduler.pause(1.0)
            else:
                break
        self.clients[name] = client
        looks = 0.0
        while True:
            if self.questions and self.questions[0].at <= self.scheduler.now:
                self._ask(client, self.questions.pop(0))
            elif self.scheduler.now >= looks:
                client.requests()  # an operator looks what has become of it
                looks = self.scheduler.now + 60.0
            else:
                self.scheduler.pause(0.5)

    def signer(self, name: str) -> Signer:
        """What a node signs with."""
        return load_credentials(_settings(name).pki).signer

    # --- the operator --------------------------------------------------------------------------

    def _ask(self, client: Client, question: Question) -> None:
        self.history.append(
            Asked(
                request=question.name,
                targets=question.targets,
                via="job" if question.recurs else question.via,
                rerun_safe=question.action == "again",
                at=self.scheduler.now,
                may_expire=question.recurs,
            )
        )
        try:
            self._put(client, question)
        except MCShellError as error:
            self.refused.append(f"{question.name}: {error!r}")
        else:
            self.history.append(Confirmed(request=question.name, at=self.scheduler.now))

    def _put(self, client: Client, question: Question) -> None:
        inputs = {"tag": question.name, "before": question.before, "after": question.after}
        if question.via in ("job", "jobs"):
            client.jobs.submit(
                "mark",
                question.action,
                inputs=inputs,
                nodes=list(question.targets),
                timeout=10.0,
                tz="UTC",
                **JOBS[question.via],
            )
            return
        whom: dict[str, Any] = {"pool": "pool"}
        if question.via != "pool":
            whom = {} if question.via == "broadcast" else {"nodes": list(question.targets)}
        more = {"ttl": TTL} if Via(question.via).durable else {}
        client.rpc(
            "mark",
            question.action,
            via=question.via,
            inputs=inputs,
            wait=question.wait,
            timeout=10.0,
            **whom,
            **more,
        )

    def _ran(self, tag: str, node: str, run: str) -> None:
        name = f"{tag}/{run}" if tag in self._recurring else tag
        self.history.append(Ran(request=name, node=node, attempt=1, at=self.scheduler.now))

    # --- the end -------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """The ledgers as the session file has them now."""
        path = self._desk / "sessions" / f"{SESSION}.sqlite"
        if not path.exists():
            return []
        store = SessionStore(path)
        found = []
        runs = {one: run for job in store.jobs.all() for one, run in store.jobs.runs(job.id)}
        for record, _counts in store.requests():
            name = str(record.data.get("tag"))
            name = f"{name}/{runs[record.id]}" if record.id in runs else name
            self._names[record.id] = name
            found += [
                Row(
                    request=name,
                    node=entry.worker or entry.sender,
                    state=entry.state.value,
                    at=self.scheduler.now,
                )
                for entry in store.entries(record.id)
            ]
        store.close()
        return found

    def open_rows(self) -> int:
        """How many rows of the session's file are not final, without what reading them all costs."""
        path = self._desk / "sessions" / f"{SESSION}.sqlite"
        if not path.exists():
            return 0
        query = "SELECT count(*) FROM targets WHERE state IN ('pending', 'received', 'running')"
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute(query).fetchone()[0])

    def finish(self) -> list[Event]:
        """The whole history, once all is over."""
        rows = self.rows()
        said = [
            replace(one, request=self._names.get(one.request, one.request)) for one in self.said
        ]
        history = [*self.history, *said, *rows]
        runs = self._runs(history)
        had = {one.request: one.targets for one in runs}
        return [
            *runs,
            *(
                event
                for event in history
                if not isinstance(event, Row)
                or event.node in had.get(event.request, (event.node,))
                or event.state != "pending"
            ),
            Ended(at=self.scheduler.now),
        ]

    def _runs(self, history: list[Event]) -> list[Asked]:
        """Each run of a job that recurs, as if asked of those nodes that had it.

        Of several starts that a node has missed it tells the newest: of the others its row waits.
        """
        found: dict[str, dict[str, None]] = {}
        for event in history:
            told = isinstance(event, Ran) or (isinstance(event, Row) and event.state != "pending")
            if told and "/" in event.request:
                found.setdefault(event.request, {})[event.node] = None
        return [
            Asked(
                request=name,
                targets=tuple(nodes),
                via="job",
                rerun_safe=self._recurring[name.partition("/")[0]].action == "again",
                at=0.0,
                may_expire=True,
            )
            for name, nodes in found.items()
        ]
