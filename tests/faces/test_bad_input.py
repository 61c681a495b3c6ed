"""Bad input is one line that says what was meant, and exit 64; bad brokers say so in time."""

from __future__ import annotations

import shlex
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcshell.commands.grammar.parser import split_line
from tests.peers.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)

BAD = [
    ("pnig", "did you mean ping"),
    ("rpc rpcutl ping", "did you mean rpcutil?"),
    ("rpc rpcutil pnig", "did you mean ping?"),
    ("rpc rpcutil get_fact fct=os", "did you mean fact?"),
    ("rpc rpcutil get_fact", "needs the input fact"),
    ("rpc rpcutil get_fact os", "input=value is meant"),
    ("rpc rpcutil get_fact fact=a fact=b", "given twice"),
    ("rpc process signal pid=many signal=TERM", "pid"),
    ("rpc rpcutil ping --vai direct", "did you mean --via"),
    ("rpc rpcutil ping --via drect", "did you mean direct?"),
    ("rpc rpcutil ping -S 'os=Debian andd role=web'", "and"),
    ("find -F 'os<>1'", "unknown operator '<>'"),
    ("find -S 'os=Debian nad role=web'", "nad"),
    ("find --nodes nowhere.txt", "there is no such"),
    ("doc rpcutl", "did you mean rpcutil?"),
    ("doc rpcutil.pnig", "did you mean ping?"),
    ("replies zzzz", "zzzz"),
    ("config shwo", "did you mean show?"),
    ("rpc rpcutil 'ping", "no closing quotation"),
]


@pytest.mark.parametrize(("line", "words"), BAD[:-1])
def test_the_command_line_refuses_it(fleet: Fleet, line: str, words: str) -> None:
    """Exit 64, nothing on standard output, one line with the culprit on standard error."""
    done = fleet.cli(*split_line(line))
    assert done.returncode == 64, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("mcshell: ")
    assert words in done.stderr


def test_the_prompt_refuses_it_and_lives_on(fleet: Fleet) -> None:
    """Each bad line is one line on standard error; `-e` ends there with 64."""
    for line, words in BAD:
        done = fleet.cli("-e", f"{line}\nagents")
        assert (done.returncode, done.stdout) == (64, ""), line
        assert done.stderr.count("\n") == 1, done.stderr
        if not line.startswith("config"):  # which is the command line's own
            assert words in done.stderr


def test_bad_input_needs_no_broker(fleet: Fleet) -> None:
    """What the grammar, a DDL or a filter refuses is refused before anyone connects."""
    (port,) = free_ports(1)
    for line, words in BAD[:-4]:
        done = fleet.cli(*split_line(line), MCSHELL_BROKER_URLS=f"stomp://127.0.0.1:{port}")
        assert done.returncode == 64, done.stderr
        assert words in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "rpc rpcutil ping -F rol=web",
        "ping -F rol=web",
        "ping -S 'linux and (rol=web or os.name=x)'",
        "facts rol",
    ],
)
def test_a_fact_that_nobody_has_is_pointed_out(fleet: Fleet, line: str) -> None:
    """Nobody matches, or nobody has it: the names that come near are those that the nodes have said."""
    done = fleet.cli("-e", f"find; {line}")
    assert "no known node has a fact 'rol' (did you mean role" in done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ping -F role=wbe", "no known node has role=wbe (did you mean web?)"),
        ("find -S 'role=wbe and webserver'", "no known node has role=wbe (did you mean web?)"),
        ("find -C websever", "no known node has a class 'websever' (did you mean webserver"),
        ("rpc rpcutil ping -S websever", "no known node has a class 'websever' (did you mean"),
        ("find -A rpcutl", "no known node has an agent 'rpcutl' (did you mean rpcutil?)"),
        ("explain wbe1", "no known node is called 'wbe1' (did you mean web1"),
    ],
)
def test_what_nobody_is_or_has_is_pointed_out(fleet: Fleet, line: str, told: str) -> None:
    """A value, a class, an agent or a name that no known node has is told beside those written alike."""
    done = fleet.cli("-e", f"find; {line}")
    assert told in done.stderr


def test_whoever_is_there_is_not_corrected(fleet: Fleet) -> None:
    """Where each part is true of some node, or is a pattern, nobody is said to have mistyped."""
    for words in (("-F", "role=web", "-C", "dbserver"), ("-C", "/websever/"), ("-F", "role=/wbe/")):
        done = fleet.cli("-e", f"find; {shlex.join(('find', *words))}")
        assert done.returncode == 1
        assert "no known node" not in done.stderr


@pytest.mark.parametrize("ttl", ["0s", "181d"])
def test_a_ttl_that_no_node_takes_is_refused(fleet: Fleet, ttl: str) -> None:
    """Nodes refuse it without a reply, so the client does, and says how long is taken."""
    words = ["rpc", "rpcutil", "ping", "--via", "queue", "--ttl", ttl, "-I", "web1"]
    done = fleet.cli(*words)
    assert (done.returncode, done.stdout) == (64, "")
    assert "180 d, node.max_ttl" in done.stderr


def test_a_bad_configuration_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    """An unknown key and a missing file are one line and exit 64."""
    bad = tmp_path / "bad.toml"
    bad.write_text("[broker]\nurl = 'x'\n")
    done = fleet.cli("ping", "--config", str(bad))
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert "did you mean urls" in done.stderr
    done = fleet.cli("ping", "--config", str(tmp_path / "none.toml"))
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)


@pytest.fixture
def impostor() -> Iterator[int]:
    """A port behind which something speaks, but not STOMP."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refused(fleet: Fleet, **environ: str) -> str:
    """What `ping` says when the broker is no use, within 5 seconds of asking."""
    began = time.monotonic()
    done = fleet.cli("ping", **environ)
    took = time.monotonic() - began
    assert done.returncode == 70
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert took < 5.0 + 15.0  # five to give up, and a loaded machine's start of Python
    return done.stderr


def test_a_broker_that_is_down_says_so(fleet: Fleet) -> None:
    """Nobody listens: the system's reason, and where."""
    (port,) = free_ports(1)
    said = refused(fleet, MCSHELL_BROKER_URLS=f"stomp://127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in said
    assert "refused" in said.lower()


def test_a_refused_login_says_so(fleet: Fleet) -> None:
    """The broker's own words about the login come through."""
    said = refused(fleet, MCSHELL_PASSCODE="wrong")
    assert "login" in said.lower() or "passcode" in said.lower() or "user" in said.lower(), said


def test_what_does_not_speak_stomp_is_named(fleet: Fleet, impostor: int) -> None:
    """Another protocol behind the port is recognised as such."""
    said = refused(fleet, MCSHELL_BROKER_URLS=f"stomp://127.0.0.1:{impostor}")
    assert "STOMP" in said


def test_what_says_nothing_is_given_up(fleet: Fleet, mute: int) -> None:
    """Silence behind an open port ends after five seconds."""
    said = refused(fleet, MCSHELL_BROKER_URLS=f"stomp://127.0.0.1:{mute}")
    assert f"127.0.0.1:{mute}" in said
