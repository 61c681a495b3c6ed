"""What a node daemon costs its machine, beside a real mcollectived on the same broker.

Run: python tests/bench/bench_node.py [STARTS]

Both run as installed: Python's bytecode is cached by a start that is not counted.

Start: from exec to `ready` (ours: every subscription confirmed; mcollectived: its log says
"Connected to", it subscribes just after). Memory, from the kernel's smaps_rollup: what is the process's
own (USS), and with its share of what others use too (PSS), when ready and after some calls. Beside it,
what the interpreter and the libraries take without us.

Processor time is the daemon's alone, of all its threads, for a direct `rpcutil.ping`: one after the
other, each sent when the answer to the one before has come; and all sent at once. What cannot be done
without is verified and signed beside it, in this process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from figures import ROOT, figure, machine, median, place, running, show

from mcshell.message import Via, new_request_id
from mcshell.pki import Authority
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import seal_request
from mcshell.wire.documents.signatures import Signer, Verifier
from tests.hostile.forge import Forge
from tests.peers import brokers, mcollective
from tests.peers.bare import Bare
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.peers.brokers import Broker

USS_LIMIT = 22.0
"""MiB of its own that our daemon may have when it is ready."""


class Memory(NamedTuple):
    """MiB: resident, own (USS), own with its share of the rest (PSS)."""

    rss: float
    uss: float
    pss: float


class Taken(NamedTuple):
    """What one start took: seconds, memory when ready and after some calls, µs of processor a request."""

    start: float
    fresh: Memory
    used: Memory
    alone: float = 0.0
    crowd: float = 0.0


WARM, REQUESTS = 50, 500
LIBRARIES = {
    "limit: python alone": "pass",
    "limit: python, stomp.py": "import stomp",
    "limit: python, stomp.py, cryptography": (
        "import stomp; from cryptography import x509;"
        "from cryptography.hazmat.primitives.asymmetric import ed25519"
    ),
}


def memory(pid: int) -> Memory:
    """What a process takes, by the kernel's own sums."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    own = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return Memory(sizes["Rss"], own, sizes["Pss"])


def processor(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    return sum(psutil.Process(pid).cpu_times()[:2])


def ours(broker: Broker, folder: Path, starts: int) -> list[Taken]:
    """Our daemon, started so many times."""
    figures = []
    with Fleet(broker, folder, {"node01": Node()}) as fleet:
        fleet.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        fleet.start()
        fleet.nodes.pop("node01").stop()
        forge = Forge(
            fleet.authority,
            outstanding=new_request_id,
            collective=fleet.collective,
            node="node01",
        )
        for _ in range(starts):
            took = start(fleet)
            pid = fleet.nodes["node01"].pid
            fresh = memory(pid)
            costs = requests(fleet, forge, pid)
            figures.append(Taken(took, fresh, memory(pid), *costs))
            fleet.nodes.pop("node01").stop()
    return figures


def requests(fleet: Fleet, forge: Forge, pid: int) -> tuple[float, float]:
    """Processor time of a request, µs: of those that come one after the other, and all at once."""
    node = destinations.node(fleet.collective, "node01")
    with Bare(fleet.broker).connect() as socket:
        queue = destinations.reply(fleet.collective, "cert=alice", forge.session)
        socket.subscribe(queue, ack="auto")

        def ask(count: int, together: int) -> float:
            sealed = [seal_request(forge.request(Via.DIRECT), forge.alice) for _ in range(count)]
            before = processor(pid)
            for begin in range(0, count, together):
                for one in sealed[begin : begin + together]:
                    socket.send(node, one.body, one.headers, confirm=False)
                socket.messages(min(together, count - begin))
            time.sleep(0.2)  # its threads come to rest
            return (processor(pid) - before) / count * 1e6

        ask(WARM, 1)
        return ask(REQUESTS, 1), ask(REQUESTS, REQUESTS)


def signatures(folder: Path) -> float:
    """Processor time of one check of a signature and one signature, µs, by what a daemon uses."""
    authority = Authority.init(folder / "pki", "bench")
    signer = Signer.from_pem(*authority.issue_pem("node01", "node"))
    forge = Forge(authority, outstanding=new_request_id, node="node01")
    sealed = seal_request(forge.request(Via.DIRECT), forge.alice)
    verifier = Verifier((folder / "pki" / "ca.pem").read_bytes())
    began = time.process_time()
    for _ in range(REQUESTS):
        verifier.verify(sealed.body, *sealed.headers.values(), now=time.time())
        signer.sign(sealed.body)
    return (time.process_time() - began) / REQUESTS * 1e6


def start(fleet: Fleet) -> float:
    """Start the node; seconds from exec to `ready`, by reading what it writes as it comes."""
    log = fleet.folder / "node01.log"
    log.unlink(missing_ok=True)
    began = time.monotonic()
    fleet.nodes["node01"] = child = fleet._run(
        "node01", ["node", "--config", str(fleet.folder / "node01.toml")]
    )
    while b"ready\n" not in log.read_bytes():
        assert child.running, child.tail()
        time.sleep(0.002)
    return time.monotonic() - began


def theirs(broker: Broker, folder: Path, starts: int) -> list[Taken]:
    """The same of mcollectived, which nobody calls."""
    figures = []
    daemon = mcollective.Daemon(broker, folder, "node01")
    for _ in range(starts):
        began = time.monotonic()
        child = daemon.start()
        took = time.monotonic() - began
        time.sleep(1.0)  # it loads its agents after it is connected, and does not say when
        taken = memory(child.pid)
        figures.append(Taken(took, taken, taken))
        daemon.stop()
    return figures


def libraries(code: str, starts: int) -> list[Taken]:
    """An interpreter that only imports."""
    figures = []
    for _ in range(starts):
        began = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-c", f"{code}\nprint(1, flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            took = time.monotonic() - began
            taken = memory(process.pid)
            figures.append(Taken(took, taken, taken))
            process.communicate(b"\n")
    return figures


def medians(figures: Sequence[Taken]) -> Taken:
    """The median of each column."""
    starts, fresh, used, alone, crowd = zip(*figures, strict=True)
    memories = (Memory(*map(median, zip(*taken, strict=True))) for taken in (fresh, used))
    return Taken(median(starts), *memories, median(alone), median(crowd))


def row(what: str, taken: Taken) -> None:
    """One line about memory."""
    ready, used = (
        f"{one.uss:.1f} {one.pss:.1f} {one.rss:.1f}" for one in (taken.fresh, taken.used)
    )
    show(what, f"{taken.start:.2f} s", ready, used)


def main() -> None:
    """Start both by turns, on ActiveMQ."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    if package := brokers.missing("mcollective"):
        raise SystemExit(f"needs Debian's {package}")
    print(f"{machine()}\nmedians of {starts} starts; memory in MiB: USS PSS RSS")
    with place() as folder, running("activemq", folder) as broker:
        for name in ("ours", "theirs", "crypto"):
            (folder / name).mkdir()
        mine = medians(ours(broker, folder / "ours", starts))
        other = medians(theirs(broker, folder / "theirs", starts))
        floor = signatures(folder / "crypto")
    show("", "start", "ready", "after 1,050 calls")
    row("mcshell node", mine)
    row("mcollectived", other)
    for what, code in LIBRARIES.items():
        row(what, medians(libraries(code, starts)))
    figure("USS when ready", mine.fresh.uss, "MiB", most=USS_LIMIT)
    figure("PSS when ready", mine.fresh.pss, "MiB")
    figure("USS of mcollectived beside it", other.fresh.uss, "MiB")
    figure("processor a request, one after the other", mine.alone, "us")
    figure("processor a request, all at once", mine.crowd, "us")
    show("limit: verify and sign", f"{floor:,.0f} µs", f"{mine.alone / floor:.1f} x")


if __name__ == "__main__":
    main()
