"""Programs of the site's beside the CA's key, however they end, and what a flood leaves to the others."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcshell.broker.config.rights_in_force import RightsInForce
from mcshell.config import load
from mcshell.enrolment import decision
from mcshell.enrolment import serving as serving_module
from mcshell.enrolment.decision import Decider, SigningDecision
from mcshell.enrolment.service import EnrolmentService
from mcshell.enrolment.serving import EnrolmentServer
from mcshell.enrolment.store import EnrolmentStore
from mcshell.errors import ConfigError
from mcshell.wire import destinations
from mcshell.wire.documents.enrolment import make_request, open_request
from mcshell.wire.stomp.connector import Connector
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.pki import Authority
    from mcshell.wire.documents.enrolment import EnrolmentRequest
    from tests.peers.brokers import Broker

KEY = Ed25519PrivateKey.generate()
pytestmark = pytest.mark.timeout(240)


def program(folder: Path, script: str, name: str = "decide") -> Path:
    """A program of the site's."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def request_of() -> EnrolmentRequest:
    """What a machine asks."""
    return open_request(make_request("web1", "node", KEY, None))


def test_what_a_program_leaves_behind_does_not_hold_its_verdict_back(
    tmp_path: Path, request_of: EnrolmentRequest
) -> None:
    """A program that has ended has decided, though what it has started has its output still open."""
    left = tmp_path / "left"
    decider = Decider(program(tmp_path, f"sleep 60 & echo $! > {left}; echo known"))
    try:
        assert decider(request_of) == SigningDecision("sign", "known")
    finally:
        os.kill(int(left.read_text()), 9)


def test_a_program_that_is_out_of_time_ends_with_all_that_it_started(
    tmp_path: Path, request_of: EnrolmentRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hand decides in its place, and nothing of it runs on."""
    monkeypatch.setattr(decision, "_PATIENCE", 0.5)
    left = tmp_path / "left"
    decider = Decider(program(tmp_path, f"sleep 60 & echo $! > {left}; wait"))
    assert decider(request_of) == SigningDecision("wait", "decide: it was not done within 0.5 s")
    number = int(left.read_text())
    assert wait_until(lambda: not _runs(number), 20)


def test_a_program_that_writes_without_end_is_ended(
    tmp_path: Path, request_of: EnrolmentRequest
) -> None:
    """A hand decides, long before its time is over, and its output fills neither memory nor disk."""
    said = Decider(program(tmp_path, "exec cat /dev/zero"))(request_of)
    assert said == SigningDecision("wait", "decide: it wrote more than 1 MiB")


def test_a_program_is_the_file_that_was_said(
    tmp_path: Path, request_of: EnrolmentRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`./decide` is the one in this folder: no other on PATH has it decide."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "echo another")
    here = program(tmp_path, "echo here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert Decider(here.relative_to(tmp_path))(request_of) == SigningDecision("sign", "here")


def test_a_file_that_cannot_be_run_is_no_program(tmp_path: Path) -> None:
    """It is told at the start, not as the reason for which each machine waits."""
    path = program(tmp_path, "exit 0")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="decide is no program that can be run"):
        Decider(path)


def test_a_program_that_others_can_change_decides_nothing(
    tmp_path: Path, request_of: EnrolmentRequest
) -> None:
    """Who can write it would be the CA: it is refused at the start, and each time that it is asked."""
    path = program(tmp_path, "exit 0")
    decider = Decider(path)
    path.chmod(0o757)
    said = decider(request_of)
    assert said.verdict == "wait"
    assert "anyone can write it" in said.reason
    with pytest.raises(ConfigError, match="anyone can write it"):
        Decider(path)


def test_a_reload_that_leaves_a_broker_behind_is_done(tmp_path: Path, authority: Authority) -> None:
    """The rights are in force once the command has ended, though the broker has its output still open."""
    left = tmp_path / "left"
    reload = program(tmp_path, f"sleep 60 & echo $! > {left}", "reload")
    rights = RightsInForce(tmp_path, authority, load(), [str(reload)])
    done = threading.Thread(target=rights.bring_up_to_date, daemon=True)
    done.start()
    try:
        assert wait_until(lambda: not done.is_alive(), 20)
    finally:
        os.kill(int(left.read_text()), 9)


def _runs(number: int) -> bool:
    try:
        status = Path(f"/proc/{number}/stat").read_text(encoding="ascii")
        return status.rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def serving(
    authority: Authority, broker: Broker, decide: Callable[[EnrolmentRequest], SigningDecision]
) -> Iterator[tuple[EnrolmentServer, EnrolmentService, Connector]]:
    """The CA's service at a broker, and a machine's connection to it."""
    ready = threading.Event()
    with EnrolmentStore(authority.directory) as store, _link(broker) as machine:
        service = EnrolmentService(authority, store, decide=decide)
        server = EnrolmentServer(service, _link(broker), ["enrolling"])
        thread = threading.Thread(target=server.serve, args=(ready.set,))
        thread.start()
        try:
            assert ready.wait(30)
            machine.start(30)
            yield server, service, machine
        finally:
            server.stop()
            thread.join()


def _link(broker: Broker) -> Connector:
    return Connector([broker.url], user=broker.user, passcode=broker.passcode)


def test_who_is_decided_about_is_told_while_others_wait(
    authority: Authority, embedded: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many at once whom a slow program decides about the first hear of it before the last are asked about."""
    monkeypatch.setattr(serving_module, "_TURN", 0.4)
    asked: list[str] = []
    told_after: list[int] = []

    def decide(request: EnrolmentRequest) -> SigningDecision:
        asked.append(request.name)
        time.sleep(0.2)  # what a slow program takes
        return SigningDecision("sign")

    class Heard:
        def put(self, _: object, /) -> None:
            told_after.append(len(asked))

    with serving(authority, embedded, decide) as (server, service, machine):
        token = service.new_token("web*", "node", time.time() + 600, 50)
        machine.subscribe(destinations.enrolled("enrolling"), Heard(), ack="auto")
        for number in range(12):
            key = Ed25519PrivateKey.generate()
            request = make_request(f"web{number}", "node", key, token)
            machine.send(destinations.enrolment("enrolling"), request.dump())
        assert wait_until(lambda: bool(told_after), 60)
        assert told_after[0] < 12
        assert wait_until(lambda: len(told_after) == 12, 60)
        assert len(asked) == len(set(asked)) == 12
        server.stop()


def test_a_service_that_is_to_end_asks_about_nobody_more(
    authority: Authority, embedded: Broker
) -> None:
    """SIGTERM while a slow program is asked waits for that one answer, not for all of the group."""
    asked: list[str] = []

    def decide(request: EnrolmentRequest) -> SigningDecision:
        asked.append(request.name)
        server.stop()
        return SigningDecision("sign")

    with serving(authority, embedded, decide) as (server, service, machine):
        token = service.new_token("web*", "node", time.time() + 600, 50)
        requests = [make_request(f"web{n}", "node", KEY, token).dump() for n in range(20)]
        for one in requests:
            machine.send(destinations.enrolment("enrolling"), one)
        assert wait_until(lambda: bool(asked), 60)
    assert len(asked) == 1


def test_a_flood_fills_no_memory(authority: Authority, embedded: Broker) -> None:
    """While the CA is busy so many requests wait as there is room for, and none that is too large to be one."""
    begun, go_on = threading.Event(), threading.Event()

    def decide(_: EnrolmentRequest) -> SigningDecision:
        begun.set()
        go_on.wait(60)
        return SigningDecision("wait")

    with serving(authority, embedded, decide) as (server, _, machine):
        topic = destinations.enrolment("enrolling")
        machine.send(topic, make_request("web1", "node", KEY, None).dump())
        assert begun.wait(60)
        try:
            for number in range(3000):
                machine.send(topic, b"%d" % number)
            receipt = machine.send(topic, bytes(1 << 20), receipt=True)
            assert receipt is not None
            receipt.wait(60)
            assert wait_until(lambda: server.dropped == 1001, 60), server.dropped
        finally:
            go_on.set()
