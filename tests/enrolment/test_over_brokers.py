"""Machines come to their certificates over a broker: the CA's service answers, and nobody carries a file."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcshell.errors import ConnectError, MCShellError
from mcshell.wire import destinations
from mcshell.wire.destinations import ENROL_LOGIN, ENROLMENT_VHOST
from mcshell.wire.documents.enrolment import make_request
from mcshell.wire.stomp.connector import Connector
from mcshell.wire.stomp.endpoint import TLSFiles
from tests.enrolment.site import KINDS, Site
from tests.peers.fleet import ROOT
from tests.peers.processes import wait_until
from tests.peers.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)
RULE = """\
rule: base
where: role=web
jobs:
  - job: first
    ask: mark.once
    inputs: {{file: {file}, text: first}}
"""
NAMES = ("web1.example.com", "web2.example.com")


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_way_of_a_new_machine(kind: str, tmp_path: Path) -> None:
    """It enrols, registers, the supervisor brings its rule's job, the job runs, the operator sees it."""
    marks = tmp_path / "marks"
    with Site(kind, tmp_path) as site:
        site.serve("--days", "7")
        rule = tmp_path / "rule.yaml"
        rule.write_text(RULE.format(file=marks))
        site.run("supervisor", "sign", str(rule), "-o", str(tmp_path / "rules"), config="alice")
        site.supervise()
        token = site.token("web*", "--count", "3")
        for name in NAMES:
            assert site.enroll(name, token=token)["state"] == "signed"
            site.node(name)
        assert wait_until(lambda: len(lines(marks)) == len(NAMES), 90), site.children["sup1"].tail()
        with site.client() as alice:
            assert wait_until(lambda: set(alice.discover().sender) == {*NAMES}, 60)
            assert set(alice.rpc("rpcutil", "ping").frame().sender) == {*NAMES}
            assert wait_until(lambda: set(alice.jobs.list().state) == {"ok"}, 60)
            jobs = alice.jobs.list()
        assert list(zip(jobs.sender, jobs.agent, strict=True)) == [(name, "mark") for name in NAMES]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on the embedded broker, whose CA answers."""
    with Site("embedded", tmp_path_factory.mktemp("site")) as one:
        one.serve()
        yield one


def lines(file: Path) -> list[str]:
    """Those of a file that may not be there yet."""
    return file.read_text().splitlines() if file.exists() else []


REFUSED = {
    "used up": (["web*"], ["web10", "web11"], "the token is used up"),
    "ended": (["web*", "--ends", "1s"], ["web12"], "the token has ended"),
    "of another kind": (["web*", "--kind", "operator"], ["web13"], "the token is for operators"),
    "for other names": (["db*"], ["web14"], "the token is for db*"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_token_is_not_good_for_is_refused_with_its_reason(site: Site, case: str) -> None:
    """A token that is used up, has ended, is for another kind or for other names."""
    words, names, why = REFUSED[case]
    token = site.token(*words)
    if case == "ended":
        time.sleep(1.1)
    *before, last = names
    for name in before:
        assert site.enroll(name, token=token)["state"] == "signed"
    row = site.enroll(last, token=token, code=1)
    assert row["state"] == "refused"
    assert why in row["reason"]
    assert not (site.machine(last) / f"{last}.pem").exists()


def test_a_name_that_lives_or_was_revoked_waits_for_a_hand(site: Site) -> None:
    """Whoever has a token cannot become a machine that is there, nor one that was taken back."""
    token = site.token("app*", "--count", "9")
    for name in ("app1", "app2"):
        site.enroll(name, token=token)
    site.run("pki", "revoke", "app2", *site.pki, "--yes")
    for name, why in (("app1", "has a certificate"), ("app2", "was revoked")):
        thief = f"thief-of-{name}"
        words = ("node", "enroll", name, "--broker", site.listener, "--wait", "2s", "--json")
        more = ("--out", str(site.machine(thief)), "--token-file", str(token))
        (row,) = site.json(*words, *more, code=5)
        assert row["state"] == "waiting"
        assert why in row["reason"]


def test_whoever_has_no_token_waits_until_a_hand_has_signed(site: Site) -> None:
    """The same request, said again, brings the certificate once somebody has signed it."""
    fingerprint = site.token("x*").read_text().rpartition("-")[2]
    row = site.enroll("db1", "--ca", fingerprint, "--wait", "2s", code=5)
    assert (row["state"], row["reason"]) == ("waiting", "no token vouches for it")
    (waits,) = [
        one for one in site.json("pki", "requests", *site.pki, "--json") if one["name"] == "db1"
    ]
    site.run("pki", "sign", waits["request"], *site.pki, "--out", str(site.folder))
    assert site.enroll("db1", "--ca", fingerprint)["state"] == "signed"
    assert not (site.machine("db1") / "node.toml").exists()  # nothing vouches for one


def test_a_ca_whose_disk_is_full_says_so_and_goes_on(tmp_path: Path) -> None:
    """The machine waits, with the reason; once there is room the same process signs."""
    with small_disk(tmp_path / "disk", "1m") as disk:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "ca").symlink_to(disk.path)
        with Site("embedded", tmp_path / "site") as one:
            service, token = one.serve(), one.token("web*")
            disk.fill()
            row = one.enroll("web1", "--wait", "20s", token=token, code=5)
            assert (row["state"], row["reason"]) == (
                "waiting",
                "the CA cannot sign now: its log says why",
            )
            disk.empty()
            assert one.enroll("web1", token=token)["state"] == "signed"
            assert service.running
            assert "disk is full" in service.tail()


def test_a_machine_whose_clock_is_wrong_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificate is not good yet by it: the row has the time here, and no answer is said to be lacking."""
    token, clock = site.token("late*"), site.folder / "clock"
    clock.write_text("-86400")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}/tests/peers/clock:{ROOT}")
        patch.setenv("TEST_CLOCK", str(clock))
        row = site.enroll("late1", "--wait", "20s", token=token, code=5)
    assert "an answer is not taken: cert_expired" in row["reason"]
    assert f"it is {time.strftime('%Y-%m', time.gmtime(time.time() - 86400))}" in row["reason"]
    assert site.enroll("late1", token=token)["state"] == "signed"


def test_a_program_decides(site: Site, tmp_path: Path) -> None:
    """It signs one without a token, holds one with a token, refuses another, and sees the request."""
    program = tmp_path / "decide"
    program.write_text(
        f"#!/bin/sh\ncat > {tmp_path}/$2.csr\ncase $1.$2 in node.good*) exit 0;; node.bad*) echo no such"
        " machine; exit 2;; *) echo ask the owner; exit 1;; esac\n"
    )
    program.chmod(0o755)
    folder = tmp_path / "site"
    folder.mkdir()
    with Site("embedded", folder) as other:
        other.serve("--decide", str(program))
        token = other.token("*", "--count", "9")
        fingerprint = token.read_text().rpartition("-")[2]
        assert other.enroll("good1", "--ca", fingerprint)["state"] == "signed"
        row = other.enroll("bad1", token=token, code=1)
        assert (row["state"], row["reason"]) == ("refused", "no such machine")
        row = other.enroll("new1", "--wait", "2s", token=token, code=5)
        assert (row["state"], row["reason"]) == ("waiting", "ask the owner")
        assert "BEGIN CERTIFICATE REQUEST" in (tmp_path / "new1.csr").read_text()


def test_another_fleets_broker_and_ca_are_no_use_to_an_impostor(site: Site, tmp_path: Path) -> None:
    """A machine that is led to another CA's service takes nothing of what that answers."""
    folder = tmp_path / "site"
    folder.mkdir()
    with Site("embedded", folder) as impostor:
        impostor.serve()
        token = site.token("lost*")
        words = ("node", "enroll", "lost1", "--broker", impostor.listener, "--wait", "7s", "--json")
        (row,) = site.json(*words, "--out", str(tmp_path / "m"), "--token-file", str(token), code=5)
        assert row["state"] == "waiting"
        assert {one.suffix for one in (tmp_path / "m").iterdir()} == {".key", ".request"}
    assert site.enroll("lost1", token=token)["state"] == "signed"


def test_a_flood_keeps_no_machine_out(site: Site) -> None:
    """While a stranger sends 10,000 requests, true ones of other keys and junk, a machine enrols."""
    token = site.token("wet*")
    stranger = Connector(
        [site.listener],
        user=ENROL_LOGIN,
        passcode=ENROL_LOGIN,
        tls=TLSFiles(None),
        vhost=ENROLMENT_VHOST,
    )
    with stranger:
        stranger.start(20)
        topic = destinations.enrolment("mcs")
        junk = [b"mcshell-enrolment -\n{}", b"", b"\0" * 20_000]
        key = Ed25519PrivateKey.generate()
        true = [make_request(f"stranger{n}", "node", key, None).dump() for n in range(2000)]
        began = time.monotonic()
        for number in range(10_000):
            stranger.send(topic, junk[number % 3] if number % 5 else true[number // 5])
        assert site.enroll("wet1", token=token)["state"] == "signed"
    assert time.monotonic() - began < 100
    assert site.children["pki"].running


def test_one_host_that_keeps_all_connections_keeps_nobody_out(site: Site) -> None:
    """Where as many are connected as may be, room is made at the cost of who has the most."""
    token = site.token("fair*")
    with ExitStack() as kept:
        other = kept.enter_context(logged_in(site, "127.0.0.1"))
        for _ in range(520):
            kept.enter_context(logged_in(site, "127.0.0.2"))
        assert site.enroll("fair1", "--wait", "60s", token=token)["state"] == "signed"
        other.sendall(b"SEND\ndestination:/topic/mcs.mcs.enrol\nreceipt:r\n\nx\0")
        assert other.recv(4096).startswith(b"RECEIPT")


def logged_in(site: Site, host: str) -> ssl.SSLSocket:
    """A connection of a host's to the listener, which asks nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = "127.0.0.1", site.enrol_port
    link = context.wrap_socket(socket.create_connection(address, 20, source_address=(host, 0)))
    words = f"CONNECT\naccept-version:1.2\nlogin:{ENROL_LOGIN}\npasscode:{ENROL_LOGIN}\n\n\0"
    link.sendall(words.encode())
    assert link.recv(4096).startswith(b"CONNECTED")
    return link


def test_a_machine_can_say_nothing_else_there(site: Site) -> None:
    """The listener takes a request and gives answers: no other topic, no queue, no pattern, no login."""
    for user, passcode in (("", ""), ("alice", "x"), ("enrolment-ca", "enrol")):
        with pytest.raises(ConnectError, match="login refused"):
            entered(site, user, passcode)
    for destination in (
        "/topic/mcs.mcs.enrolled",
        "/topic/mcs.mcs.broadcast",
        "/queue/mcs.mcs.enrol",
        "/queue/mcs.mcs.work.web1",
        "/topic/mcs.*.enrol",
    ):
        with entered(site) as link, pytest.raises(MCShellError):
            say(link, destination, b"x")
    for destination in (
        "/topic/mcs.mcs.enrol",
        "/topic/mcs.>",
        "/topic/mcs.*.enrolled",
        "/queue/mcs.mcs.enrolled",
        "/topic/mcs.mcs.registration",
    ):
        with entered(site) as link, pytest.raises(MCShellError):
            link.subscribe(destination, SimpleQueue(), ack="auto")
    with entered(site) as link, pytest.raises(MCShellError):
        say(link, destinations.enrolment("mcs"), b"x" * 40_000)


def say(link: Connector, destination: str, body: bytes) -> None:
    """Send, and wait until the broker has taken it."""
    receipt = link.send(destination, body, receipt=True)
    assert receipt is not None
    receipt.wait(20)


def entered(site: Site, user: str = ENROL_LOGIN, passcode: str = ENROL_LOGIN) -> Connector:
    """A connection to the listener."""
    link = Connector([site.listener], user=user, passcode=passcode, tls=TLSFiles(None))
    link.start(20)
    return link
