"""What a CA that takes another's place may do, and what whoever else would be one may not."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mcshell import private
from mcshell.config import PKISettings
from mcshell.enrolment.machine import renewal, renewed
from mcshell.errors import ConfigError, Reason, Rejected, UsageError
from mcshell.pki import Authority, rotation
from mcshell.pki.realm import realm_of
from mcshell.wire.documents.enrolment import EnrolmentMessage, seal_answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.enrolment.service import EnrolmentService
    from mcshell.wire.documents.enrolment import EnrolmentAnswer


@pytest.fixture
def machine(authority: Authority, tmp_path: Path) -> PKISettings:
    """A machine whose certificate is to be renewed, by age."""
    began = time.time() - 60
    cert, key = authority.issue("web1", "node", tmp_path, not_before=began, lifetime=100)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.ca_pem)
    return PKISettings(ca=ca, cert=cert, key=key)


def ask(service: EnrolmentService, machine: PKISettings) -> EnrolmentAnswer:
    """It renews."""
    _, cert, key = machine.files()
    request = renewal(cert, key, "node", "web1")
    _, sealed = service.receive(request)
    return renewed(machine, request, sealed, "node", "web1")


def trusted(machine: PKISettings) -> list[x509.Certificate]:
    """Whom the machine trusts."""
    return x509.load_pem_x509_certificates(machine.files()[0].read_bytes())


def test_who_renews_is_told_of_each_step(
    authority: Authority, service: EnrolmentService, machine: PKISettings
) -> None:
    """The new CA comes, signs, and the old one goes; the fleet stays the same one."""
    old, realm = authority.certificate, realm_of(authority.ca_pem)
    new = authority.introduce().certificate
    ask(service, machine)
    assert trusted(machine) == [old, new]
    authority.switch()
    assert ask(service, machine).state == "signed"  # at once: its CA signs no more
    assert trusted(machine) == [new, old]
    mine = x509.load_pem_x509_certificate(machine.files()[1].read_bytes())
    mine.verify_directly_issued_by(new)
    authority.retire()
    answer = ask(service, machine)
    assert (answer.state, answer.reason) == (
        "refused",
        "too_often: more than half of its life is left",
    )
    assert trusted(machine) == [new, old]  # a refusal changes nothing
    assert realm_of(authority.ca_pem) == realm


def test_a_ca_that_is_gone_goes_and_others_stay(
    authority: Authority, service: EnrolmentService, machine: PKISettings, tmp_path: Path
) -> None:
    """Another that somebody has put into the file is his to take away."""
    old, other = authority.certificate, Authority.init(tmp_path / "other").certificate
    ca, cert, key = machine.files()
    ca.write_bytes(ca.read_bytes() + other.public_bytes(Encoding.PEM))
    new = authority.introduce().certificate
    ask(service, machine)
    assert trusted(machine) == [old, new, other]
    authority.switch()
    authority.retire(force=True)
    began = time.time() - 60
    authority.issue("web1", "node", tmp_path, renew=True, not_before=began, lifetime=100)
    assert (cert, key) == machine.files()[1:]
    assert ask(service, machine).state == "signed"
    assert trusted(machine) == [new, other]


def forged(case: str, authority: Authority, other: Authority) -> Callable[..., EnrolmentMessage]:
    """An answer of a broker that would be the CA: with his own one beside ours."""

    def make(answer: EnrolmentAnswer, sealed: EnrolmentMessage) -> EnrolmentMessage:
        his = replace(answer, ca=answer.ca + other.ca_pem)
        return {
            "unsigned": seal_answer(his, None),
            "signed by himself": seal_answer(his, None, other.sign),
            "with the signature of the true one": replace(
                seal_answer(his, None), signatures=sealed.signatures
            ),
            "about another request": seal_answer(
                replace(answer, request="0" * 64), None, authority.sign
            ),
            "a refusal": seal_answer(replace(answer, state="refused"), None),
        }[case]

    return make


@pytest.mark.parametrize(
    "case",
    [
        "unsigned",
        "signed by himself",
        "with the signature of the true one",
        "about another request",
        "a refusal",
    ],
)
def test_nobody_else_brings_a_ca(
    authority: Authority, service: EnrolmentService, machine: PKISettings, tmp_path: Path, case: str
) -> None:
    """What none of the CAs that are trusted has signed changes no file, whatever it says."""
    other = Authority.init(tmp_path / "other")
    ca, cert, key = machine.files()
    request = renewal(cert, key, "node", "web1")
    answer, sealed = service.receive(request)
    before = ca.read_bytes(), cert.read_bytes()
    with pytest.raises(Rejected) as refusal:
        renewed(machine, request, forged(case, authority, other)(answer, sealed), "node", "web1")
    assert refusal.value.reason in (Reason.BAD_SIGNATURE, Reason.UNBOUND)
    assert (ca.read_bytes(), cert.read_bytes()) == before
    assert renewed(machine, request, sealed, "node", "web1").state == "signed"


@given(st.lists(st.binary(min_size=32, max_size=600), max_size=4), st.binary(max_size=50))
def test_a_message_reads_back_as_it_was(signatures: list[bytes], body: bytes) -> None:
    """With as many signatures as there may be; who adds anything to them has sent no message."""
    message = EnrolmentMessage(body, "", tuple(one.hex() for one in signatures))
    assert EnrolmentMessage.load(message.dump()) == message
    head, _, rest = message.dump().partition(b"\n")
    for odd in (b" ", b",", b" ab", b"," + b"0" * 64 + b"z", b",00" * 5):
        with pytest.raises(Rejected):
            EnrolmentMessage.load(head + odd + b"\n" + rest)


def test_the_steps_come_in_their_order(authority: Authority) -> None:
    """Each says what is missing: a second CA, a CA less, certificates of the new one."""
    for step in (authority.switch, authority.retire):
        with pytest.raises(UsageError, match="has one CA: mcshell pki rotate begin"):
            step()
    authority.issue_pem("web1", "node")
    authority.introduce()
    with pytest.raises(UsageError, match="two CAs already"):
        authority.introduce()
    authority.switch()
    with pytest.raises(UsageError, match="that signs have: node web1"):
        authority.retire()
    authority.issue_pem("web1", "node", renew=True)
    authority.retire()
    assert [one["status"] for one in authority.listing()] == ["retired", "valid"]
    names = {path.name for path in authority.directory.iterdir()}
    assert names == {"ca.key", "ca.pem", "ca.retired.pem", "crl.pem", "issued.jsonl"}


def test_what_was_revoked_stays_so_under_either(authority: Authority) -> None:
    """Each CA's list has what it has issued itself, before the change, meanwhile and after."""
    serials = {}
    for name in ("old1", "old2"):
        serials[name] = x509.load_pem_x509_certificate(authority.issue_pem(name, "node")[0])
    authority.revoke("old1")
    authority.introduce()
    authority.switch()
    serials["new1"] = x509.load_pem_x509_certificate(authority.issue_pem("new1", "node")[0])
    for name in ("old2", "new1"):
        authority.revoke(name)
    again = Authority.open(authority.directory)
    again.publish()
    lists = [
        x509.load_pem_x509_crl(part + b"-----END X509 CRL-----\n")
        for part in again.crl_pem.split(b"-----END X509 CRL-----\n")[:-1]
    ]
    found = [{entry.serial_number for entry in one} for one in lists]
    number = {name: one.serial_number for name, one in serials.items()}
    assert found == [{number["new1"]}, {number["old1"], number["old2"]}]


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", ["introduce", "switch", "retire"])
def test_a_kill_on_the_way_leaves_a_ca_that_goes_on(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever file was written last: it opens, signs, and the step can be done (again)."""
    if step != "introduce":
        authority.introduce()
    if step == "retire":
        authority.switch()
    kept = {path.name: path.read_bytes() for path in authority.directory.iterdir()}
    written = private.replace_file
    for count in range(9):
        for path in authority.directory.iterdir():
            path.unlink()
        for name, content in kept.items():
            (authority.directory / name).touch(mode=0o600)
            (authority.directory / name).write_bytes(content)
        left = count

        def replace_file(path: Path, content: bytes, mode: int) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            written(path, content, mode)

        for module in (rotation, __import__("mcshell.pki.authority", fromlist=["authority"])):
            monkeypatch.setattr(module, "replace_file", replace_file)
        with suppress(Killed):
            getattr(Authority.open(authority.directory), step)()
        monkeypatch.undo()
        again = Authority.open(authority.directory)
        again.issue_pem(f"web{count}", "node")
        again.publish()
        with suppress(UsageError):
            getattr(again, step)()
        after = Authority.open(authority.directory)
        assert len(after.cas) == (1 if step == "retire" else 2)
        after.publish()
        if left:
            break
    assert count > 1 or step == "switch"


def test_what_somebody_has_written_into_the_file_goes_nowhere(
    authority: Authority, service: EnrolmentService, machine: PKISettings
) -> None:
    """A comment in ca.pem, of whatever letters, is in no answer, and makes no other fleet."""
    pem, realm = authority.ca_pem, realm_of(authority.ca_pem)
    file = authority.directory / "ca.pem"
    file.write_bytes("# die CA für alle\n".encode() + file.read_bytes())
    assert authority.ca_pem == pem
    assert ask(service, machine).state == "signed"
    authority.introduce()
    assert realm_of(authority.ca_pem) == realm


def test_what_is_no_ca_is_said(authority: Authority) -> None:
    """A key of nobody's, a file that is none."""
    (authority.directory / "ca.pem").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        Authority.open(authority.directory)
