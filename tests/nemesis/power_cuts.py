"""What a power cut loses, and where: `python -m tests.nemesis.power_cuts [KIND...]` prints a table.

Of each broker: persistent messages are sent to a queue, each once the one before has its receipt, until
the broker is killed (`kill -9`), or killed and its disk put back to what was synced (`power.py`). Once it
is up again the queue is read: what had a receipt and is not there is lost. With RABBITMQ_BIN it is
another RabbitMQ (`tests/peers/rabbitmq_of`).

Of our own files: of a client that has handed in work, what its session file has after a cut; of a node
that has said `received`, what becomes of it.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

from mcshell.client.store.store import SessionStore
from tests.nemesis.place import PoweredFleet
from tests.nemesis.power import Disk
from tests.peers import certificates
from tests.peers.bare import Bare
from tests.peers.brokers import KINDS, Broker, missing
from tests.peers.cluster import PORT, Cluster, Hosts
from tests.peers.fleet import ROOT, Fleet, Node
from tests.peers.processes import MARK, PeerError, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Loss", "of_broker", "of_client", "of_cluster", "of_node"]

AGES: Final = (1.0, 8.0)
"""Seconds between the making of the queue and the end."""
QUEUE: Final = "/queue/mcs.power.work.n1"
_MORE: Final = """\
agents = ["{root}/tests/agents_for_tests"]
slots = 1
[agents.effect]
folder = "{folder}/effects"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What was promised (confirmed, or kept), and how much of it is gone.

    `newest` and `oldest` are how long (seconds) before the end the lost ones had been promised.
    """

    where: str
    how: str
    promised: int
    lost: int
    newest: float = 0.0
    oldest: float = 0.0
    note: str = ""

    def __str__(self) -> str:
        span = f"{self.newest:.2f} to {self.oldest:.2f} s before" if self.lost else ""
        return f"| {self.where} | {self.how} | {self.promised} | {self.lost} | {span} {self.note}|"


def of_broker(kind: str, folder: Path, age: float, *, cut: bool) -> Loss:
    """Kill a broker of this kind `age` seconds after a queue was made in it."""
    (folder / "data").mkdir()
    disk = Disk(folder / "data", folder / "power")
    broker = KINDS[kind](folder / "data", certificates.write(folder), more=disk.environ)
    try:
        disk.sync()  # it has been up for a while
        receipts = dict(_confirmed(lambda _who: Bare(broker).connect(), QUEUE, age))
        if kind == "rabbitmq":
            Broker.kill9(broker)  # its own waits until queues are safe
        else:
            broker.kill9()
        end = time.monotonic()
        if cut:
            disk.cut()
        how = f"{'power cut' if cut else 'kill -9'} at {age:.0f} s"
        try:
            broker.restart()
        except PeerError as error:
            last = str(error).splitlines()[-1]
            return Loss(
                where=kind,
                how=how,
                promised=len(receipts),
                lost=len(receipts),
                oldest=age,
                note=f"does not start: {last}",
            )
        left = _read(Bare(broker).connect(), QUEUE)
        where = f"{kind} {_version(broker)}"
    finally:
        broker.stop()
    return _loss(where, how, receipts, left, end)


def _loss(
    where: str, how: str, receipts: Mapping[bytes, float], left: set[bytes], end: float
) -> Loss:
    gone = [end - at for body, at in receipts.items() if body not in left]
    return Loss(
        where=where,
        how=how,
        promised=len(receipts),
        lost=len(gone),
        newest=min(gone, default=0.0),
        oldest=max(gone, default=0.0),
    )


def _confirmed(
    enter: Callable[[str], Bare], queue: str, age: float
) -> Iterator[tuple[bytes, float]]:
    """Send for so long; each message with the time of its receipt."""
    with enter("n1") as one:
        one.subscribe(queue)  # makes the queue, as a node does
        one.leave()
    with enter("alice") as one:
        end = time.monotonic() + age
        number = 0
        while time.monotonic() < end:
            number += 1
            body = b"%d " % number + b"x" * 500
            one.send(queue, body, persistent=True)
            yield body, time.monotonic()
            time.sleep(0.01)


def _read(one: Bare, queue: str) -> set[bytes]:
    """All that is in the queue."""
    left = set()
    with one:
        one.subscribe(queue)
        while True:
            try:
                frame = one.get("MESSAGE", 5.0)
            except TimeoutError:
                return left
            left.add(frame.body)
            one.ack(frame)


def of_cluster(folder: Path, age: float) -> Loss:
    """Cut the power of all three members of a cluster at once."""
    with Hosts(3) as hosts:
        (folder / "cluster").mkdir()
        (folder / "fleet").mkdir()
        disk = Disk(folder / "cluster", folder / "power")
        cluster = Cluster(hosts, folder / "cluster")
        cluster.more = disk.environ
        fleet = Fleet(cluster, folder / "fleet", {"n1": Node()})
        (fleet.folder / "ca.pem").write_bytes(fleet.authority.ca_pem)
        cluster.configure(fleet)
        queue = f"/queue/mcs.{fleet.collective}.work.n1"

        def enter(who: str) -> Bare:
            tls = ssl.create_default_context(cafile=str(fleet.folder / "ca.pem"))
            tls.load_cert_chain(fleet.folder / f"{who}.pem", fleet.folder / f"{who}.key")
            place = SimpleNamespace(
                host=cluster.members[0], tls_port=PORT, user="", passcode="", kind="rabbitmq"
            )
            bare = Bare(place, tls=tls)
            del bare.hello["login"], bare.hello["passcode"]
            return bare.connect()

        try:
            cluster.start()
            disk.sync()
            receipts = dict(_confirmed(enter, queue, age))
            for member in cluster.members:
                cluster.kill9(member)
            end = time.monotonic()
            disk.cut()
            cluster.start()
            with enter("n1") as one:
                version = one.connected.headers["server"].partition("/")[2]
            left = _read(enter("n1"), queue)
        finally:
            cluster.stop()
    how = f"power cut of all three at {age:.0f} s"
    return _loss(f"cluster of rabbitmq {version}", how, receipts, left, end)


def _version(broker: Broker) -> str:
    with Bare(broker).connect() as one:
        return one.connected.headers["server"].partition("/")[2]


def of_client(broker: Broker, folder: Path) -> Loss:
    """Cut the power of a client that hands in queued requests, in the middle of that."""
    with _fleet(broker, folder) as fleet:
        state = folder / "desk"
        state.mkdir()
        disk = Disk(state, folder / "power")
        words = [fleet.config, state, "cut", folder / "notes"]
        argv = [sys.executable, "-m", "tests.nemesis.asker", *map(str, words)]
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, text=True, cwd=ROOT, env={**fleet.environ, **disk.environ}
        ) as process:
            assert process.stdin is not None
            for number in range(60):
                ask = {"via": "queue", "targets": ["n1"], "action": "once", "sleep": 0.0}
                process.stdin.write(json.dumps({**ask, "tag": f"{number}"}) + "\n")
            process.stdin.flush()
            assert wait_until(lambda: len(_kept(folder)) >= 20, 60, 0.01)
            process.kill()
        kept = _kept(folder)
        disk.cut()
        (path,) = state.rglob("cut.sqlite")
        store = SessionStore(path)
        have = {str(record.data["tag"]) for record, _counts in store.requests()}
        store.close()
    lost = len(set(kept) - have)
    return Loss(where="client's session", how="power cut", promised=len(kept), lost=lost)


def _kept(folder: Path) -> list[str]:
    path = folder / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return [note["tag"] for note in map(json.loads, lines) if note["event"] == "kept"]


def of_node(broker: Broker, folder: Path) -> Loss:
    """Cut the power of a node that has said `received` to sixty requests and is at work on them."""
    with _fleet(broker, folder) as fleet:
        state = folder / "state-n1"
        state.mkdir()
        disk = Disk(state, folder / "power")
        fleet.apart = {"n1": disk.environ}
        fleet.start()
        with fleet.client() as client:
            asked = [
                client.rpc(
                    "effect",
                    "once",
                    tag=f"{number}",
                    sleep=0.05,
                    via="queue",
                    nodes=["n1"],
                    ttl="1h",
                    wait=False,
                )
                for number in range(60)
            ]
            assert wait_until(lambda: not any(one.stats["pending"] for one in asked), 60)
            fleet.kill9("n1")
            disk.cut()
            fleet.start("n1")
            lost = sum(not one.wait(60).done for one in asked)
            cut = sum(int(one.stats["interrupted"]) for one in asked)
        lines = (folder / "effects" / "n1").read_text().splitlines()
        tags = [json.loads(line)["tag"] for line in lines]
    note = f"{len(tags) - len(set(tags))} ran twice, {cut} interrupted "
    return Loss(where="node's spool", how="power cut", promised=len(asked), lost=lost, note=note)


def _fleet(broker: Broker, folder: Path) -> PoweredFleet:
    (folder / "effects").mkdir()
    more = _MORE.format(root=ROOT, folder=folder)
    fleet = PoweredFleet(broker, folder, {"n1": Node()}, more=more)
    with fleet.config.open("a") as file:
        file.write(f'[node]\nagents = ["{ROOT}/tests/agents_for_tests"]\n')
    return fleet


def main() -> None:
    """Print the table."""
    os.environ[MARK] = uuid.uuid4().hex
    print("| where | what happened | promised | lost | when it had been promised |")
    print("|---|---|---|---|---|")
    for kind in sys.argv[1:] or [one for one in KINDS if not missing(one)]:
        for age in AGES:
            for cut in (False, True):
                with tempfile.TemporaryDirectory(prefix="power-") as folder:
                    print(of_broker(kind, Path(folder), age, cut=cut), flush=True)
    if "RABBITMQ_BIN" in os.environ:
        with tempfile.TemporaryDirectory(prefix="power-") as folder:
            print(of_cluster(Path(folder), AGES[-1]), flush=True)
    if sys.argv[1:]:
        return
    for trial in (of_client, of_node):
        with tempfile.TemporaryDirectory(prefix="power-") as folder:
            (Path(folder) / "broker").mkdir()
            (Path(folder) / "fleet").mkdir()
            tls = certificates.write(Path(folder))
            broker = KINDS["embedded"](Path(folder) / "broker", tls)
            try:
                print(trial(broker, Path(folder) / "fleet"), flush=True)
            finally:
                broker.stop()


if __name__ == "__main__":
    main()
