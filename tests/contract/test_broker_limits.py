"""What clients of the embedded broker may cost it, before they log in and after; each on a process."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from mcshell.broker.server import (
    IN_TRANSACTIONS,
    LONGEST,
    SUBSCRIPTIONS,
    TOPIC_BACKLOG_EACH,
    WILDCARDS,
)
from mcshell.wire.stomp.endpoint import TLSFiles, tls_context
from mcshell.wire.stomp.frame import Frame, dump
from mcshell.wire.stomp.server import GREETING, GREETING_MANY, GREETING_SIZE, NO_ROOM, STUCK
from tests.peers.bare import Bare, Closed
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.brokers import Broker

CONNECT = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:%s\npasscode:wrong\n%s\n"
FULL = "no room for another client, they wait: Too many open files"
ANNOUNCED = b"content-length:67108863\n"
SHARED = 2000
"""Subscriptions of one connection to one topic, as an emulator's."""


@pytest.fixture
def process(embedded: Broker) -> psutil.Process:
    """The broker's process, for what it costs."""
    return psutil.Process(embedded.pid)


@pytest.fixture
def serves(embedded: Broker) -> Iterator[Callable[[], None]]:
    """A check that a client who logs in now is served at once; made at the end as well."""

    def check() -> None:
        began = time.monotonic()
        with Bare(embedded).connect() as one:
            one.send("/queue/limits.served", b"x")
        assert time.monotonic() - began < 30

    yield check
    check()


def spent(process: psutil.Process) -> float:
    """Processor seconds so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def dial(broker: Broker, *, tls: bool = False) -> socket.socket:
    """A connection on which nothing was said."""
    return socket.create_connection((broker.host, broker.tls_port if tls else broker.port), 30)


def pour(sock: socket.socket, data: bytes, times: int) -> int:
    """Send as much as the other end takes; returns the bytes."""
    taken = 0
    with contextlib.suppress(OSError):
        for _ in range(times):
            taken += sock.send(data)
    return taken


def closed(sock: socket.socket) -> bool:
    """Whether the other end has closed it."""
    while select.select([sock], [], [], 0)[0]:
        try:
            if not sock.recv(65536):
                return True
        except OSError:
            return True
    return False


LOUD: dict[str, bytes] = {
    "a body": CONNECT % (b"mcs", ANNOUNCED) + b"x" * (1 << 20),
    "a body that is not announced": CONNECT % (b"mcs", b"") + b"x" * (1 << 20),
    "a header": CONNECT[:-3] % b"y" * 1 + b"x:" + b"x" * (1 << 20),
    "headers": b"CONNECT\n" + b"x:y\n" * (1 << 18),
    "heart-beats": b"\n" * (1 << 20),
    "a command": b"C" * (1 << 20),
    "another command": b"SEND\ndestination:/queue/a\n" + ANNOUNCED + b"\n" + b"x" * (1 << 20),
    "wrong logins": (CONNECT % (b"mcs", b"") + b"\0") * 10_000,
}


@pytest.mark.parametrize("what", LOUD)
def test_before_login_a_few_kilobytes_are_all(
    embedded: Broker, process: psutil.Process, serves: Callable[[], None], what: str
) -> None:
    """Twelve that send 64 MB each and never log in are cut off; they cost no memory, no time."""
    serves()
    before, began = process.memory_info().rss, spent(process)
    socks = [dial(embedded) for _ in range(12)]
    try:
        for sock in socks:
            pour(sock, LOUD[what], 63)
        assert wait_until(lambda: all(map(closed, socks)), 60)
        assert process.memory_info().rss - before < 10e6
        assert spent(process) - began < 1
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("tls", [False, True])
def test_the_time_to_log_in_is_over_whatever_comes(
    embedded: Broker, serves: Callable[[], None], *, tls: bool
) -> None:
    """A byte now and then, also of a TLS handshake, keeps nobody beyond the limit."""
    serves()
    byte = b"\x16" if tls else b"\n"
    socks = [dial(embedded, tls=tls) for _ in range(12)]
    began = time.monotonic()
    try:
        for sock in socks:
            sock.sendall(b"\x16\x03\x01\x20\x00\x01" if tls else b"CONNECT\n")

        def all_ended() -> bool:
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(byte if tls else b"x")
            return all(map(closed, socks))

        assert wait_until(all_ended, GREETING + 30, pause=1.0)
        assert time.monotonic() - began > GREETING - 1
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("tls", [False, True])
def test_how_many_are_about_to_log_in_is_bounded(
    embedded: Broker, process: psutil.Process, serves: Callable[[], None], *, tls: bool
) -> None:
    """Of too many that say nothing the oldest go; who logs in is not among them."""
    serves()
    socks = [dial(embedded, tls=tls) for _ in range(GREETING_MANY + 100)]
    try:
        assert wait_until(lambda: sum(map(closed, socks)) >= 100, 60)
        assert all(map(closed, socks[:100]))
        assert not any(map(closed, socks[-50:]))
        serves()
        assert len(process.net_connections()) < GREETING_MANY + 50
    finally:
        for sock in socks:
            sock.close()


def test_a_wrong_login_is_told_so_and_ended(embedded: Broker) -> None:
    """ERROR comes, then the end, for the largest CONNECT that is taken too."""
    room = GREETING_SIZE - len(CONNECT % (b"mcs", b"")) - len("pad:\n\0")
    for pad, words in ((room, "login refused"), (room + 1, str(GREETING_SIZE))):
        with Bare(embedded) as one:
            one.sock.sendall(CONNECT % (b"mcs", b"pad:%s\n" % (b"x" * pad)) + b"\0")
            with pytest.raises(Closed) as caught:
                one.get()
            assert caught.value.error is not None
            assert words in caught.value.error.headers["message"]


def refused(one: Bare, frames: list[Frame]) -> str:
    """The ERROR that these frames end in."""
    with contextlib.suppress(OSError):
        one.sock.sendall(b"".join(dump(frame) for frame in frames))
    with pytest.raises(Closed) as caught:
        one.messages(len(frames))
    assert caught.value.error is not None
    return caught.value.error.headers["message"]


def listening(destination: str, id_: object = 1) -> Frame:
    """A SUBSCRIBE."""
    return Frame("SUBSCRIBE", {"destination": destination, "id": str(id_)})


TOO_MUCH: dict[str, tuple[list[Frame], str]] = {
    "further words in the middle": ([listening("/topic/" + ".".join(">" * 14) + ".x")], "last one"),
    "a long name": ([listening("/topic/" + "a" * LONGEST)], str(LONGEST)),
    "a long id": ([listening("/topic/a", "a" * (LONGEST + 1))], str(LONGEST)),
    "a long name to send to": ([Frame("SEND", {"destination": "/queue/" + "a" * 2000})], "longer"),
    "wildcards": ([listening(f"/topic/{n}.*", n) for n in range(WILDCARDS + 1)], "wildcards"),
    "transactions": (
        [Frame("BEGIN", {"transaction": str(n)}) for n in range(WILDCARDS + 1)],
        "transactions",
    ),
    "an open transaction": (
        [
            Frame("BEGIN", {"transaction": "t"}),
            *[Frame("SEND", {"destination": "/queue/t", "transaction": "t"}, b"x" * (1 << 20))]
            * (IN_TRANSACTIONS >> 20),
        ],
        "not committed",
    ),
    "small frames in a transaction": (
        [
            Frame("BEGIN", {"transaction": "t"}),
            *[Frame("SEND", {"destination": "/queue/t", "transaction": "t"})]
            * (IN_TRANSACTIONS >> 10),
        ],
        "not committed",
    ),
    "subscriptions": (
        [listening("/topic/many", n) for n in range(SUBSCRIPTIONS + 1)],
        "subscriptions",
    ),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_a_client_that_asks_too_much_is_refused(
    embedded: Broker, serves: Callable[[], None], what: str
) -> None:
    """Each bound of one connection ends in ERROR that names it, and frees what was held."""
    serves()
    frames, words = TOO_MUCH[what]
    with Bare(embedded).connect() as one:
        assert words in refused(one, frames)


def test_wildcards_cost_no_more_than_words(
    embedded: Broker, process: psutil.Process, serves: Callable[[], None]
) -> None:
    """A hundred of the worst patterns that there can be against names of a thousand letters."""
    serves()
    began = spent(process)
    most = (LONGEST - len("/topic/x.1000")) // 2
    with Bare(embedded).connect() as one, Bare(embedded).connect() as sender:
        for number in range(WILDCARDS):
            stars = ".".join("*" * (most - number)) + (".>" if number % 2 else ".y")
            one.subscribe(f"/topic/{stars}", ack="auto", id_=str(number))
        for number in range(100):
            sender.send("/topic/" + ".".join(["a"] * most)[: LONGEST - 20] + f".{number}", b"hi")
    assert spent(process) - began < 5


@pytest.mark.parametrize(
    ("pattern", "gets"),
    [
        ("a.b", ["a.b"]),
        ("a.*", ["a.b", "a.c"]),
        ("*.b", ["a.b"]),
        ("a.>", ["a.b", "a.c", "a.b.c"]),
        (">", ["a", "a.b", "a.c", "a.b.c"]),
        ("*.*.*", ["a.b.c"]),
    ],
)
def test_wildcards_stand_for_words(embedded: Broker, pattern: str, gets: list[str]) -> None:
    """`*` is one word, a final `>` one or more; letters in between mean themselves."""
    with Bare(embedded).connect() as one, Bare(embedded).connect() as sender:
        one.subscribe(f"/topic/{pattern}", ack="auto")
        for name in ("a", "a.b", "a.c", "a.b.c"):
            sender.send(f"/topic/{name}", name.encode())
        assert [one.get("MESSAGE").body.decode() for _ in gets] == gets
        assert one.silent(0.1)


def test_who_is_refused_and_never_reads_is_ended(embedded: Broker, process: psutil.Process) -> None:
    """A client with megabytes unread is not kept for ever once it was told to go."""
    before = process.memory_info().rss
    with Bare(embedded).connect() as stuck, Bare(embedded).connect() as sender:
        stuck.subscribe("/topic/limits.stuck", ack="auto")
        for _ in range(40):
            sender.send("/topic/limits.stuck", b"x" * 1_000_000)
        mine = stuck.sock.getsockname()
        stuck.put("ACK", {"id": "no"})

        def there() -> bool:
            return any(one.raddr and one.raddr[1] == mine[1] for one in process.net_connections())

        assert there()
        assert wait_until(lambda: not there(), GREETING + 5)
    assert process.memory_info().rss - before < 40e6 + TOPIC_BACKLOG_EACH


def test_a_broker_without_descriptors_serves_those_it_has_and_then_the_others(
    fresh_broker: Callable[..., Broker],
) -> None:
    """Who finds no room waits, which costs nothing and is said once, and is served when somebody leaves."""
    broker = fresh_broker()
    process = psutil.Process(broker.pid)
    process.rlimit(psutil.RLIMIT_NOFILE, (64, 64))
    # who asked whether it is ready has left
    assert wait_until(lambda: not any(one.raddr for one in process.net_connections()), 60.0)
    with contextlib.ExitStack() as stack:
        room = 64 - process.num_fds()
        clients = [stack.enter_context(Bare(broker)) for _ in range(room + 20)]
        for one in clients:
            one.put("CONNECT", one.hello)
        served, waiting = clients[:room], clients[room:]
        for one in served:
            one.get("CONNECTED")
        began = spent(process)
        assert not select.select([one.sock for one in waiting], [], [], 3 * NO_ROOM)[0]
        served[0].confirm("SEND", {"destination": "/queue/limits.served"})
        assert spent(process) - began < 1
        said = broker.log.read_text().splitlines()
        assert [line for line in said if not line.startswith("ready ")] == [FULL]
        for one in served[: len(waiting)]:
            one.leave()
        for one in waiting:
            one.get("CONNECTED")


@pytest.mark.parametrize("scheme", ["stomp", "stomp+ssl"])
def test_who_has_read_what_was_too_much_is_read_again(
    scheme: str, embedded: Broker, pki_dir: Path
) -> None:
    """Who gets more in one turn than the broker sends at once is served when that has gone, over TLS too."""
    files = TLSFiles(pki_dir / "ca.pem", pki_dir / "alice.pem", pki_dir / "alice.key")
    body = bytes(2 * STUCK // SHARED)
    with Bare(embedded, tls=tls_context(files) if scheme == "stomp+ssl" else None).connect() as one:
        for name in range(SHARED):
            headers = {"destination": "/topic/limits.shared", "id": str(name), "ack": "auto"}
            one.put("SUBSCRIBE", headers)
        one.send("/topic/limits.shared", body, confirm=False)
        assert all(message.body == body for message in one.messages(SHARED))
        one.confirm("BEGIN", {"transaction": "served"})
