"""The process that checks signatures beside a client: what it calls good, and what becomes of it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mcshell.children import python_environment
from mcshell.client.messaging import signature_process
from mcshell.client.messaging.signature_process import SignatureProcess
from mcshell.pki.authority import Authority
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, sealed
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.stomp.transport import Delivery
from tests.peers.certificates import rsa_leaf
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = 4
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA."""
    return Authority.init(tmp_path_factory.mktemp("checks") / "pki", "mcs")


@pytest.fixture(scope="module")
def signers(authority: Authority) -> list[Signer]:
    """Of a node with a key of ours, and of one with an RSA key."""
    ours = Signer.from_pem(*authority.issue_pem("web1", "node"))
    rsa = rsa_leaf(authority.directory, authority.certificate, "web2")
    return [ours, Signer.from_pem(*rsa)]


@pytest.fixture
def verifier(authority: Authority, signers: list[Signer]) -> Verifier:
    """Which has seen both certificates."""
    found = Verifier(authority.ca_pem)
    for signer in signers:
        found.examine(signer.certificate, now=time.time())
    return found


@pytest.fixture
def checks(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignatureProcess]:
    """One that sends small groups, too, and to which three of `FULL` are a backlog."""
    monkeypatch.setattr(signature_process, "_FEW", 1)
    monkeypatch.setattr(signature_process, "_BACKLOG", 3 * FULL)
    with closing(SignatureProcess(verifier, lambda _one: False)) as found:
        yield found


def delivery(
    signer: Signer,
    body: bytes,
    *,
    said: bytes | None = None,
    signature: str | None = None,
    certificate: str | None = None,
) -> Delivery:
    """A message, in which something else may stand than was signed."""
    message = sealed(body, signer)
    headers = {
        SIGNATURE: message.headers[SIGNATURE] if signature is None else signature,
        CERTIFICATE: message.headers[CERTIFICATE] if certificate is None else certificate,
    }
    return Delivery("/queue/x", body if said is None else said, headers, "1", "1", 1)


def begun(checks: SignatureProcess, group: list[Delivery]) -> None:
    """Bring it so much that it starts, and has been asked about `group`."""
    while checks._process is None:
        assert not checks.ask(group)
    assert checks.ask(group)


def test_only_what_a_key_has_signed_is_good(
    checks: SignatureProcess, signers: list[Signer], authority: Authority
) -> None:
    """Of any algorithm; another's, a changed, an unknown, a huge or no signature is for `verify`."""
    ours, rsa = signers
    stranger = Signer.from_pem(*authority.issue_pem("web3", "node"))
    large = b"x" * (signature_process._LARGE + 1)
    group = [
        delivery(ours, b"one"),
        delivery(rsa, b"two"),
        delivery(ours, b"one", said=b"two"),
        delivery(rsa, b"one", said=b"two"),
        delivery(ours, b"one", certificate=rsa.certificate),
        delivery(rsa, b"one", certificate=ours.certificate),
        delivery(stranger, b"one"),
        delivery(ours, b"one", signature=""),
        delivery(ours, b"one", signature="é\udc80"),
        delivery(ours, b"one", signature="A" * 5000),
        delivery(ours, b"one", certificate="A" * 10_000),
        delivery(ours, b"one", certificate="\udc80"),
        delivery(ours, large),
        Delivery("/queue/x", b"one", {}, "1", "1", 1),
        delivery(ours, b""),
    ]
    begun(checks, group)
    assert list(checks.answer()) == [1, 1, *[0] * 12, 1]


def test_two_groups_are_answered_in_their_order(
    checks: SignatureProcess, signers: list[Signer]
) -> None:
    """The second may be asked about before the first is answered, each of the largest size."""
    good = [delivery(signers[1], b"%d" % number) for number in range(400)]
    bad = [delivery(signers[1], b"one", said=b"two")] * 400
    begun(checks, good)
    assert checks.ask(bad)
    assert checks.answer() == b"\1" * 400
    assert checks.ask(good)
    assert checks.answer() == bytes(400)
    assert checks.answer() == b"\1" * 400


def test_it_starts_for_a_backlog_alone(
    checks: SignatureProcess, signers: list[Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups worth asking about start it, with a pause of the broker between; few replies do not."""
    monkeypatch.setattr(signature_process, "_FEW", FULL)
    full = [delivery(signers[0], b"one")] * FULL
    for group in [*[full[1:]] * 20, full, full, full[1:], full]:
        assert not checks.ask(group)
    assert checks._process is None
    assert not checks.ask(full)
    assert checks._process is not None
    assert checks.ask(full)
    assert checks.answer() == b"\1" * FULL


def test_a_program_with_many_files_open_has_it_too(
    checks: SignatureProcess, signers: list[Signer]
) -> None:
    """Its answers are read whatever the number of the descriptor is."""
    former, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(former, 2048), most))
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        full = [delivery(signers[0], b"one")] * FULL
        begun(checks, full)
        assert checks.answer() == b"\1" * FULL
    finally:
        for one in many:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (former, most))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_it_does_not_answer_is_not_good(
    checks: SignatureProcess,
    signers: list[Signer],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """It may die or hang: then nothing was checked, and the next backlog has another process."""
    full = [delivery(signers[0], b"one")] * FULL
    begun(checks, full)
    assert checks.answer() == b"\1" * FULL
    process = checks._process
    assert process is not None
    os.kill(process.pid, number)
    if number is signal.SIGKILL:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        monkeypatch.setattr(signature_process, "_PATIENCE", 0.1)
    if checks.ask(full):
        assert checks.answer() == bytes(FULL)
    assert checks._process is None
    assert process.returncode == -signal.SIGKILL
    monkeypatch.undo()
    monkeypatch.setattr(signature_process, "_FEW", 1)
    monkeypatch.setattr(signature_process, "_BACKLOG", 3 * FULL)
    begun(checks, full)
    assert checks.answer() == b"\1" * FULL


def test_it_ends_when_nothing_comes_any_more() -> None:
    """Idle, with its input's end, and not with Ctrl-C."""
    program = "from mcshell.pki import check_main as m; m._IDLE = {}; print(flush=True); m.main()"
    for idle, ends in ((0.1, True), (60.0, False)):
        process = subprocess.Popen(
            ["python", "-c", program.format(idle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=python_environment(os.environ),
        )
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            if ends:
                assert process.wait(60) == 0
                continue
            status = f"/proc/{process.pid}/status"

            def ignored(status: str = status) -> bool:
                with open(status) as file:  # noqa: PTH123
                    line = next(line for line in file if line.startswith("SigIgn"))
                return bool(int(line.split()[1], 16) >> signal.SIGINT - 1 & 1)

            assert wait_until(ignored, 60)
            process.send_signal(signal.SIGINT)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(60) == 0


def test_no_process_is_no_harm(
    checks: SignatureProcess,
    signers: list[Signer],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Where none can be started all is checked here."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    full = [delivery(signers[0], b"one")] * FULL
    for _ in range(9):
        assert not checks.ask(full)
