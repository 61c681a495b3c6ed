"""What comes message by message: a flood is left to come together, question and answer are not held up."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mcshell.wire.stomp import tcp
from mcshell.wire.stomp.endpoint import TLSFiles, parse_url, server_context, tls_context
from mcshell.wire.stomp.tcp import PatientSocket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGE = b"x" * 1000
MEANWHILE = 4
"""Messages of a flood that come while we rest."""
TURNS = 500
RESTS = TURNS // 100
"""One after a hundred turns: what it brings says that this is no flood."""


@pytest.fixture(autouse=True)
def any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows is soon, however busy the machine."""
    monkeypatch.setattr(tcp, "_SOON", 60.0)
    monkeypatch.setattr(tcp, "_ENDED", 60.0)


@pytest.fixture(params=["stomp", "stomp+ssl"])
def ends(
    request: pytest.FixtureRequest, pki_dir: Path
) -> Iterator[tuple[PatientSocket, socket.socket]]:
    """Our connection to a listener of the test's, and the other end; in plain text, and over TLS."""
    files = TLSFiles(pki_dir / "ca.pem", pki_dir / "alice.pem", pki_dir / "alice.key")
    context = server_context(pki_dir / "server.pem", pki_dir / "server.key", pki_dir / "ca.pem")
    assert context is not None
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        endpoint = parse_url(f"{request.param}://127.0.0.1:{listener.getsockname()[1]}")
        making = pool.submit(PatientSocket, endpoint, tls_context(files), timeout=30, stall=30)
        theirs, _address = listener.accept()
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if endpoint.tls:
            theirs = context.wrap_socket(theirs, server_side=True)
        ours = making.result()
    with theirs:
        yield ours, theirs
    ours.close()


def test_a_flood_is_taken_in_few_parts_and_whole(
    ends: tuple[PatientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a hundred messages have come one by one, each call waits for those that are on their way."""
    ours, theirs = ends
    monkeypatch.setattr(tcp.time, "sleep", lambda _seconds: theirs.sendall(MESSAGE * MEANWHILE))
    parts = []
    for _ in range(200):
        theirs.sendall(MESSAGE)
        parts.append(len(ours.receive()) // len(MESSAGE))
    assert parts == [1] * 100 + [1 + MEANWHILE] * 100


def test_a_pause_within_a_flood_does_not_end_it(
    ends: tuple[PatientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker rests between its pages: what follows is still taken together, until it falls silent."""
    ours, theirs = ends
    monkeypatch.setattr(tcp.time, "sleep", lambda _seconds: theirs.sendall(MESSAGE * MEANWHILE))

    def parts(count: int) -> list[int]:
        found = []
        for _ in range(count):
            theirs.sendall(MESSAGE)
            found.append(len(ours.receive()) // len(MESSAGE))
        return found

    assert parts(100) == [1] * 100
    monkeypatch.setattr(tcp, "_SOON", 0.0)
    assert parts(20) == [1 + MEANWHILE] * 20
    monkeypatch.setattr(tcp, "_ENDED", 0.0)
    assert parts(20) == [1 + MEANWHILE] + [1] * 19


def test_question_and_answer_are_not_held_up(
    ends: tuple[PatientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns that follow each other as quickly are a flood to nobody: hardly one waits for more to come."""
    ours, theirs = ends
    rests: list[float] = []
    monkeypatch.setattr(tcp.time, "sleep", rests.append)

    def answer() -> None:
        for _ in range(TURNS):
            taken = 0
            while taken < len(MESSAGE):
                taken += len(theirs.recv(len(MESSAGE) - taken))
            theirs.sendall(MESSAGE)

    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(TURNS):
        ours.send(MESSAGE)
        assert ours.receive() == MESSAGE
    thread.join()
    assert 0 < len(rests) <= RESTS
