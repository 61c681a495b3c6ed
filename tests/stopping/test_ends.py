"""SIGTERM and SIGHUP end a command line as Ctrl-C does: rows, terminal and pager are left in order."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from mcshell.pki import Authority
from mcshell.pki.keys import load_private
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.peers.fleet import Fleet

pytestmark = pytest.mark.timeout(240)
ENDS = [signal.SIGTERM, signal.SIGHUP]
NAP = "rpc mark nap sleep=4 -I web1 -I ghost1 -t 60 -y"


class Seat:
    """A program at a terminal of its own, whose modes can be looked at before and after."""

    def __init__(self, words: tuple[str, ...], environ: Mapping[str, str]) -> None:
        self._near, self.terminal = pty.openpty()
        self.modes = termios.tcgetattr(self.terminal)
        self.shown = b""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "mcshell", *words],
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            env={**environ, "TERM": "xterm", "LESS": ""},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # its last user has gone
            while data := os.read(self._near, 65536):
                self.shown += data

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._near, line.encode() + b"\r")

    def leave(self) -> None:
        """End what still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)
        self._reader.join(60)
        os.close(self._near)


@contextmanager
def seat(*words: str, environ: Mapping[str, str]) -> Iterator[Seat]:
    """Somebody at a terminal, until the block ends."""
    found = Seat(words, environ)
    try:
        yield found
    finally:
        found.leave()


@pytest.mark.parametrize("number", ENDS)
def test_the_rows_that_came_are_shown(fleet: Fleet, number: signal.Signals) -> None:
    """`timeout 60 mcshell rpc …` says who had answered, and of whom nothing was heard; no more is asked."""
    audit = fleet.folder / "state-web1" / "node" / "audit.jsonl"
    before = audit.read_text().count('"nap"')
    process = subprocess.Popen(
        [sys.executable, "-m", "mcshell", "-e", f"{NAP}; find -I web2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**fleet.environ, "MCSHELL_STATE": str(fleet.folder / "state-ends")},
    )
    assert wait_until(lambda: audit.read_text().count('"nap"') > before, 60, 0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "ghost1" in out
    assert "web2" not in out


@pytest.mark.parametrize("number", ENDS)
def test_the_prompt_leaves_the_terminal_in_order(
    fleet: Fleet, tmp_path: Path, number: signal.Signals
) -> None:
    """The shell that comes back has its echo and its lines, and the exit code names the signal."""
    environ = {**fleet.environ, "MCSHELL_STATE": str(tmp_path / "state")}
    with seat(environ=environ) as at:
        assert wait_until(lambda: f"{fleet.collective}>".encode() in at.shown, 60)
        assert termios.tcgetattr(at.terminal) != at.modes
        at.process.send_signal(number)
        assert at.process.wait(60) == 128 + number
        assert termios.tcgetattr(at.terminal) == at.modes


def test_a_pager_ends_with_the_prompt(fleet: Fleet, tmp_path: Path) -> None:
    """Who ends a prompt that shows something in `less` has ended that too, and its terminal is in order."""
    environ = {**fleet.environ, "MCSHELL_STATE": str(tmp_path / "state"), "PAGER": "less"}
    with seat(environ=environ) as at:
        assert wait_until(lambda: f"{fleet.collective}>".encode() in at.shown, 60)
        at.type("help")
        mcshell = psutil.Process(at.process.pid)
        assert wait_until(lambda: any(one.name() == "less" for one in mcshell.children(True)), 60)
        (pager,) = (one for one in mcshell.children(True) if one.name() == "less")
        assert wait_until(lambda: not termios.tcgetattr(at.terminal)[3] & termios.ECHO, 60)
        at.process.send_signal(signal.SIGTERM)
        assert at.process.wait(60) == 128 + signal.SIGTERM
        assert wait_until(lambda: not pager.is_running(), 60)
        assert termios.tcgetattr(at.terminal) == at.modes


def test_a_question_for_a_passphrase_gives_the_echo_back(tmp_path: Path) -> None:
    """Whoever is asked for a secret as the process is ended sees again what he types."""
    Authority.init(tmp_path, "ca")
    key = tmp_path / "ca.key"
    sealed = BestAvailableEncryption(b"open sesame")
    secret = load_private(key.read_bytes())
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
    words = ("pki", "issue", "alice", "--kind", "operator", "--pki", str(tmp_path))
    with seat(*words, environ=os.environ) as at:
        assert wait_until(lambda: b"passphrase of" in at.shown, 60)
        assert wait_until(lambda: not termios.tcgetattr(at.terminal)[3] & termios.ECHO, 60)
        at.process.send_signal(signal.SIGTERM)
        assert at.process.wait(60) == 128 + signal.SIGTERM
        assert termios.tcgetattr(at.terminal) == at.modes


def test_a_service_ends_by_its_own_rules(tmp_path: Path) -> None:
    """A broker has no use for SIGHUP: it ends at once, with nothing unwound in the middle of its work."""
    log = tmp_path / "log"
    words = ["broker", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "mcshell", *words], stderr=file)
    try:
        assert wait_until(lambda: "ready" in log.read_text(), 60)
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == -signal.SIGHUP
    finally:
        process.kill()
        process.wait()
