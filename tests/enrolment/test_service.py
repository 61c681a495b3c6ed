"""Enrolment, both sides of it on real files: who gets a certificate, who waits, who is refused."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.broker.config.site import server_files
from mcshell.enrolment.machine import EnrollingMachine
from mcshell.enrolment.service import EnrolmentService
from mcshell.enrolment.store import EnrolmentStore, StoredRequest
from mcshell.errors import ConfigError, MCShellError, Reason, Rejected, UsageError
from mcshell.pki.authority import Authority
from mcshell.pki.identity import identity_of
from mcshell.wire.documents.enrolment import (
    EnrolmentAnswer,
    EnrolmentMessage,
    EnrolmentToken,
    make_request,
    open_request,
    read_token,
    seal_answer,
    vouches,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcshell.pki import Kind

KEY = Ed25519PrivateKey.generate()
pytestmark = pytest.mark.timeout(240)


def begin(folder: Path, name: str, kind: Kind, vouching: EnrolmentToken | None) -> EnrolmentMessage:
    """What a machine asks."""
    return EnrollingMachine(folder=folder, name=name, kind=kind, token=vouching).begin()


def accept(
    folder: Path,
    name: str,
    kind: Kind,
    answer: EnrolmentMessage,
    *,
    token: EnrolmentToken | None,
    ca: str,
) -> EnrolmentAnswer:
    """It takes what it is told."""
    machine = EnrollingMachine(
        folder=folder, name=name, kind=kind, token=token, cas=frozenset({ca})
    )
    return machine.accept(answer)


def token(
    service: EnrolmentService,
    matching: str = "web*",
    kind: Kind = "node",
    ends: float = 60.0,
    count: int = 50,
) -> EnrolmentToken:
    """A token, good for so many seconds."""
    return service.new_token(matching, kind, time.time() + ends, count)


def enrolled(
    service: EnrolmentService, folder: Path, name: str, vouching: EnrolmentToken
) -> EnrolmentAnswer:
    """A machine asks, and takes what it is told."""
    _, answer = service.receive(begin(folder, name, "node", vouching))
    return accept(folder, name, "node", answer, token=vouching, ca=vouching.ca)


def test_machines_are_enrolled_by_token_and_by_hand(
    service: EnrolmentService, authority: Authority, tmp_path: Path
) -> None:
    """Twenty of them; each has its own key's certificate, and no key is anywhere else."""
    vouching = token(service, count=10)
    for number in range(10):
        name = f"web{number}"
        assert enrolled(service, tmp_path / name, name, vouching).state == "signed"
    requests = {f"db{n}": begin(tmp_path / f"db{n}", f"db{n}", "node", None) for n in range(10)}
    for one in requests.values():
        assert service.receive(one)[0].state == "waiting"
    assert [one.name for one in service.waiting()] == list(requests)
    signed = service.sign(["db0"]) + service.sign([], matching="db*")
    for one, answer in signed:
        accept(tmp_path / one.name, one.name, "node", answer, token=None, ca=vouching.ca)
    assert service.waiting() == []
    carried = b"".join(
        file.read_bytes() for file in authority.directory.iterdir() if file.name != "ca.key"
    )
    for name in [*requests, *(f"web{n}" for n in range(10))]:
        folder = tmp_path / name
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        assert (identity_of(certificate).kind, identity_of(certificate).name) == ("node", name)
        files = {file.name for file in folder.iterdir()}
        assert files == {f"{name}.key", f"{name}.pem", "ca.pem", "crl.pem"}
        assert (folder / f"{name}.key").stat().st_mode & 0o777 == 0o600
        secret = (folder / f"{name}.key").read_bytes().splitlines()[1]
        assert secret not in carried


def test_a_request_that_comes_twice_counts_once(service: EnrolmentService, tmp_path: Path) -> None:
    """An answer that was lost is given again, the same certificate; the machine asks the same again."""
    vouching = token(service, count=1)
    first = begin(tmp_path, "web1", "node", vouching)
    assert begin(tmp_path, "web1", "node", vouching) == first
    answers = [service.receive(first)[0] for _ in range(3)]
    assert {one.state for one in answers} == {"signed"}
    assert len({one.certificate for one in answers}) == 1


@pytest.mark.parametrize("why", ["cert_expired", "revoked"])
def test_a_request_whose_certificate_is_good_no_more_waits_for_a_hand(
    service: EnrolmentService, authority: Authority, tmp_path: Path, why: str
) -> None:
    """Of a machine that comes for its answer too late: else it would get for ever what it cannot take."""
    vouching = token(service)
    first = begin(tmp_path, "web1", "node", vouching)
    if why == "cert_expired":
        with EnrolmentStore(authority.directory) as store:
            EnrolmentService(authority, store, lifetime=1.0).receive(first)
        time.sleep(2.1)  # its last second is over
    else:
        service.receive(first)
        authority.revoke("web1")
    said, _ = service.receive(begin(tmp_path, "web1", "node", vouching))
    assert (said.state, said.certificate) == ("waiting", b"")
    assert f"it was signed before: {why}" in said.reason
    ((_, answer),) = service.sign(["web1"])
    found = accept(tmp_path, "web1", "node", answer, token=vouching, ca=vouching.ca)
    assert found.state == "signed"


def used_up(service: EnrolmentService) -> EnrolmentToken:
    """A token for one machine, which has been."""
    found = token(service, count=1)
    service.receive(make_request("web9", "node", Ed25519PrivateKey.generate(), found))
    return found


@pytest.mark.parametrize(
    ("made", "name", "kind", "reason"),
    [
        (used_up, "web1", "node", "the token is used up"),
        (lambda s: token(s, ends=-1.0), "web1", "node", "the token has ended"),
        (lambda s: token(s, kind="operator"), "web1", "node", "the token is for operators, not"),
        (token, "web1", "operator", "the token is for nodes, not for operators"),
        (token, "db1", "node", r"the token is for web\*, not for db1"),
        (
            lambda s: replace(token(s), secret=bytes(16)),
            "web1",
            "node",
            "no token of this CA vouches",
        ),
        (lambda s: replace(token(s), id="00000000"), "web1", "node", "no token of this CA"),
    ],
)
def test_what_no_token_is_good_for_is_refused(
    service: EnrolmentService,
    made: Callable[[EnrolmentService], EnrolmentToken],
    name: str,
    kind: Kind,
    reason: str,
) -> None:
    """Used up, ended, of another kind, for other names, forged: with its reason, and nothing is kept."""
    before = service.waiting()
    said, _ = service.receive(make_request(name, kind, KEY, made(service)))
    assert said.state == "refused"
    assert re.match(reason, said.reason)
    assert (said.certificate, service.waiting()) == (b"", before)


def test_some_names_wait_for_a_hand(service: EnrolmentService, authority: Authority) -> None:
    """A name that lives or was revoked, and operators: a token alone makes nobody one of them."""
    vouching, operators = token(service), token(service, "*", "operator")
    authority.issue_pem("web1", "node")
    authority.issue_pem("web2", "node")
    authority.revoke("web2")
    for name, kind, by, reason in (
        ("web1", "node", vouching, "web1 has a certificate"),
        ("web2", "node", vouching, "a certificate of web2 was revoked"),
        ("alice", "operator", operators, "operators are signed by hand"),
    ):
        said, _ = service.receive(make_request(name, kind, Ed25519PrivateKey.generate(), by))
        assert (said.state, said.reason, said.certificate) == ("waiting", reason, b"")
    assert [one.state for one, _ in service.sign(["web1", "web2", "alice"])] == ["signed"] * 3


@pytest.mark.parametrize("of_old", [False, True])
def test_the_host_of_a_broker_waits_for_a_hand(
    authority: Authority, tmp_path: Path, *, of_old: bool
) -> None:
    """A token for all names makes nobody a TLS server in the broker's place, also where the journal is of old."""
    hosts = ["Broker.example.com", *([] if of_old else ["stomp.example.com", "192.0.2.1"])]
    (tmp_path / "conf").mkdir()
    server_files(tmp_path / "conf", authority, hosts)
    journal = authority.directory / "issued.jsonl"
    if of_old:
        (line,) = (json.loads(line) for line in journal.read_text().splitlines())
        del line["dns"]
        journal.write_text(f"{json.dumps(line)}\n")
    with EnrolmentStore(authority.directory) as store:
        service = EnrolmentService(Authority.open(authority.directory), store)
        vouching = token(service, "*")
        for host in hosts[:2]:
            request = make_request(host, "node", Ed25519PrivateKey.generate(), vouching)
            said, _ = service.receive(request)
            assert (said.state, said.reason) == ("waiting", f"a broker serves at {host.lower()}")
        assert enrolled(service, tmp_path / "web1", "web1.example.com", vouching).state == "signed"
        ((signed, _),) = service.sign(["broker.example.com"])
        assert signed.state == "signed"


def test_of_two_keys_for_one_name_none_is_signed_unseen(service: EnrolmentService) -> None:
    """Who asks for another's name beside it must be told apart by its digest."""
    requests = [make_request("db1", "node", Ed25519PrivateKey.generate(), None) for _ in range(2)]
    for one in requests:
        service.receive(one)
    for words, matching in ((["db1"], None), ([], "db*")):
        with pytest.raises(UsageError, match="db1 has asked with 2 keys"):
            service.sign(words, matching)
    ((signed, _),) = service.sign([requests[1].digest[:12]])
    assert signed.digest == requests[1].digest
    with pytest.raises(UsageError, match=r"no request waits for 'db2' \(did you mean db1"):
        service.sign(["db2"])


def test_a_pattern_signs_nobody_in_the_place_of_one_who_has_a_certificate(
    service: EnrolmentService,
) -> None:
    """Of two who asked for one name the other still waits when one is signed, and its reason says so."""
    requests = [make_request("db1", "node", Ed25519PrivateKey.generate(), None) for _ in range(2)]
    others = [
        make_request(name, kind, Ed25519PrivateKey.generate(), None)
        for name, kind in (("db2", "node"), ("dba", "operator"))
    ]
    for one in (*requests, *others):
        service.receive(one)
    service.sign([requests[1].digest[:12]])
    found = {one.name: (one.state, one.reason) for one, _ in service.sign([], "db*")}
    by_hand = "operators are signed by hand"
    assert found == {
        "db1": ("waiting", "db1 has a certificate"),
        "db2": ("signed", ""),
        "dba": ("waiting", by_hand),
    }
    assert [(one.digest, one.reason) for one in service.waiting()] == [
        (requests[0].digest, "db1 has a certificate"),
        (others[1].digest, by_hand),
    ]
    ((one, _),) = service.sign(["DB1"], "db1*")
    assert (one.digest, one.state) == (requests[0].digest, "signed")


@pytest.mark.parametrize("matching", ["", "web 1", "wéb*", "web1;", "web[0-9", "web]", "web!"])
def test_a_token_that_no_name_can_match_is_not_made(
    service: EnrolmentService, matching: str
) -> None:
    """A machine would hear of it first."""
    with pytest.raises(UsageError, match="matches no name"):
        token(service, matching)


@pytest.mark.parametrize("matching", ["web[0-9]*", "web[!a-c]?.x", "[a-z_]1"])
def test_a_token_is_made_for_a_set_of_letters(service: EnrolmentService, matching: str) -> None:
    """Brackets that are whole are taken."""
    assert token(service, matching).id


def test_a_token_takes_its_pattern_in_capitals_too(service: EnrolmentService) -> None:
    """As names are taken."""
    made = token(service, "WEB*")
    said, _ = service.receive(make_request("Web1", "node", KEY, made))
    assert said.state == "signed"
    with pytest.raises(UsageError, match="1 to 2147483647 are meant"):
        token(service, count=1 << 64)


@pytest.mark.parametrize("name", ["ca", "CRL"])
def test_no_machine_writes_its_certificate_over_the_cas_file(tmp_path: Path, name: str) -> None:
    """ca.pem and crl.pem lie beside its own."""
    with pytest.raises(UsageError, match=r"is to be the CA's own file: .* a longer name"):
        begin(tmp_path, name, "node", None)


@settings(max_examples=300)
@given(data=st.data())
def test_nothing_changed_on_the_way_is_signed(data: st.DataObject) -> None:
    """Of a request no byte can change: it is refused, or is no request any more."""
    vouching = EnrolmentToken.new("0" * 64)
    good = make_request("web1", "node", KEY, vouching)
    body = bytearray(good.body)
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255).filter(lambda new: new != body[place]))
    changed = EnrolmentMessage(bytes(body), good.mac)
    try:
        open_request(changed)
    except Rejected:
        return
    assert vouches(vouching, good)
    assert not vouches(vouching, changed)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=300), st.text().map(str.encode)))
def test_junk_is_no_request(body: bytes) -> None:
    """Whatever is sent there is refused in words."""
    for read in (EnrolmentMessage.load, lambda text: open_request(EnrolmentMessage(text))):
        with pytest.raises(Rejected):
            read(body)


def test_odd_requests_are_refused(service: EnrolmentService) -> None:
    """Too large, another version, another's key, a weak key, a name that cannot be, two names."""
    good = json.loads(make_request("web1", "node", KEY, None).body)

    def reason(**changes: object) -> Reason:
        with pytest.raises(Rejected) as refusal:
            service.receive(EnrolmentMessage(json.dumps({**good, **changes}).encode()))
        return refusal.value.reason

    assert reason(more="x" * 20_000) is Reason.TOO_LARGE
    assert reason(v=2) is reason(v=True) is Reason.WRONG_VERSION
    assert reason(kind="enrolled") is Reason.WRONG_KIND
    assert reason(token=7) is reason(csr=7) is Reason.MALFORMED
    assert reason(csr="AAAA") is reason(csr="é") is Reason.BAD_CERTIFICATE
    flipped = (
        good["csr"][:-6] + ("AAAA" if good["csr"][-6:-2] != "AAAA" else "BBBB") + good["csr"][-2:]
    )
    assert reason(csr=flipped) in (Reason.BAD_SIGNATURE, Reason.BAD_CERTIFICATE)
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(Rejected, match="RSA key of 1024 bits"):
        open_request(make_request("web1", "node", weak, None))


IMPOSTORS = ("mac", "token", "thief", "unsigned", "other", "ca", "key", "name", "revoked", "pem")


@pytest.mark.parametrize("case", IMPOSTORS)
def test_an_impostors_answer_is_not_taken(
    service: EnrolmentService, tmp_path: Path, case: str
) -> None:
    """Not by MAC, nor by who has the token: another CA's, for another key or name; nothing is written.

    A thief of the token brings the CA that is meant, and his own beside it.
    """
    vouching, folder = token(service), tmp_path / "m"
    request = begin(folder, "web1", "node", vouching)
    impostor = Authority.init(tmp_path / "impostor")
    public = open_request(request).public
    good, sealed = service.receive(request)
    his = impostor.certify("web1", "node", public)
    other, _ = service.receive(make_request("web2", "node", KEY, vouching))
    ours = service._authority.sign
    both = replace(good, certificate=his, ca=good.ca + impostor.ca_pem, crl=impostor.crl_pem)
    answers = {
        "mac": replace(sealed, mac=""),
        "token": seal_answer(good, token(service), ours),
        "thief": seal_answer(both, vouching, impostor.sign),
        "unsigned": seal_answer(both, vouching),
        "other": seal_answer(replace(good, request="0" * 64), vouching, ours),
        "ca": seal_answer(replace(both, ca=impostor.ca_pem), vouching, impostor.sign),
        "key": seal_answer(replace(good, certificate=his), vouching, ours),
        "name": seal_answer(replace(good, certificate=other.certificate), vouching, ours),
        "pem": seal_answer(replace(good, crl=b"junk"), vouching, ours),
    }
    if case == "revoked":
        service._authority.revoke("web1")
        revoked = replace(good, crl=service._authority.crl_pem)
        answers[case] = seal_answer(revoked, vouching, ours)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(Rejected):
        accept(folder, "web1", "node", answers[case], token=vouching, ca=vouching.ca)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    if case != "revoked":
        accept(folder, "web1", "node", sealed, token=vouching, ca=vouching.ca)
        assert (folder / "web1.pem").exists()


def test_a_machine_writes_over_nothing(service: EnrolmentService, tmp_path: Path) -> None:
    """Neither a certificate, nor another CA, nor takes an answer to nothing."""
    vouching = token(service)
    _, answer = service.receive(begin(tmp_path, "web1", "node", vouching))
    with pytest.raises(UsageError, match="nothing was asked here"):
        accept(tmp_path, "web2", "node", answer, token=vouching, ca=vouching.ca)
    (tmp_path / "ca.pem").write_bytes(b"another")
    with pytest.raises(UsageError, match=r"ca\.pem is there already"):
        accept(tmp_path, "web1", "node", answer, token=vouching, ca=vouching.ca)
    (tmp_path / "ca.pem").unlink()
    accept(tmp_path, "web1", "node", answer, token=vouching, ca=vouching.ca)
    with pytest.raises(UsageError, match="web1 has a certificate"):
        begin(tmp_path, "web1", "node", vouching)
    (tmp_path / "web3.request").write_bytes(b"junk")
    with pytest.raises(ConfigError, match="remove it to ask anew"):
        begin(tmp_path, "web3", "node", vouching)


def test_many_at_once_count_as_many(authority: Authority) -> None:
    """A token for three is good for three, however many ask at the same moment."""
    with EnrolmentStore(authority.directory) as store:
        vouching = token(EnrolmentService(authority, store), count=3)
    said: list[EnrolmentAnswer] = []

    def ask(number: int) -> None:
        request = make_request(f"web{number}", "node", Ed25519PrivateKey.generate(), vouching)
        with EnrolmentStore(authority.directory) as own:
            service = EnrolmentService(Authority.open(authority.directory), own)
            said.append(service.receive(request)[0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.state for one in said) == ["refused"] * 9 + ["signed"] * 3


def test_who_was_killed_while_signing_signs_no_second(
    service: EnrolmentService, authority: Authority
) -> None:
    """A decided request whose certificate was lost: signed when asked again, or it waits for a hand."""
    vouching = token(service)
    for name, issued in (("web1", False), ("web2", True)):
        request = make_request(name, "node", Ed25519PrivateKey.generate(), vouching)
        decided = StoredRequest(
            digest=request.digest,
            name=name,
            kind="node",
            body=request.body,
            token=vouching.id,
            received=time.time(),
            state="signing",
        )
        assert service._store.enter(decided, time.time(), 1) == ""
        if issued:
            authority.certify(name, "node", open_request(request).public)
        said, _ = service.receive(request)
        assert said.state == ("waiting" if issued else "signed")
    assert [one.name for one in service.waiting()] == ["web2"]


def test_a_flood_keeps_nobody_out(service: EnrolmentService, tmp_path: Path) -> None:
    """Of 10,000 requests by nobody a thousand wait; a machine with a token is signed all the same."""
    vouching, key = token(service, ends=3600.0), Ed25519PrivateKey.generate()
    body = make_request("web1", "node", key, None).body
    began = time.process_time()
    states = []
    for number in range(10_000):
        document = {**json.loads(body), "nonce": f"{number:032x}"}
        states.append(service.receive(EnrolmentMessage(json.dumps(document).encode()))[0].state)
    print(f"\na request of a flood: {(time.process_time() - began) / 10_000 * 1e6:.0f} us")
    assert states == ["waiting"] * 1000 + ["refused"] * 9000
    assert len(service.waiting()) == 1000
    assert enrolled(service, tmp_path, "web2", vouching).state == "signed"


def test_a_token_shows_its_secret_only_when_it_is_printed(service: EnrolmentService) -> None:
    """It reads back from what `pki token` prints; logs and errors have none of it."""
    made = token(service)
    assert read_token(f" {made}\n") == made
    assert made.secret.hex() not in repr(made)
    assert len(made.secret) * 8 >= 128
    for junk in ("", str(made)[1:], f"{made}0", str(made).upper(), "é"):
        with pytest.raises(UsageError) as error:
            read_token(junk)
        assert made.secret.hex()[:8] not in str(error.value)
    with pytest.raises(MCShellError, match="good for none"):
        service.new_token("*", "node", time.time(), 0)
