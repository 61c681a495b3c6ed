"""Real daemons on a broker, and a bare operator who queues work for them: no client of ours.

The operator seals requests and reads the signed words that come back to the session's queue, so
what a node does is tested without what a client makes of it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from mcshell.errors import Rejected
from mcshell.message import Request, Via, new_request_id
from mcshell.pki import Authority
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import BodyLimits, open_reply, seal_request
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.stomp.connector import Connector
from tests.peers.processes import Child, PeerError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcshell.message import Reply
    from mcshell.wire.documents.envelope import SealedMessage
    from tests.peers.brokers import Broker

__all__ = ["Bench", "EmulatedBench"]

ROOT = Path(__file__).resolve().parents[2]
AGENTS = ROOT / "tests" / "agents_for_tests"
STARTER = ROOT / "tests" / "peers" / "daemon_with_steps.py"
EMULATOR = """\
import sys
from pathlib import Path
from mcshell import config
from mcshell.node.emulator.emulator import run
run(config.load(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3]))
"""
READY = 60.0
CONFIG = """\
state = "state-{name}"
[broker]
urls = ["{url}"]
user = "{user}"
passcode_file = "broker.pass"
[pki]
ca = "pki/ca.pem"
crl = "pki/crl.pem"
cert = "{name}.pem"
key = "{name}.key"
[collective]
main = "{collective}"
{more}
[node]
policies = "policies"
agents = ["{agents}"]
audit_every = "0s"
{node}
"""


class _Everyone:
    def __contains__(self, name: object) -> bool:
        return True


@dataclass
class HeardReply:
    """A reply as it came, and when."""

    reply: Reply
    at: float


class Bench:
    """A fleet and its operator; a context manager. `node` and `more` go into each node's TOML."""

    def __init__(
        self, broker: Broker, folder: Path, *, node: str = "", more: str = "", deny: str = ""
    ) -> None:
        self.broker = broker
        self.folder = folder
        self.collective = f"t{uuid.uuid4().hex[:12]}"
        self.session = "bench"
        self.authority = Authority.init(folder / "pki", self.collective)
        secret = folder / "broker.pass"
        secret.touch(mode=0o600)
        secret.write_text(f"{broker.passcode}\n")
        (folder / "policies").mkdir()
        rules = f"policy default deny\n{deny}allow\tcert=alice\t*\t*\t*\n"
        (folder / "policies" / "default.policy").write_text(rules)
        self._node, self._more = node, more
        self.children: dict[str, Child] = {}
        certificate, key = self.authority.issue_pem("alice", "operator")
        self.signer = Signer.from_pem(certificate, key)
        self.verifier = Verifier((folder / "pki" / "ca.pem").read_bytes())
        self.heard: dict[str, list[HeardReply]] = {}
        self.junk: list[str] = []
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._stop = threading.Event()
        self.operator = Connector([broker.url], user=broker.user, passcode=broker.passcode)
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self.operator.start(timeout=20)
        self._reader.start()
        queue = destinations.reply(self.collective, "cert=alice", self.session)
        self.operator.subscribe(queue, self._inbox)
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children.values():
            child.stop()
        self._stop.set()
        self._reader.join(5)
        self.operator.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                delivery = self._inbox.get(timeout=0.1)
            except Empty:
                continue
            try:
                opened = open_reply(
                    delivery.body,
                    delivery.headers,
                    self.verifier,
                    BodyLimits(max_body=1 << 24),
                    time.time(),
                    lambda _id: _Everyone(),
                    lambda _reply: True,
                )
            except Rejected as error:
                self.junk.append(str(error))
            else:
                reply = HeardReply(opened.reply, time.time())
                self.heard.setdefault(opened.reply.requestid, []).append(reply)
            self.operator.ack(delivery)

    # --- nodes -----------------------------------------------------------------------------

    def enrol(self, name: str, node: str = "") -> None:
        """Give a node its certificate and its configuration."""
        if (self.folder / f"{name}.toml").exists():
            return
        self.authority.issue(name, "node", out=self.folder)
        text = CONFIG.format(
            name=name,
            url=self.broker.url,
            user=self.broker.user,
            collective=self.collective,
            agents=AGENTS,
            node=node or self._node,
            more=self._more,
        )
        (self.folder / f"{name}.toml").write_text(text)

    def start(self, name: str = "n1", *steps: str, wait: bool = True) -> Child:
        """Start a node's daemon; `steps` are the starter's: STEP [COUNT]."""
        self.enrol(name)
        before = self._ready(name)
        environ = {"PYTHONPATH": str(ROOT)}
        argv = [sys.executable, STARTER, self.folder / f"{name}.toml", *steps]
        child = self.children[name] = Child(argv, self.folder / f"{name}.log", environ)
        if wait:
            wait_until(lambda: not child.running or self._ready(name) > before, READY)
            if self._ready(name) == before and not steps:
                raise PeerError(f"{name} did not come up:\n{child.tail()}")
        return child

    def _ready(self, name: str) -> int:
        log = self.folder / f"{name}.log"
        return log.read_text(errors="replace").splitlines().count("ready") if log.exists() else 0

    def kill(self, name: str = "n1") -> None:
        """SIGKILL to the daemon alone; its shims live on."""
        child = self.children[name]
        child.family()
        os.kill(child.pid, 9)
        child.process.wait(60)

    def stop(self, name: str = "n1") -> None:
        """SIGTERM to the daemon alone."""
        child = self.children[name]
        child.family()
        os.kill(child.pid, 15)
        child.process.wait(20)

    def log(self, name: str = "n1") -> str:
        """What the daemon wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def audit(self, name: str = "n1") -> list[dict[str, Any]]:
        """The events in the node's audit file but those about the file itself."""
        path = self.folder / f"state-{name}" / "node" / "audit.jsonl"
        text = path.read_bytes()  # the last line may be half written
        events = map(json.loads, text[: text.rfind(b"\n") + 1].splitlines())
        return [event for event in events if "identity" in event]

    # --- the operator ----------------------------------------------------------------------

    def seal(
        self,
        action: str,
        data: Mapping[str, Any] | None = None,
        *,
        agent: str = "mark",
        node: str | None = "n1",
        pool: str | None = None,
        via: Via = Via.QUEUE,
        ttl: float = 3600.0,
        ago: float = 0.0,
    ) -> tuple[Request, SealedMessage]:
        """A request as signed bytes."""
        now = time.time() - ago
        requestid, nonce = new_request_id("cert=alice")
        request = Request(
            id=requestid,
            nonce=nonce,
            agent=agent,
            action=action,
            caller="cert=alice",
            collective=self.collective,
            via=via,
            session=self.session,
            created=now,
            expires=now + ttl,
            data=data or {},
            identity=None if pool else node,
            pool=pool,
        )
        return request, seal_request(request, self.signer)

    def put(self, request: Request, sealed: SealedMessage) -> str:
        """SEND it to where it belongs, confirmed by the broker."""
        if request.pool:
            destination = destinations.pool(self.collective, request.pool)
        elif request.via is Via.DIRECT:
            destination = destinations.node(self.collective, str(request.identity))
        else:
            destination = destinations.work(self.collective, str(request.identity))
        receipt = self.operator.send(
            destination, sealed.body, sealed.headers, persistent=request.via.durable, receipt=True
        )
        assert receipt is not None
        receipt.wait(20)
        return request.id

    def ask(self, action: str, data: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Seal and SEND; returns the request's id."""
        return self.put(*self.seal(action, data, **more))

    def pools(self, action: str, count: int, name: str, data: Mapping[str, Any]) -> list[str]:
        """SEND many requests to a pool, confirmed together."""
        ids, receipts = [], []
        for _ in range(count):
            request, sealed = self.seal(action, data, via=Via.POOL, pool=name)
            destination = destinations.pool(self.collective, name)
            receipts.append(
                self.operator.send(
                    destination, sealed.body, sealed.headers, persistent=True, receipt=True
                )
            )
            ids.append(request.id)
        for receipt in receipts:
            assert receipt is not None
            receipt.wait(30)
        return ids

    def final(self, requestid: str, seconds: float = 40.0) -> Reply:
        """The final reply about a request, once it is there."""
        wait_until(lambda: self.finals(requestid) != [], seconds, 0.01)
        finals = self.finals(requestid)
        assert finals, f"no final reply about {requestid}\n{self.logs()}"
        return finals[0]

    def finals(self, requestid: str) -> list[Reply]:
        """All final replies about a request so far; what was sent again, unconfirmed, is the same one."""
        found: list[Reply] = []
        for one in list(self.heard.get(requestid, ())):
            if one.reply.final and one.reply not in found:
                found.append(one.reply)
        return found

    def states(self, requestid: str) -> list[str]:
        """The states of all replies about a request, in the order of arrival."""
        return [one.reply.state.value for one in list(self.heard.get(requestid, ()))]

    def all_final(self, ids: Iterable[str], seconds: float) -> None:
        """Wait until each of them has a final reply."""
        wanted = list(ids)
        done = wait_until(lambda: all(self.finals(one) for one in wanted), seconds)
        missing = [one for one in wanted if not self.finals(one)]
        assert done, f"{len(missing)} of {len(wanted)} without a final reply\n{self.logs()}"

    def logs(self) -> str:
        """The ends of all daemons' logs, for a message."""
        return "\n".join(child.tail(15) for child in self.children.values())


class EmulatedBench(Bench):
    """A bench whose nodes are emulated: emu0001 and so on."""

    def emulate(self, count: int) -> Child:
        """Start the emulator and wait until it serves."""
        self.enrol("emulator")
        before = self._ready("emulator")
        argv = [sys.executable, "-c", EMULATOR, self.folder / "emulator.toml", str(count)]
        argv.append(self.folder / "pki")
        environ = {"PYTHONPATH": str(ROOT)}
        child = Child(argv, self.folder / "emulator.log", environ)
        self.children["emulator"] = child
        assert wait_until(lambda: self._ready("emulator") > before, READY), child.tail()
        return child
