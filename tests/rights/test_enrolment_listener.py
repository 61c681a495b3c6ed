"""The port at which machines without a certificate ask for one: what they may there, and what not."""

from __future__ import annotations

import itertools
import ssl
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mcshell.broker.config.enrolment import PASSCODE_FILE
from mcshell.pki import Authority
from mcshell.pki.identity import uri_of
from mcshell.wire import destinations
from mcshell.wire.destinations import ENROL_LOGIN, ENROLMENT_SERVICE, ENROLMENT_VHOST
from tests.peers.bare import Bare, Closed
from tests.rights.conftest import KINDS
from tests.rights.test_rights import QUIET, read, refused, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rights.conftest import Guarded

pytestmark = pytest.mark.timeout(240)

ONLY_RABBITMQ = pytest.mark.parametrize("enrolling", KINDS[1:], indirect=True)
ONLY_ACTIVEMQ = pytest.mark.parametrize("enrolling", KINDS[:1], indirect=True)
_numbers = itertools.count(1)

# What each login may do: r, w; C is the collective. All else is for neither.
TABLE = {
    ENROL_LOGIN: {"/topic/mcs.C.enrol": "w", "/topic/mcs.C.enrolled": "r"},
    ENROLMENT_SERVICE: {"/topic/mcs.C.enrol": "r", "/topic/mcs.C.enrolled": "w"},
}
NOBODYS = (
    "/topic/mcs.C.broadcast",
    "/topic/mcs.C.registration",
    "/topic/mcs.other.enrol",
    "/topic/mcs.other.enrolled",
    "/topic/elsewhere",
    "/queue/mcs.C.enrol",
    "/queue/mcs.C.work.web1",
    "/queue/mcs.C.reply.cert~3dalice.s1",
    "/queue/elsewhere",
)
PATTERNS = [
    f"/{kind}/{name}"
    for kind in ("topic", "queue")
    for name in ("mcs.*.*", "mcs.>", "mcs.#", "#", ">", "*", "mcs.C.*", "mcs.*.enrol", "mcs.C.enr*")
]


def unknown(
    enrolling: Guarded,
    login: str = ENROL_LOGIN,
    passcode: str | None = None,
    *,
    host: str = ENROLMENT_VHOST,
    port: int | None = None,
) -> Bare:
    """A connection without a certificate, before CONNECT; by default to the port for enrolment."""
    if passcode is None:
        kept = enrolling.folder / "conf" / PASSCODE_FILE
        passcode = ENROL_LOGIN if login == ENROL_LOGIN else kept.read_text().strip()
    at = SimpleNamespace(
        host="127.0.0.1",
        port=0,
        tls_port=port or enrolling.enrol_port,
        user=login,
        passcode=passcode,
    )
    bare = Bare(at, tls=ssl.create_default_context(cafile=str(enrolling.folder / "ca.pem")))
    bare.hello["host"] = host
    return bare


@pytest.fixture
def machine(enrolling: Guarded) -> Iterator[Bare]:
    """A machine that has no certificate yet."""
    with unknown(enrolling) as bare:
        yield bare.connect()


@pytest.fixture
def service(enrolling: Guarded) -> Iterator[Bare]:
    """Who serves the CA."""
    with unknown(enrolling, ENROLMENT_SERVICE) as bare:
        yield bare.connect()


def _barred(attempt: Callable[[], object]) -> bool:
    """Whether the broker refused this, in whatever words."""
    try:
        attempt()
    except Closed as closed:
        error = closed.error
    else:
        return False
    assert error is not None, "closed without a word"
    return True


def _at(enrolling: Guarded, destination: str) -> str:
    return destination.replace(".C", f".{enrolling.fleet.collective}")


def test_a_machine_asks_and_is_answered(enrolling: Guarded, machine: Bare, service: Bare) -> None:
    """A request of 16 KiB reaches who serves the CA, and an answer of a mebibyte the machine."""
    c = enrolling.fleet.collective
    read(service, destinations.enrolment(c))
    read(machine, destinations.enrolled(c))
    write(machine, destinations.enrolment(c), b"?" * (16 << 10))
    assert service.get("MESSAGE").body == b"?" * (16 << 10)
    write(service, destinations.enrolled(c), b"!" * (1 << 20))
    assert machine.get("MESSAGE").body == b"!" * (1 << 20)


@pytest.mark.parametrize("way", ["read", "write"])
@pytest.mark.parametrize("login", [ENROL_LOGIN, ENROLMENT_SERVICE])
def test_nothing_else_is_allowed(enrolling: Guarded, login: str, way: str) -> None:
    """Of all destinations each login reads one and writes one; the broker refuses all else."""
    attempt = read if way == "read" else write
    found = {}
    for destination in {**TABLE[ENROL_LOGIN], **dict.fromkeys(NOBODYS)}:
        with unknown(enrolling, login) as bare:
            bare.connect()
            where = _at(enrolling, destination)
            found[destination] = not refused(lambda: attempt(bare, where))  # noqa: B023  # called at once
    allowed = {destination for destination, said in TABLE[login].items() if said == way[0]}
    assert {destination for destination, done in found.items() if done} == allowed


TEMPORARY = [
    ("SEND", {"destination": "/topic/mcs.C.enrol", "reply-to": "/temp-queue/mine"}),
    ("SEND", {"destination": "/temp-queue/mine"}),
    ("SUBSCRIBE", {"destination": "/temp-queue/mine", "id": "1"}),
    ("SUBSCRIBE", {"destination": "/temp-topic/mine", "id": "1"}),
]


@pytest.mark.parametrize(("command", "headers"), TEMPORARY)
def test_no_temporary_queue_is_made(
    enrolling: Guarded, machine: Bare, command: str, headers: dict[str, str]
) -> None:
    """A machine cannot make a queue that lasts as long as its connection."""
    where = {**headers, "destination": _at(enrolling, headers["destination"])}

    def attempt() -> None:
        machine.confirm(command, where, b"x" if command == "SEND" else b"")
        machine.get(seconds=10)  # ActiveMQ may say so a moment later

    assert _barred(attempt)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_hears_no_request(enrolling: Guarded, machine: Bare, pattern: str) -> None:
    """Whoever subscribes to a pattern gets nothing of what other machines ask."""
    c = enrolling.fleet.collective
    with unknown(enrolling) as spy:
        spy.connect()
        if _barred(lambda: read(spy, _at(enrolling, pattern))):
            return
        write(machine, destinations.enrolment(c), b"a request")
        assert spy.silent(QUIET)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_reaches_no_machine(enrolling: Guarded, machine: Bare, pattern: str) -> None:
    """What is sent to a pattern reaches neither who listens for answers, nor who comes later."""
    c = enrolling.fleet.collective
    read(machine, destinations.enrolled(c))
    with unknown(enrolling) as forger:
        forger.connect()
        _barred(lambda: write(forger, _at(enrolling, pattern), b"a forged answer"))
    with unknown(enrolling) as later:
        later.connect()
        read(later, destinations.enrolled(c))
        assert later.silent(QUIET)
    assert machine.silent(0.1)


NOT_LET_IN = [
    ("guest", "guest"),
    ("", ""),
    ("mcs", "mcs-secret"),
    ("alice", "guess"),
    ("mcshell://alice", "none"),
    (ENROL_LOGIN, "guess"),
    (ENROL_LOGIN, ""),
    (ENROLMENT_SERVICE, "guess"),
    (ENROLMENT_SERVICE, ""),
    (ENROLMENT_SERVICE, ENROL_LOGIN),
]


@pytest.mark.parametrize(("login", "passcode"), NOT_LET_IN)
@pytest.mark.parametrize("host", [ENROLMENT_VHOST, "/"])
def test_who_has_no_certificate_is_nobody_else(
    enrolling: Guarded, login: str, passcode: str, host: str
) -> None:
    """No other login, and none of the two without its passcode, comes in at either port."""
    for port in (enrolling.enrol_port, enrolling.port):
        assert not _comes_in(enrolling, login, passcode, host, port)


@pytest.mark.parametrize("host", [ENROLMENT_VHOST, "/"])
def test_a_name_of_the_fleet_is_no_login(enrolling: Guarded, host: str) -> None:
    """Whoever says a name from a certificate instead of showing it is refused, whatever the passcode."""
    for kind, name in (("operator", "alice"), ("node", "web1")):
        for login in (f"{kind}.{name}", uri_of(kind, name), name):
            for passcode in ("", "none", "undefined", login, "guess"):
                for port in (enrolling.enrol_port, enrolling.port):
                    assert not _comes_in(enrolling, login, passcode, host, port), login


@pytest.mark.parametrize("host", [ENROLMENT_VHOST, "/"])
def test_who_says_nothing_is_nobody(enrolling: Guarded, host: str) -> None:
    """Without login and passcode, or without CONNECT, nobody is let in at either port."""
    for port in (enrolling.enrol_port, enrolling.port):
        assert not _comes_in(enrolling, None, None, host, port)
        with suppress(OSError, Closed), unknown(enrolling, port=port) as bare:
            topic = destinations.enrolment(enrolling.fleet.collective)
            bare.confirm("SEND", {"destination": topic}, b"x")
            pytest.fail("what came before CONNECT was taken")


def test_the_two_logins_reach_nothing_of_the_fleet(enrolling: Guarded) -> None:
    """They do not come in where the fleet is: not at its virtual host, nor (ActiveMQ) at its port."""
    for login in TABLE:
        kept = unknown(enrolling, login)
        kept.sock.close()
        passcode = kept.hello["passcode"]
        if enrolling.kind == "rabbitmq":
            for port in (enrolling.enrol_port, enrolling.port):
                assert not _comes_in(enrolling, login, passcode, "/", port)
        else:
            assert not _comes_in(enrolling, login, passcode, "/", enrolling.port)


def test_the_fleet_has_no_right_among_the_machines(enrolling: Guarded) -> None:
    """A node or an operator is nobody where machines ask: it neither hears requests nor answers."""
    c = enrolling.fleet.collective
    for who in ("alice", "web1"):
        for attempt, topic in ((read, "enrolment"), (write, "enrolled"), (write, "enrolment")):
            where = getattr(destinations, topic)(c)
            try:
                with enrolling.enter(who, host=ENROLMENT_VHOST, port=enrolling.enrol_port) as bare:
                    assert refused(lambda: attempt(bare, where))  # noqa: B023  # called at once
            except Closed:
                continue


def test_the_certificate_of_another_ca_is_refused(enrolling: Guarded, tmp_path: Path) -> None:
    """A certificate need not be shown, but one that is shown has to be the fleet's. (At its port for
    enrolment ActiveMQ asks for none, so none is shown.)
    """
    Authority.init(tmp_path / "other").issue("alice", "operator", out=tmp_path)
    tls = ssl.create_default_context(cafile=str(enrolling.folder / "ca.pem"))
    tls.load_cert_chain(tmp_path / "alice.pem", tmp_path / "alice.key")
    ports = [enrolling.port, enrolling.enrol_port][: 2 if enrolling.kind == "rabbitmq" else 1]
    for port in ports:
        with pytest.raises((OSError, Closed)):
            _shows(tls, port)


def _shows(tls: ssl.SSLContext, port: int) -> None:
    at = SimpleNamespace(
        host="127.0.0.1", port=0, tls_port=port, user=ENROL_LOGIN, passcode=ENROL_LOGIN
    )
    with Bare(at, tls=tls) as bare:
        bare.hello["host"] = ENROLMENT_VHOST
        bare.connect()


def _comes_in(
    enrolling: Guarded, login: str | None, passcode: str | None, host: str, port: int
) -> bool:
    try:
        with unknown(enrolling, login or "", passcode or "", host=host, port=port) as bare:
            if login is None:
                del bare.hello["login"], bare.hello["passcode"]
            bare.connect()
    except (OSError, Closed):
        return False
    return True


@ONLY_RABBITMQ
def test_a_reload_takes_the_logins_away_and_brings_them(enrolling: Guarded) -> None:
    """Without a port nothing of it is left in the broker that runs; with one again all is there."""
    enrolling.configure("--enrol-port", "0")
    enrolling.broker.command("reload")
    assert ENROLMENT_VHOST not in {row["name"] for row in enrolling.ctl("list_vhosts", "name")}
    assert not {row["user"] for row in enrolling.ctl("list_users")} & TABLE.keys()
    enrolling.configure()
    enrolling.broker.command("reload")
    for login in TABLE:
        with unknown(enrolling, login) as bare:
            bare.connect()
