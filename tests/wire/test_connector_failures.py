"""What the connector says when the other end is no broker that it can use."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcshell.errors import ConfigError, ConnectError, UnknownBroker, UsageError
from mcshell.wire.stomp.connector import ConnectionState, Connector, TLSFiles
from mcshell.wire.stomp.endpoint import parse_url, reason_of, tls_context
from mcshell.wire.stomp.frame import Frame
from tests.peers.processes import no_threads, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[Callable[[bytes | None], str]]:
    """A server that answers the first bytes with the given ones (None: it closes) and then waits."""
    sockets: list[socket.socket] = []

    def serve(listener: socket.socket, answer: bytes | None) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                sockets.append(peer)
                peer.recv(4096)
                if answer is None:
                    peer.close()
                elif answer:
                    peer.sendall(answer)

    def factory(answer: bytes | None = b"") -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        return f"stomp://127.0.0.1:{listener.getsockname()[1]}"

    yield factory
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def reason(*urls: str, timeout: float = 5.0) -> str:
    """Why none of these takes us; it must not take much longer than the timeout to say so."""
    before, began = threading.active_count(), time.monotonic()
    with pytest.raises(ConnectError) as caught:
        Connector(urls).start(timeout)
    assert time.monotonic() - began < 2 * timeout
    assert threading.active_count() <= before + 1, "the attempt left threads"
    return caught.value.reason


def test_a_server_that_says_nothing(server: Callable) -> None:
    """It accepts and is silent: an error within 5 s, where stomp.py would wait for ever."""
    assert "said nothing" in reason(server(b""))


def test_a_server_that_speaks_http(server: Callable) -> None:
    """Its own words are in the error."""
    text = reason(server(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n<html>"))
    assert text == "does not speak STOMP: it said 'HTTP/1.1 400 Bad Request'"


def test_a_server_that_closes(server: Callable) -> None:
    """A connection that is closed without a word gets a hint."""
    assert "closed the connection (is it a TLS port?)" in reason(server(None))


def test_a_server_that_speaks_tls(server: Callable) -> None:
    """A TLS alert in answer to plain text is recognised."""
    assert "stomp+ssl:// is meant" in reason(server(b"\x15\x03\x03\x00\x02\x02\x0a"))


def test_a_server_without_tls(server: Callable, pki_dir: Path) -> None:
    """Plain text in answer to a handshake is recognised, too."""
    url = server(b"ERROR\nmessage:what is this\n\n\0").replace("stomp", "stomp+ssl")
    with pytest.raises(ConnectError, match="without it, stomp:// is meant"):
        Connector([url], tls=TLSFiles(pki_dir / "ca.pem")).start(5.0)


def test_a_server_of_old_stomp(server: Callable) -> None:
    """A broker that only knows STOMP 1.1 is refused by version."""
    text = reason(server(b"CONNECTED\nversion:1.1\nserver:ActiveMQ/5\n\n\0"))
    assert text == "speaks STOMP 1.1; 1.2 is needed"


def test_a_head_of_millions_of_lines(server: Callable) -> None:
    """A broker that makes a gigabyte of names out of 40 MB of headers is none: they are not read."""
    lines = "".join(f"{number:x}:\n" for number in range(150_000)).encode()
    began = time.process_time()
    assert "does not speak STOMP" in reason(server(b"CONNECTED\n" + lines + b"\n\0"))
    assert "does not speak STOMP" in reason(
        server(b"CONNECTED\na:" + b"\\c" * (20 << 20)), timeout=60
    )
    assert time.process_time() - began < 5


def test_a_broker_that_nobody_knows(server: Callable) -> None:
    """A broker whose dialect we don't know is refused by its name."""
    url = server(b"CONNECTED\nversion:1.2\nserver:Apollo/1.7\n\n\0")
    with pytest.raises(UnknownBroker) as caught:
        Connector([url]).start()
    assert caught.value.server == "Apollo/1.7"


def test_an_error_in_place_of_connected(server: Callable) -> None:
    """The message and the body of ERROR are the reason."""
    text = reason(server(b"ERROR\nmessage:Bad CONNECT\n\nVirtual host '/' access denied\0"))
    assert text == "Bad CONNECT: Virtual host '/' access denied"


@pytest.mark.parametrize("first", ["RECEIPT\nreceipt-id:1", "SEND\ndestination:/queue/q"])
def test_another_frame_in_place_of_connected(server: Callable, first: str) -> None:
    """A server that begins with another frame than CONNECTED is named by it, whatever comes after."""
    said = f"{first}\n\n\0CONNECTED\nversion:1.2\nserver:mcshell/1\n\n\0"
    text = f"said {first.split(maxsplit=1)[0]} where CONNECTED is meant"
    assert reason(server(said.encode()), timeout=2.0) == text


@pytest.mark.parametrize("beats", ["x", "-1,5", "1", "", f"1{'0' * 30},5", "5,1\x1b[2J"])
def test_heart_beats_that_are_none(
    server: Callable, caplog: pytest.LogCaptureFixture, beats: str
) -> None:
    """A broker whose heart-beats are no two numbers is refused in a line that says so, without a traceback."""
    said = f"CONNECTED\nversion:1.2\nserver:mcshell/1\nheart-beat:{beats}\n\n\0"
    text = reason(server(said.encode()))
    assert text.startswith("said heart-beat ")
    assert text.endswith(" where two numbers of milliseconds are meant")
    assert text.isprintable()
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_receipt_for_nothing(server: Callable, caplog: pytest.LogCaptureFixture) -> None:
    """A RECEIPT that does not say of what ends the connection with that reason, without a traceback."""
    said = b"CONNECTED\nversion:1.2\nserver:mcshell/1\n\n\0RECEIPT\n\n\0"
    ended: list[str] = []
    connection = Connector([server(said)], on_state=lambda state: ended.append(state.reason))
    try:
        connection.start(5.0)
        assert wait_until(lambda: any("a RECEIPT without receipt-id" in one for one in ended), 60)
    finally:
        connection.close()
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_refused_port() -> None:
    """Nobody listens: the system's reason, at once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert reason(f"stomp://127.0.0.1:{unused.getsockname()[1]}") == "connection refused"


def test_several_brokers_share_the_time_and_each_says_why(server: Callable) -> None:
    """With a silent broker and an HTTP server both reasons come, within the one timeout."""
    silent, http = server(b""), server(b"HTTP/1.0 200 OK\r\n\r\n")
    text = reason(silent, http, timeout=3.0)
    assert "HTTP/1.0" in text
    assert f"{silent}: accepted the connection but said nothing" in text


def test_tls_with_a_server_that_never_shakes_hands(server: Callable, pki_dir: Path) -> None:
    """The handshake is bounded as well."""
    url = server(b"").replace("stomp", "stomp+ssl")
    with pytest.raises(ConnectError, match="TLS handshake"):
        Connector([url], tls=TLSFiles(pki_dir / "ca.pem")).start(1.0)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://a:1", "unknown scheme 'http'"),
        ("stomp+tls://a:1", "did you mean stomp+ssl"),
        ("stomp://", "is meant"),
        ("stomp://a:x", "is meant"),
        ("stomp://a:70000", "is meant"),
        ("stomp://a:0", "is meant"),
        ("stomp://a:1/path", "is meant"),
        ("a:61613", "is meant"),
        ("stomp://user:word@a:1", "holds no login"),
    ],
)
def test_urls_that_are_none(url: str, said: str) -> None:
    """An URL that cannot be used says what is meant, and never repeats a password."""
    with pytest.raises(UsageError) as caught:
        parse_url(url)
    assert said in str(caught.value)
    assert "word" not in str(caught.value)


def test_urls_have_ports() -> None:
    """The ports are STOMP's own unless they are given; IPv6 hosts are written in brackets."""
    assert parse_url("stomp://a").port == 61613
    assert parse_url("stomp+ssl://a").port == 61614
    six = parse_url("stomp+ssl://[::1]:5")
    assert (six.host, six.port, six.tls) == ("::1", 5, True)


def test_settings_that_cannot_be_used(pki_dir: Path) -> None:
    """TLS without a CA, with a missing file or a wrong key, and a login with a line break."""
    url = "stomp+ssl://127.0.0.1:1"
    bad = [
        {},
        {"tls": TLSFiles(pki_dir / "nothing.pem")},
        {"tls": TLSFiles(pki_dir / "ca.pem", pki_dir / "alice.pem", pki_dir / "node1.key")},
        {"tls": TLSFiles(pki_dir / "ca.pem"), "passcode": "a\nlogin:root"},
    ]
    for options in bad:
        with pytest.raises(ConfigError):
            Connector([url], **options)
    with pytest.raises(UsageError, match="no broker"):
        Connector([])


@pytest.mark.parametrize(
    ("ca", "cert", "key", "said"),
    [
        ("empty", None, None, "empty: no PEM certificate in it"),
        ("ca.pem", "empty", "alice.key", "empty with .*: no PEM in it, or it is cut off"),
        ("ca.pem", "alice.pem", "empty", "empty: no PEM in it, or it is cut off"),
        ("ca.pem", "alice.pem", "node1.key", "node1.key: the key is not the certificate's"),
    ],
)
def test_files_that_tls_does_not_take_are_told_in_words(
    pki_dir: Path, tmp_path: Path, ca: str, cert: str | None, key: str | None, said: str
) -> None:
    """What is wrong with which file, and no code of OpenSSL's."""
    (tmp_path / "empty").touch(mode=0o600)
    files = [name and (tmp_path if name == "empty" else pki_dir) / name for name in (ca, cert, key)]
    with pytest.raises(ConfigError, match=said) as caught:
        tls_context(TLSFiles(*files))
    assert "_ssl" not in str(caught.value)


def test_the_same_failure_again_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """A broker that is away is told of at its first, second, fourth … failure; the others are for --debug."""
    caplog.set_level(logging.DEBUG, logger="mcshell")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        connection = Connector([f"stomp://127.0.0.1:{unused.getsockname()[1]}"])
        thread = threading.Thread(target=lambda: given_up(connection))
        thread.start()
        assert wait_until(lambda: len(tries(caplog)) >= 5, 60)
        connection.close()
        thread.join(60)
    assert [record.levelname for record in tries(caplog)][:5] == [
        "WARNING",
        "WARNING",
        "DEBUG",
        "WARNING",
        "DEBUG",
    ]


def given_up(connection: Connector) -> None:
    """Wait for a broker until the connection is closed."""
    with pytest.raises(ConnectError):
        connection.start(None)


def tries(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was said of each try."""
    return [record for record in caplog.records if "next try in" in record.getMessage()]


def test_the_reason_in_an_error_frame() -> None:
    """ActiveMQ's stack trace is left out; RabbitMQ's particulars are taken."""
    trace = b"java.lang.SecurityException: User name is invalid.\n\tat org.apache.x\n\tat y\n"
    assert reason_of(Frame("ERROR", {"message": "User name is invalid."}, trace)) == (
        "User name is invalid."
    )
    assert reason_of(Frame("ERROR", {"message": "x", "a": "b"}, b"y\nz")) == "x: y"
    assert reason_of(Frame("ERROR", {}, b"")) == "ERROR without a reason"


def test_a_brokers_words_are_a_line_without_anything_that_acts() -> None:
    """What a broker says ends up at terminals and in logs: escapes, line ends and megabytes do not."""
    said = reason_of(
        Frame("ERROR", {"message": "a\n2026 INFO b\x1b[2J\u202e"}, b"\x1b]0;x\x07" * 10**6)
    )
    assert said.startswith(r"a\n2026 INFO b\x1b[2J\u202e: \x1b]0;x\x07")
    assert said.isprintable()
    assert len(reason_of(Frame("ERROR", {"message": "x" * 10**6}))) <= 1000


def test_the_log_of_stomp_is_ours(server: Callable) -> None:
    """What stomp.py logs arrives in our tree, once; the passcode is in none of it."""
    records: list[logging.LogRecord] = []
    ours = logging.getLogger("mcshell.wire.stomp")
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]  # the shortest handler
    ours.addHandler(handler)
    theirs = logging.getLogger("stomp.py")
    theirs.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    try:
        with pytest.raises(ConnectError):
            Connector([server(None)], user="me", passcode="s3cret").start()
        theirs.warning("a word of stomp.py")
    finally:
        ours.removeHandler(handler)
        ours.setLevel(logging.NOTSET)
        theirs.setLevel(logging.NOTSET)
    messages = [record.getMessage() for record in records]
    assert messages.count("a word of stomp.py") == 1
    assert "s3cret" not in "".join(messages)


def test_a_machine_without_a_thread_is_connected_again_once_it_has_one(server: Callable) -> None:
    """A connection that breaks while no thread can begin is tried again, and the reason is told."""
    said = b"CONNECTED\nversion:1.2\nserver:mcshell/1\n\n\0ERROR\nmessage:bye\n\n\0"
    states: list[ConnectionState] = []
    connection = Connector([server(said)], on_state=states.append)
    try:
        connection.start(5.0)
        with no_threads():
            assert wait_until(lambda: any("new thread" in one.reason for one in states), 60)
        before = len(states)
        assert wait_until(lambda: any(one.connected for one in states[before:]), 60)
    finally:
        connection.close()
