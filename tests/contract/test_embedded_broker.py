"""What only the embedded broker promises: its command line, its disk, its limits."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mcshell.broker import server
from mcshell.broker.enrolment import EnrolmentConnection, subnet
from mcshell.broker.server import Broker, BrokerConnection
from mcshell.errors import ConfigError
from mcshell.wire.destinations import ENROL_LOGIN
from mcshell.wire.stomp.frame import MAX_BODY, Frame, dump
from tests.peers.aio import AioConnection
from tests.peers.bare import Bare, Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOLD = 0.2
ROOT = Path(__file__).resolve().parents[2]
_DAMAGED = """
import sqlite3
with sqlite3.connect("messages.sqlite") as one:
    one.execute("CREATE TABLE another (id)")
    one.execute("PRAGMA user_version=1")
"""


def command(*options: object) -> list[str]:
    """The broker's command line."""
    return [sys.executable, "-m", "mcshell.broker", *map(str, options)]


def test_off_loopback_it_demands_tls(tmp_path):
    """Without TLS an address that others can reach is refused with one line and exit 64."""
    argv = command("--listen", "0.0.0.0:0", "--data", tmp_path)
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert ended.stderr.count("\n") == 1
    assert "TLS" in ended.stderr


@pytest.mark.parametrize("wrong", ["readable", "encrypted", "another's"])
def test_a_key_that_it_cannot_use_is_one_line(tmp_path, pki_dir, wrong):
    """One that others can read, or whose passphrase nobody is there to say, is named, and so is one of another."""
    key, said = tmp_path / "server.key", "server.key: others can read this secret"
    secret = (pki_dir / "server.key").read_bytes()
    if wrong == "encrypted":
        said = "the passphrase of "
        encryption = BestAvailableEncryption(b"x")
        private = load_pem_private_key(secret, None)
        secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    elif wrong == "another's":
        said = "server.key: the key is not the certificate's"
        secret = (pki_dir / "alice.key").read_bytes()
    key.write_bytes(secret)
    key.chmod(0o644 if wrong == "readable" else 0o600)
    argv = command("--listen", "127.0.0.1:0", "--data", tmp_path / "data")
    argv += ["--tls-cert", str(pki_dir / "server.pem"), "--tls-key", str(key)]
    ended = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (64, "", 1)
    assert said in ended.stderr


@pytest.mark.parametrize("said", ["user", "passcode", "empty passcode"])
def test_half_a_login_is_refused(tmp_path, said):
    """A passcode without a user, or a user without a passcode, would let in whoever comes."""
    secret = tmp_path / "broker.pass"
    secret.touch(mode=0o600)
    secret.write_text("\n" if said == "empty passcode" else "secret\n")
    options = [] if said == "passcode" else ["--user", "mcs"]
    options += [] if said == "user" else ["--passcode-file", secret]
    argv = command("--listen", "127.0.0.1:0", "--data", tmp_path / "data", *options)
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert "--user" in ended.stderr
    assert "--passcode-file" in ended.stderr


@pytest.mark.parametrize("listen", ["61613", "localhost:x", "localhost:99999", ":1", "::1:0"])
def test_an_address_that_is_none_is_refused(tmp_path, listen):
    """What is not HOST:PORT gets one line that says so."""
    argv = command("--listen", listen, "--data", tmp_path)
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 64
    assert "HOST:PORT" in ended.stderr


def test_it_says_where_it_serves_and_ends_on_sigterm(tmp_path):
    """With port 0 the line `ready` names the real port; SIGTERM ends it with exit 0."""
    argv = command("--listen", "127.0.0.1:0", "--data", tmp_path / "new" / "folder")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        word, _, address = process.stderr.readline().strip().partition(" ")
        assert word == "ready"
        assert int(address.rpartition(":")[2]) > 0
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_two_brokers_do_not_share_a_directory(embedded):
    """A second broker on the same data is refused: it would deliver everything twice."""
    argv = command("--listen", "127.0.0.1:0", "--data", embedded.directory / "data")
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 64
    assert "locked" in ended.stderr


def test_after_a_crash_only_what_was_in_flight_is_marked(fresh_broker):
    """Over kill -9 the broker knows which messages it had delivered: only those are marked."""
    broker = fresh_broker()
    with Bare(broker).connect() as one:
        one.subscribe("/queue/a", prefetch=2)
        for number in range(4):
            one.send("/queue/a", b"%d" % number, persistent=True)
        one.ack(one.messages(2)[0])
        one.messages(1)
        one.send("/queue/b", b"", persistent=True)  # its receipt says that the ACK was read
        broker.kill9()
    broker.restart()
    with Bare(broker).connect() as one:
        one.subscribe("/queue/a", ack="auto")
        got = [(frame.body, "redelivered" in frame.headers) for frame in one.messages(3)]
    assert got == [(b"1", True), (b"2", True), (b"3", False)]


def test_a_clock_put_back_between_two_runs_changes_no_order(fresh_broker, tmp_path):
    """What came while the clock was a day ahead stays before what comes once it is right."""
    clock = tmp_path / "ahead"
    clock.write_text("86400")
    broker = fresh_broker()
    broker.kill9()
    broker.more = {"PYTHONPATH": f"{ROOT / 'tests/peers/clock'}:{ROOT}", "TEST_CLOCK": str(clock)}
    for number in range(3):
        broker.restart()
        with Bare(broker).connect() as one:
            one.send("/queue/a", b"%d" % number, persistent=True)
        broker.kill9()
        clock.write_text("0")
    broker.restart()
    with Bare(broker).connect() as one:
        one.subscribe("/queue/a", ack="auto")
        assert [frame.body for frame in one.messages(3)] == [b"0", b"1", b"2"]


def test_what_is_given_back_keeps_its_place(embedded):
    """Two consumers that leave one after the other put what they held back where it was."""
    queue = "/queue/places"
    with Bare(embedded).connect() as one, Bare(embedded).connect() as other:
        for number in range(8):
            one.send(queue, b"%d" % number, persistent=True)
        one.subscribe(queue, prefetch=1)
        one.messages(1)
        other.subscribe(queue, prefetch=3)
        other.messages(3)
        one.subscribe(queue, prefetch=1)
        one.messages(1)  # so it holds 0 and 4, the other what is between
        for leaving in (other, one):
            leaving.confirm("DISCONNECT", {})
        with pytest.raises(Closed):
            one.get()
    with Bare(embedded).connect() as later:
        later.subscribe(queue)
        assert [frame.body for frame in later.messages(8)] == [b"%d" % n for n in range(8)]


def test_a_damaged_file_is_one_line(tmp_path):
    """A file that SQLite opens and cannot read ends the start with a line that names it, and 74."""
    subprocess.run([sys.executable, "-c", _DAMAGED], cwd=tmp_path, check=True, timeout=60)
    argv = command("--listen", "127.0.0.1:0", "--data", tmp_path)
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (74, 1), ended.stderr
    assert str(tmp_path / "messages.sqlite") in ended.stderr


def test_sigterm_keeps_what_is_persistent(fresh_broker):
    """A clean end keeps persistent messages and drops the others."""
    broker = fresh_broker()
    with Bare(broker).connect() as one:
        one.send("/queue/a", b"gone")
        one.send("/queue/a", b"kept", persistent=True)
    broker.restart()
    with Bare(broker).connect() as one:
        one.subscribe("/queue/a", ack="auto")
        assert [frame.body for frame in one.messages(1)] == [b"kept"]
        assert one.silent(TOLD)


def test_a_full_disk_confirms_nothing(tmp_path):
    """When the disk takes no more, the broker ends with 70 and a line instead of a receipt."""
    argv = command("--listen", "127.0.0.1:0", "--data", tmp_path)
    limited = ["sh", "-c", 'ulimit -f 400; exec "$@"', "sh", *argv]  # blocks of 512 bytes
    confirmed = 0
    with subprocess.Popen(limited, stderr=subprocess.PIPE, text=True) as run:
        port = int(run.stderr.readline().rpartition(":")[2])
        with Bare(_Where(port)).connect() as one, contextlib.suppress(Closed):
            for _ in range(100):
                one.send("/queue/a", b"x" * 20_000, persistent=True)
                confirmed += 1
        assert run.wait(30) == 70
        assert "disk" in run.stderr.read()
    assert 0 < confirmed < 100
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as run:
        port = int(run.stderr.readline().rpartition(":")[2])
        with Bare(_Where(port)).connect() as one:
            one.subscribe("/queue/a", ack="auto")
            assert len(one.messages(confirmed)) == confirmed
        run.terminate()
        assert run.wait(30) == 0


class _Where:
    """As much of a broker as a client without a login needs."""

    host, user, passcode = "127.0.0.1", "", ""

    def __init__(self, port: int) -> None:
        self.port = port


@contextlib.contextmanager
def in_a_thread(folder: Path, connection: Callable[..., BrokerConnection]) -> Iterator[_Where]:
    """A broker in a thread of its own, as a notebook may have one, until the end."""
    started: list[tuple[str, int]] = []
    ready = threading.Event()
    ends: list[Any] = []

    async def serve() -> None:
        broker = Broker(folder)
        started.append(await broker.start(connection=connection))
        end = asyncio.Event()
        ends.extend((asyncio.get_running_loop(), end))
        ready.set()
        await end.wait()
        await broker.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    try:
        yield _Where(started[0][1])
    finally:
        ends[0].call_soon_threadsafe(ends[1].set)
        thread.join(30)
    assert not thread.is_alive()


def test_it_runs_in_a_thread(tmp_path):
    """A notebook can run the broker in a thread of its own and stop it."""
    with in_a_thread(tmp_path, BrokerConnection) as where, Bare(where).connect() as one:
        one.subscribe("/queue/a", ack="auto")
        one.send("/queue/a", b"x", persistent=True)
        assert one.messages(1)[0].body == b"x"


def test_a_stranger_has_few_subscriptions(tmp_path):
    """Whoever reaches the port for enrolment may listen for an answer, and not hold memory by listening."""
    serves = functools.partial(EnrolmentConnection, passcode="secret")
    with (
        in_a_thread(tmp_path, serves) as where,
        Bare(where, user=ENROL_LOGIN, passcode=ENROL_LOGIN).connect() as one,
    ):
        for _ in range(EnrolmentConnection.most):
            one.subscribe("/topic/mcs.a.enrolled", ack="auto")
        with pytest.raises(Closed) as caught:
            one.subscribe("/topic/mcs.a.enrolled", ack="auto")
        assert "subscriptions" in caught.value.error.headers["message"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "192.0.2.1", False),
    ],
)
def test_a_host_that_has_many_addresses_of_one_subnet_is_one(one, other, same):
    """Who makes room for a machine that asks is who has the most, whatever addresses behind 64 bits he takes."""
    assert (subnet(one) == subnet(other)) is same


def test_a_queue_whose_messages_ended_is_forgotten(tmp_path, monkeypatch):
    """What nobody read and is too old leaves nothing, neither its message nor its queue's name."""
    monkeypatch.setattr(server, "SWEEP", 0.01)

    async def serve() -> list[str]:
        broker = Broker(tmp_path)
        await broker.start()
        soon = str(int(time.time() * 1000) + 50)
        for number in range(10):
            broker.checked({"destination": f"/queue/{number}", "expires": soon}, b"x")()
        broker.checked({"destination": "/queue/kept"}, b"x")()
        for _ in range(6000):
            if len(broker._queues) == 1:
                break
            await asyncio.sleep(0.01)
        left = list(broker._queues)
        await broker.stop()
        return left

    assert asyncio.run(serve()) == ["/queue/kept"]


def test_a_taken_port_is_a_config_error(tmp_path, embedded):
    """A port that somebody uses is named in the error."""

    async def start() -> None:
        await Broker(tmp_path).start("127.0.0.1", embedded.port)

    with pytest.raises(ConfigError, match=str(embedded.port)):
        asyncio.run(start())


class Shaking:
    """A client that has shaken hands, but for the last bytes, which go out with its CONNECT."""

    def __init__(self, broker, context):
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_hostname=broker.host)
        self.sock = socket.create_connection((broker.host, broker.tls_port), 30)
        self._until_done(self._tls.do_handshake)
        said = {"login": broker.user, "passcode": broker.passcode, "accept-version": "1.2"}
        self._tls.write(dump(Frame("CONNECT", {**said, "host": "/"})))

    def _until_done(self, work):
        while True:
            try:
                return work()
            except ssl.SSLWantReadError:
                if self._going.pending:
                    self.sock.sendall(self._going.read())
                self._coming.write(self.sock.recv(65536))

    def connect(self):
        """Send them."""
        self.sock.sendall(self._going.read())

    def answer(self):
        """What the broker says first."""
        return self._until_done(lambda: self._tls.read(9))


def test_what_comes_with_the_last_of_the_handshake_is_answered_in_tls(embedded, pki_dir):
    """Many who CONNECT in one segment with their Finished, at once: nothing goes out as plain text."""
    context = ssl.create_default_context(cafile=str(pki_dir / "ca.pem"))
    context.load_cert_chain(pki_dir / "alice.pem", pki_dir / "alice.key")
    with contextlib.ExitStack() as opened:
        clients = [Shaking(embedded, context) for _ in range(40)]
        for one in clients:
            opened.enter_context(one.sock)
        for one in clients:
            one.connect()
        assert [one.answer() for one in clients] == [b"CONNECTED"] * len(clients)


def test_tls_wants_a_certificate_of_the_ca(embedded, pki_dir):
    """The TLS port serves who shows a certificate of the CA, and nobody else."""
    context = ssl.create_default_context(cafile=str(pki_dir / "ca.pem"))
    with pytest.raises((Closed, OSError)), Bare(embedded, tls=context) as one:
        one.connect()
    context.load_cert_chain(pki_dir / "alice.pem", pki_dir / "alice.key")
    with Bare(embedded, tls=context).connect() as one:
        one.subscribe("/queue/tls", ack="auto")
        one.send("/queue/tls", b"x" * 300_000)
        assert len(one.messages(1)[0].body) == 300_000


def test_a_body_too_large_is_refused_when_it_is_announced(embedded):
    """A content-length over the limit gets ERROR before the body is sent."""
    with Bare(embedded).connect() as one:
        one.sock.sendall(b"SEND\ndestination:/queue/a\ncontent-length:%d\n\n" % (MAX_BODY + 1))
        with pytest.raises(Closed) as caught:
            one.get()
    assert str(MAX_BODY) in caught.value.error.headers["message"]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Frame("SEND", {"destination": "nowhere"}), "nowhere"),
        (Frame("SEND", {"destination": "/queue/a", "expires": "soon"}), "soon"),
        (Frame("SUBSCRIBE", {"destination": "/queue/a"}), "id"),
        (Frame("SUBSCRIBE", {"destination": "/queue/a", "id": "1", "ack": "never"}), "never"),
        (Frame("UNSUBSCRIBE", {"id": "7"}), "7"),
        (Frame("ACK", {"id": "7"}), "7"),
        (Frame("COMMIT", {"transaction": "t"}), "t"),
        (Frame("SEND", {"destination": "/queue/a", "transaction": "t"}), "t"),
        (Frame("MESSAGE", {"destination": "/queue/a"}), "MESSAGE"),
        (Frame("CONNECT", {}), "CONNECT"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_its_receipt(embedded, frame, words):
    """A frame that means nothing gets ERROR that names it and the receipt, and the end."""
    with Bare(embedded).connect() as one:
        one.put(frame.command, {**frame.headers, "receipt": "r"})
        with pytest.raises(Closed) as caught:
            one.get()
        assert words in caught.value.error.headers["message"]
        assert caught.value.error.headers["receipt-id"] == "r"
        with pytest.raises(Closed):
            one.get()


@pytest.mark.parametrize("wrong", ["destination", "expires", "an ACK twice"])
def test_a_transaction_with_a_frame_that_cannot_be_done_does_nothing(embedded, wrong):
    """COMMIT gets ERROR, and neither what was sent before that frame, nor what was acknowledged, is done."""
    name, within = uuid.uuid4().hex, {"transaction": "t"}
    with Bare(embedded).connect() as one, Bare(embedded).connect() as other:
        other.subscribe(f"/topic/{name}", ack="auto")
        one.subscribe(f"/queue/{name}")
        one.send(f"/queue/{name}", b"first", persistent=True)
        [first] = one.messages(1)
        one.put("BEGIN", within)
        one.send(f"/topic/{name}", b"x", within, confirm=False)
        one.send(f"/queue/{name}", b"x", within, confirm=False)
        one.ack(first, **within)
        if wrong == "an ACK twice":
            one.ack(first, **within)
        elif wrong == "expires":
            one.send(f"/queue/{name}", b"x", {"expires": "soon", **within}, confirm=False)
        else:
            one.send("nowhere", b"x", within, confirm=False)
        with pytest.raises(Closed):
            one.confirm("COMMIT", within)
        other.subscribe(f"/queue/{name}")
        other.send(f"/queue/{name}", b"last")
        assert [got.body for got in other.messages(2)] == [b"first", b"last"]
        assert not other.frames


def test_a_sender_cannot_forge_what_the_broker_says(embedded):
    """Headers that the broker itself sets are not taken over from a SEND."""
    forged = {"subscription": "9", "message-id": "9", "ack": "9", "redelivered": "true"}
    with Bare(embedded).connect() as one:
        id_ = one.subscribe("/queue/forged")
        one.send("/queue/forged", b"x", forged)
        headers = one.messages(1)[0].headers
        assert headers["subscription"] == id_
        assert "redelivered" not in headers
        assert headers["message-id"] == headers["ack"] != "9"


def test_a_file_that_is_deleted_under_it_loses_nothing(fresh_broker):
    """What it confirmed before and after is delivered when it has been killed and started again."""
    broker = fresh_broker()
    with Bare(broker).connect() as one:
        one.send("/queue/kept", b"before", persistent=True)
        for path in (broker.directory / "data").glob("messages.sqlite*"):
            path.unlink()
        one.send("/queue/kept", b"after", persistent=True)
    broker.kill9()
    broker.restart()
    with Bare(broker).connect() as one:
        one.subscribe("/queue/kept", ack="auto")
        assert [got.body for got in one.messages(2)] == [b"before", b"after"]


def test_nack_sets_a_message_aside(embedded):
    """A persistent message that is refused goes to /queue/DLQ, as ActiveMQ does it."""
    with Bare(embedded).connect() as one:
        one.subscribe("/queue/nack")
        one.subscribe("/queue/DLQ", ack="auto")
        one.send("/queue/nack", b"bad", persistent=True)
        one.ack(one.messages(1)[0], "NACK")
        [aside] = one.messages(1)
        assert (aside.body, aside.headers["destination"]) == (b"bad", "/queue/nack")


@pytest.mark.parametrize(("version", "value"), [("1.0", "a:b c\\"), ("1.1", "a:b\nc\\")])
def test_older_clients_read_the_headers_of_newer_ones(embedded, version, value):
    """A 1.1 client gets the same value, a 1.0 client a space for the line break."""
    destination = f"/queue/older.{version}"
    with Bare(embedded, version=version).connect() as old, Bare(embedded).connect() as new:
        old.subscribe(destination, ack="auto")
        new.send(destination, b"x", {"x": "a:b\nc\\"})
        assert old.messages(1)[0].headers["x"] == value


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
@pytest.mark.parametrize(
    "odd",
    [b"a\\nb:1", b"x:" + b"\r" * 60_000 + b"y", b"x:" + b":" * 60_000],
    ids=["a line break in a name", "carriage returns", "colons"],
)
def test_no_header_comes_between_a_queue_and_its_reader(embedded, version, odd):
    """Whatever one newer client may say, of any length that is taken, older ones get, and what follows."""
    destination = f"/queue/odd.{uuid.uuid4().hex}"
    with Bare(embedded, version=version).connect() as old, Bare(embedded).connect() as new:
        old.parser.allow(max_header=1 << 20)
        old.subscribe(destination, ack="auto")
        new.sock.sendall(b"SEND\ndestination:%b\n%b\n\nfirst\0" % (destination.encode(), odd))
        new.send(destination, b"second")
        assert [frame.body for frame in old.messages(2)] == [b"first", b"second"]


def test_a_stuck_topic_reader_costs_bounded_memory(embedded):
    """Of 200 MB to a topic a reader that never reads leaves some 16 MB in the broker, no more."""
    process = psutil.Process(embedded.pid)
    with Bare(embedded).connect() as stuck, Bare(embedded).connect() as sender:
        stuck.subscribe("/topic/stuck", ack="auto")
        before = process.memory_info().rss
        for _ in range(200):
            sender.send("/topic/stuck", b"x" * 1_000_000)
        assert process.memory_info().rss - before < 80e6


def test_ten_thousand_queues_are_cheap(embedded):
    """10,000 queues with a consumer each, on one connection, cost seconds and few megabytes."""
    process = psutil.Process(embedded.pid)

    async def many() -> None:
        before, started = process.memory_info().rss, time.monotonic()
        got: list[bytes] = []
        done = asyncio.Event()
        conn = await AioConnection.open(
            embedded.url, user=embedded.user, passcode=embedded.passcode
        )

        def take(delivery) -> None:
            got.append(delivery.body)
            conn.ack(delivery)
            if len(got) == 10_000:
                done.set()

        names = [f"/queue/many.{number}" for number in range(10_000)]
        await asyncio.gather(*(conn.subscribe(name, take) for name in names))
        for name in names:
            conn.send(name, b"x", persistent=True)
        await asyncio.wait_for(done.wait(), 60)
        grown = process.memory_info().rss - before
        await conn.close()
        assert grown < 60e6
        assert time.monotonic() - started < 60

    asyncio.run(many())


def test_a_client_that_never_greets_is_disconnected(embedded):
    """Who says nothing is closed after the time for CONNECT, also in TLS; heart-beats go on."""
    with Bare(embedded) as one, socket.create_connection((embedded.host, embedded.tls_port)) as two:
        two.sendall(b"CONNECT\n\n\0")  # no TLS: the handshake fails, there is never a client
        with pytest.raises(Closed):
            one.get(seconds=30)
    with Bare(embedded, heartbeat="0,1000").connect() as one:
        assert one.silent(3.0)
        assert one.heartbeats


def test_heart_beats_do_not_stop_a_broker_that_was_paused(fresh_broker):
    """After the broker itself stood still, clients that went on beating are kept."""
    broker = fresh_broker()
    with Bare(broker, heartbeat="1000,0").connect() as one:
        broker.pause()
        for _ in range(8):
            one.sock.sendall(b"\n")
            time.sleep(0.5)  # the pause has to be longer than two heart-beats
        broker.resume()
        one.send("/queue/a", b"x")


def test_noise_disconnects_only_who_makes_it(embedded):
    """Bytes that are not STOMP get ERROR; other connections do not notice."""
    with Bare(embedded).connect() as good, Bare(embedded) as bad:
        bad.sock.sendall(os.urandom(64).replace(b"\n", b"") + b"\n\n\0")
        with pytest.raises(Closed):
            bad.get()
        good.send("/queue/noise", b"x")


def test_what_one_read_brings_after_an_error_is_ignored(embedded, tmp_path: Path):
    """Frames behind a refused one in the same packet are not executed."""
    with Bare(embedded).connect() as one, Bare(embedded).connect() as reader:
        reader.subscribe("/queue/behind", ack="auto")
        send = Frame("SEND", {"destination": "/queue/behind"}, b"x")
        one.sock.sendall(dump(Frame("ACK", {"id": "no"})) + dump(send))
        with pytest.raises(Closed):
            one.get()
        assert reader.silent(TOLD)


def test_no_sequence_of_frames_upsets_it(fresh_broker):
    """3,000 frames of chance, sensible and not, leave no traceback and a broker that serves."""
    broker = fresh_broker()
    chance = random.Random(20261124)
    commands = "SEND SEND SUBSCRIBE UNSUBSCRIBE ACK NACK BEGIN COMMIT ABORT DISCONNECT CONNECT"
    values = {
        "destination": ["/queue/a", "/queue/b", "/topic/a", "/topic/*", "/topic/>", "/queue/", "x"],
        "id": ["1", "2", "3", ""],
        "ack": ["auto", "client", "client-individual", "client-individual", "odd"],
        "message-id": ["1", "x"],
        "transaction": ["t", "u"],
        "receipt": ["r"],
        "persistent": ["true", "false"],
        "expires": ["0", "1", "99999999999999", "-1", "9" * 40],
        "activemq.prefetchSize": ["0", "1", "100", "x"],
    }
    wanted = {"SEND": 0.05, "SUBSCRIBE": 0.1}  # how often a header stands where it disturbs
    sent = 0
    while sent < 3000:
        version = chance.choice(["1.0", "1.1", "1.2"])
        ends = contextlib.suppress(Closed, TimeoutError, ConnectionError)
        with Bare(broker, version=version).connect() as one, ends:
            for _ in range(chance.randrange(1, 30)):
                command = chance.choice(commands.split())
                headers = {
                    name: chance.choice(known)
                    for name, known in values.items()
                    if name in ("destination", "id") or chance.random() < wanted.get(command, 0.3)
                }
                sent += 1
                one.put(command, headers, b"x" * chance.randrange(3))
                if chance.random() < 0.2:
                    message = one.get(seconds=0.01)
                    if message.command == "MESSAGE" and "ack" in message.headers:
                        one.ack(message)
    with Bare(broker).connect() as one:
        one.subscribe("/queue/after", ack="auto")
        one.send("/queue/after", b"x", persistent=True)
        assert one.messages(1)[0].body == b"x"
    assert "Traceback" not in broker.log.read_text()
    broker.restart()
    assert "Traceback" not in broker.log.read_text()
