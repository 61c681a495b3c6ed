"""A real ssh-agent, on a socket of its own."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.peers.processes import Child, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.pki import PrivateKey

__all__ = ["SSHAgent"]


class SSHAgent:
    """OpenSSH's agent; whoever starts it stops it. `answer` is what its askpass program says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "agent.sock"
        self.asked = folder / "asked"
        self._askpass = folder / "askpass"
        self.confirm(yes=True)
        self.child: Child
        self.start()

    def start(self) -> None:
        """Start it, without any key."""
        self.socket.unlink(missing_ok=True)
        environ = {"SSH_ASKPASS": str(self._askpass), "SSH_ASKPASS_REQUIRE": "force"}
        environ |= {"DISPLAY": ":0"}
        argv = ["ssh-agent", "-D", "-a", str(self.socket)]
        self.child = Child(argv, self.folder / "agent.log", {**os.environ, **environ})
        assert wait_until(self.socket.exists, 60), self.child.tail()

    def confirm(self, *, yes: bool) -> None:
        """What is said to whoever uses a key that was added with `-c`."""
        code = 0 if yes else 1
        self._askpass.write_text(f"#!/bin/sh\necho asked >>{self.asked}\nexit {code}\n")
        self._askpass.chmod(0o755)

    def add(self, key: PrivateKey, *options: str) -> None:
        """Give it a key, which is in no file."""
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        self.run(*options, "-", stdin=pem)

    def run(self, *words: str, stdin: bytes = b"") -> str:
        """Run ssh-add on it."""
        done = subprocess.run(
            ["ssh-add", *words],
            input=stdin,
            env={**os.environ, "SSH_AUTH_SOCK": str(self.socket)},
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def stop(self) -> None:
        """End it."""
        self.child.stop()
