"""A broker behind a name that stands for several addresses; a slow other end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcshell.wire.stomp.connector import TLSFiles
from mcshell.wire.stomp.endpoint import parse_url, tls_context
from mcshell.wire.stomp.tcp import PatientSocket
from tests.peers.processes import Child, said, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMED = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
CONNECT = """
import sys, time
from mcshell.wire.stomp.connector import Connector
connection = Connector([f"stomp://both.example:{sys.argv[1]}"])
began = time.monotonic()
connection.start(24.0)
took = time.monotonic() - began
connection.close()
assert took < 20.0, took
"""


@pytest.fixture
def second(tmp_path: Path) -> Iterator[int]:
    """The port of a broker at 127.0.0.2, the second address of both.example."""
    argv = ["-m", "mcshell.broker", "--listen", "127.0.0.2:0", "--data", tmp_path / "data"]
    child = Child([sys.executable, *argv], tmp_path / "log")
    try:
        assert wait_until(lambda: "ready " in child.tail(), 60), child.tail()
        yield int(child.tail().rpartition(":")[2])
    finally:
        child.stop()


def connect(folder: Path, port: int) -> None:
    """Reach a broker by that name, in a process that knows it; skips the test where none may be made."""
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 both.example\n127.0.0.2 both.example\n")
    box = ["unshare", "--mount", "sh", "-c", NAMED, "sh", str(hosts)]
    if subprocess.run([*box, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file of names")
    said(*box, sys.executable, "-c", CONNECT, str(port))


def trickle(listener: socket.socket) -> None:
    """Begin a long answer to one client's handshake: a byte each twentieth of a second, for a while."""
    sock, _ = listener.accept()
    with sock, contextlib.suppress(OSError):
        for byte in b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb" + bytes(400):
            sock.sendall(bytes([byte]))
            time.sleep(0.05)


@contextlib.contextmanager
def unanswered(port: int) -> Iterator[None]:
    """A listener at the first address that takes nobody, so that no SYN is answered any more."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.socket())
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", port))
        first.listen(0)
        with contextlib.suppress(TimeoutError):
            while True:
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 1.0))
        yield


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    second: int, tmp_path: Path
) -> None:
    """The broker at a name's second address is reached long before the timeout is over."""
    with unanswered(second):
        connect(tmp_path, second)


def test_a_handshake_of_a_byte_now_and_then_comes_to_an_end(pki_dir: Path) -> None:
    """Whoever never falls silent, and never shakes hands, is given up as one who is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"stomp+ssl://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        with pytest.raises(TimeoutError, match="TLS handshake"):
            PatientSocket(
                parse_url(url), tls_context(TLSFiles(pki_dir / "ca.pem")), timeout=1.0, stall=1.0
            )
        thread.join()


def test_an_address_that_refuses_is_passed_over(second: int, tmp_path: Path) -> None:
    """Nobody listens at the first address."""
    connect(tmp_path, second)
