"""Hosts reached by ssh, to measure beside: an sshd of our own for each, on loopback, with keys made here.

All are this machine, under addresses 127.0.1.1 and on; the files that come by scp or sftp land in a
folder of each host's own. Needs Debian's openssh-server and openssh-client.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.processes import Child, PeerError, free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = "/usr/sbin/sshd"
NEEDED = {SSHD: "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
SERVER = """\
Port {port}
ListenAddress {address}
HostKey {keys}/host
AuthorizedKeysFile {keys}/operator.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
PidFile none
Subsystem sftp internal-sftp -d {home}
"""
CLIENT = """\
Host *
  Port {port}
  User {user}
  IdentityFile {keys}/operator
  IdentitiesOnly yes
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  LogLevel ERROR
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshHosts:
    """Addresses, the folder of each one's files, and the client's configuration (`ssh -F`)."""

    homes: dict[str, Path]
    config: Path

    @property
    def addresses(self) -> list[str]:
        """Of all hosts."""
        return list(self.homes)


def missing() -> str:
    """The Debian package that is not there, or nothing."""
    return next((package for tool, package in NEEDED.items() if not shutil.which(tool)), "")


@contextlib.contextmanager
def ssh_hosts(folder: Path, count: int) -> Iterator[SshHosts]:
    """So many hosts, answering, until the block ends."""
    if package := missing():
        raise PeerError(f"needs Debian's {package}")
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # no sshd of root starts without
    for name in ("host", "operator"):
        line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(line, check=True)
    (port,) = free_ports(1)
    config = folder / "ssh_config"
    config.write_text(CLIENT.format(port=port, keys=folder, user=getpass.getuser()))
    hosts = SshHosts(
        homes={f"127.0.1.{number + 1}": folder / f"home{number}" for number in range(count)},
        config=config,
    )
    with contextlib.ExitStack() as running:
        for address, home in hosts.homes.items():
            running.callback(_sshd(folder, address, port, home).stop)
        yield hosts


def _sshd(folder: Path, address: str, port: int, home: Path) -> Child:
    home.mkdir()
    config = folder / f"{home.name}.conf"
    config.write_text(SERVER.format(address=address, port=port, keys=folder, home=home))
    child = Child([SSHD, "-D", "-e", "-f", config], folder / f"{home.name}.log")
    if not wait_until(lambda: _answers(address, port) or not child.running, 30.0):
        raise PeerError(child.tail())
    if not child.running:
        raise PeerError(child.tail())
    return child


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), 1.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
