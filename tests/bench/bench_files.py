"""One file to many nodes: what leaves the client, how long it takes, and what is there afterwards.

Run: python tests/bench/bench_files.py [--size 100] [--emulated 50] [--daemons 10] [--broker rabbitmq] [--ssh]

`client.files.put` sends a file of random bytes (MB) to emulated nodes and real daemons; then the same line
again, of which nothing goes; then the file is fetched from one node. Daemons share this machine's disk, so
each writes the same path, one after the other. Bytes that leave the client are bodies and headers of its SENDs.

With `--ssh` the same file goes to as many hosts by `clush --copy` and by Ansible's `copy` (see ssh_hosts.py);
there each host has a file of its own. A client of theirs sends the file once to each.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import figure, machine, place, running

from tests.bench.ssh_hosts import SshHosts, ssh_hosts
from tests.peers.fleet import Fleet, Node

if TYPE_CHECKING:
    from mcshell.client.client import Client

LIMIT = 1.2
"""Of the file's size, at most, leaves the client."""
MB = 1_000_000
SETTINGS = """\
tell_files = "all"
[agents.file]
roots = ["{root}"]
write = ["{root}"]
parts_max = 8589934592
"""
POLICY = "policy default deny\nallow\tcert=alice\t*\t*\t*\n"


class Counter:
    """Counts what a client sends from now on."""

    def __init__(self, client: Client) -> None:
        self.bytes = 0
        transport = client._transport
        self._send = transport.send
        transport.send = self.send  # type: ignore[method-assign]

    def send(self, destination: str, body: bytes, headers: Any = None, **options: Any) -> Any:
        """Count it, and send it."""
        said = sum(len(name) + len(value) + 2 for name, value in (headers or {}).items())
        self.bytes += len(body) + len(destination) + said + 64
        return self._send(destination, body, headers, **options)


def measure(client: Client, source: Path, root: Path, count: int) -> None:
    """Put it everywhere, again, and fetch it from one."""
    size = source.stat().st_size
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    names = list(client.discover().sender)
    assert len(names) == count, f"{len(names)} of {count} nodes"
    counter = Counter(client)
    began = time.monotonic()
    frame = client.files.put(source, str(root / "app"), nodes=names, timeout="300s")
    took = time.monotonic() - began
    bad = frame[frame.state != "ok"]
    assert not len(bad), bad.reason.value_counts()
    assert set(frame.sha256) == {sha256}
    figure(
        f"{count} nodes: bytes that leave the client, of the file", counter.bytes / size, most=LIMIT
    )
    figure("  seconds from the line to the last row", took, "s")
    figure("  bytes that arrive, all nodes together", size * count / took / MB, "MB/s")
    replies = client.rpc("file", "checksum", path=str(root / "app"), nodes=names, timeout="300s")
    assert set(replies.frame().checksum) == {sha256}
    counter.bytes, began = 0, time.monotonic()
    again = client.files.put(source, str(root / "app"), nodes=names, timeout="300s")
    assert set(again.result) == {"same"}
    figure("the same line again: seconds", time.monotonic() - began, "s")
    figure("  bytes that leave the client, of the file", counter.bytes / size)
    began = time.monotonic()
    back = client.files.get(str(root / "app"), source.parent, nodes=[names[0]], by_node=True)
    assert set(back.sha256) == {sha256}
    figure("fetched from one node", size / (time.monotonic() - began) / MB, "MB/s")


def beside(folder: Path, source: Path, count: int) -> None:
    """What clush and Ansible take for it, over ssh."""
    with ssh_hosts(folder / "ssh", count) as hosts:
        if clush := shutil.which("clush"):
            words = [clush, "-q", "-f", str(count), "-w", ",".join(hosts.addresses)]
            words += ["-o", f"-F {hosts.config}", "--copy", str(source), "--dest", "app"]
            figure("clush --copy: seconds", _timed(words, hosts, source), "s")
        else:
            print("clush: not run: needs Debian's clustershell")
        ansible = Path(sys.executable).with_name("ansible")
        lines = [f"{address} home={home}" for address, home in hosts.homes.items()]
        inventory = folder / "hosts.ini"
        inventory.write_text("\n".join(lines) + "\n")
        words = [str(ansible), "all", "-i", str(inventory), "-f", str(count), "-m", "copy"]
        words += ["-a", f"src={source} dest={{{{ home }}}}/app", "--ssh-common-args"]
        words += [f"-F {hosts.config}", "-e", f"ansible_python_interpreter={sys.executable}"]
        figure("Ansible's copy: seconds", _timed(words, hosts, source), "s")


def _timed(words: list[str], hosts: SshHosts, source: Path) -> float:
    """How long a command takes that puts the file on each host; it is gone afterwards."""
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for home in hosts.homes.values():
        assert hashlib.sha256((home / "app").read_bytes()).hexdigest() == sha256
        (home / "app").unlink()
    return took


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--emulated", type=int, default=50)
    parser.add_argument("--daemons", type=int, default=10)
    parser.add_argument("--broker", default="rabbitmq")
    parser.add_argument("--ssh", action="store_true")
    asked = parser.parse_args()
    print(
        f"{machine()}\n{asked.emulated} emulated nodes, {asked.daemons} daemons on {asked.broker}"
    )
    with place() as folder, running(asked.broker, folder) as broker:
        (folder / "fleet").mkdir()
        root = folder / "root"
        root.mkdir()
        source = folder / "source"
        source.write_bytes(os.urandom(asked.size * MB))
        nodes = {f"real{number:02}": Node() for number in range(asked.daemons)}
        more = SETTINGS.format(root=root)
        with Fleet(broker, folder / "fleet", nodes, policies={"file": POLICY}, more=more) as fleet:
            fleet.start()
            fleet.emulate(asked.emulated, more=more)
            with fleet.client() as client:
                measure(client, source, root, asked.emulated + asked.daemons)
        if asked.ssh:
            beside(folder, source, asked.emulated + asked.daemons)


if __name__ == "__main__":
    main()
