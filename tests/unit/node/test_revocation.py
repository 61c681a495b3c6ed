"""The revocation list of a node: what its carriers may cost, and what is kept."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcshell.errors import Reason, Rejected
from mcshell.node.audit.log import AuditLog
from mcshell.node.revocation import Revocation
from mcshell.pki import Authority
from mcshell.wire.documents.signatures import Signer, Verifier

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def authority(tmp_path):
    """A CA."""
    return Authority.init(tmp_path / "ca")


class _Reads(Verifier):
    """A verifier that counts the texts it has read."""

    def __init__(self, ca_pem: bytes) -> None:
        super().__init__(ca_pem)
        self.reads = 0

    def update_crl(self, pem: bytes) -> bool:
        self.reads += 1
        return super().update_crl(pem)

    def update_lists(self, lists: Sequence[bytes]) -> bool:
        self.reads += 1
        return super().update_lists(lists)


def der(pem: bytes) -> bytes:
    """A list as it travels; what is none as it is."""
    if not pem.startswith(b"-----"):
        return pem
    return x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)


class Node:
    """What a node has for its list."""

    def __init__(self, authority: Authority, folder) -> None:
        self.audit = AuditLog(folder / "audit.jsonl")
        self.path = folder / "crl.pem"
        self.verifier = _Reads(authority.ca_pem)
        self.revocation = Revocation(self.verifier, self.path, self.audit)

    def refuses(self, *pem: bytes, asked: bool = False, by: str = "cert=sup1") -> Reason | None:
        """Bring it lists, in a request or a document; why they are refused, or None."""
        try:
            if asked:
                self.revocation.update(b"".join(pem), "web1", "cert=alice")
            else:
                self.revocation.update_carried([*map(der, pem)], "web1", by)
        except Rejected as refusal:
            return refusal.reason
        return None

    def events(self) -> list[str]:
        """What was audited."""
        return self._events("event")

    def counted(self) -> int:
        """How many refusals were counted."""
        return sum(self._events("count"))

    def _events(self, key: str) -> list[Any]:
        self.audit.close()
        events = [json.loads(line) for line in self.audit.path.read_text().splitlines()]
        return [event[key] for event in events if event["event"] != "file"]


@pytest.fixture
def node(authority, tmp_path):
    """A node without a list."""
    node = Node(authority, tmp_path)
    yield node
    node.audit.close()


def test_of_each_carrier_one_text_a_second_is_read(node, authority, monkeypatch):
    """A second one within the second is refused unread; after it, it is taken."""
    assert node.refuses(authority.crl_pem) is None
    authority.publish()
    assert node.refuses(authority.crl_pem) is Reason.TOO_OFTEN
    assert (node.verifier.reads, node.revocation.number) == (1, 1)
    later = time.monotonic() + 1.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert node.refuses(authority.crl_pem) is None
    assert (node.verifier.reads, node.revocation.number) == (2, 2)
    assert node.path.read_bytes() == authority.crl_pem


@pytest.mark.parametrize("asked", [True, False])
def test_nobody_waits_for_what_another_brings(node, authority, asked):
    """What an operator or another carrier brings is read at once, whatever a hostile one brings."""
    assert node.refuses(b"junk", by="cert=mallory") is Reason.BAD_CERTIFICATE
    assert node.refuses(b"more", by="cert=mallory") is Reason.TOO_OFTEN
    assert node.refuses(authority.crl_pem, asked=asked) is None
    assert node.revocation.number == 1


def test_the_same_text_is_read_once(node, authority):
    """A process of many nodes is brought one list as often as it has nodes, and reads it once."""
    for _ in range(50):
        assert node.refuses(authority.crl_pem) is None
    assert (node.verifier.reads, node.events()) == (1, ["crl"])


def test_the_same_junk_is_read_once_and_refused_each_time(node):
    """Also what is refused: all are counted in the audit."""
    for _ in range(50):
        assert node.refuses(b"junk", asked=True) is Reason.BAD_CERTIFICATE
    assert (node.verifier.reads, node.events()) == (1, ["refused"] * 2)
    assert node.counted() == 50


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_a_list_of_a_ca_that_is_trusted_meanwhile_is_taken(node, authority, tmp_path, alone, asked):
    """The text that was passed over, or refused, before its CA was trusted counts when it is brought again."""
    new = Authority.init(tmp_path / "new")
    mallory = Signer.from_pem(*new.issue_pem("mallory", "operator"))
    new.revoke("mallory")
    lists = [new.crl_pem] if alone else [authority.crl_pem, new.crl_pem]
    assert node.refuses(*lists, asked=asked) is (Reason.FOREIGN_CA if alone else None)
    assert node.verifier.use_cas(authority.ca_pem + new.ca_pem)
    assert node.refuses(*lists, asked=asked, by="cert=sup2") is None
    with pytest.raises(Rejected) as refused:
        node.verifier.examine(mallory.certificate, now=time.time())
    assert refused.value.reason is Reason.REVOKED
    reads = node.verifier.reads
    assert node.refuses(*lists, asked=asked, by="cert=sup3") is None
    assert node.verifier.reads == reads
