"""The revocation list of a node: what its carriers may cost, and what is kept."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from mcshell.errors import Reason, Rejected
from mcshell.node.audit.log import AuditLog
from mcshell.node.revocation import Revocation
from mcshell.pki import Authority
from mcshell.wire.documents.signatures import Verifier


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


class Node:
    """What a node has for its list."""

    def __init__(self, authority: Authority, folder) -> None:
        self.audit = AuditLog(folder / "audit.jsonl")
        self.path = folder / "crl.pem"
        self.verifier = _Reads(authority.ca_pem)
        self.revocation = Revocation(self.verifier, self.path, self.audit)

    def refuses(self, pem: bytes, *, signed: bool = False) -> Reason | None:
        """Bring it a list; why it is refused, or None."""
        try:
            if signed:
                self.revocation.update(pem, "web1", "cert=alice")
            else:
                self.revocation.update_unsigned(pem, "web1")
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


def test_one_text_a_second_is_read_for_those_who_sign_nothing(node, authority, monkeypatch):
    """A second one within the second is refused unread; after it, it is taken."""
    assert node.refuses(authority.crl_pem) is None
    authority.publish()
    assert node.refuses(authority.crl_pem) is Reason.UNSIGNED
    assert (node.verifier.reads, node.revocation.number) == (1, 1)
    later = time.monotonic() + 1.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert node.refuses(authority.crl_pem) is None
    assert (node.verifier.reads, node.revocation.number) == (2, 2)
    assert node.path.read_bytes() == authority.crl_pem


def test_who_has_signed_for_a_list_waits_for_nobody(node, authority):
    """What an operator brings is read at once, whatever others have just brought."""
    assert node.refuses(b"junk") is Reason.BAD_CERTIFICATE
    assert node.refuses(authority.crl_pem, signed=True) is None
    assert node.revocation.number == 1


def test_the_same_text_is_read_once(node, authority):
    """A process of many nodes is brought one list as often as it has nodes, and reads it once."""
    for _ in range(50):
        assert node.refuses(authority.crl_pem) is None
    assert (node.verifier.reads, node.events()) == (1, ["crl"])


def test_the_same_junk_is_read_once_and_refused_each_time(node):
    """Also what is refused: all are counted in the audit."""
    for _ in range(50):
        assert node.refuses(b"junk", signed=True) is Reason.BAD_CERTIFICATE
    assert (node.verifier.reads, node.events()) == (1, ["refused"] * 2)
    assert node.counted() == 50
