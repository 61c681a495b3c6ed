"""The hostile messages over each real broker, by bare sockets; and our certificates for its TLS."""

from __future__ import annotations

import uuid

import pytest

from mcshell.errors import Reason
from mcshell.pki import Authority
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, SealedMessage
from tests.hostile.receiver import arena
from tests.peers import brokers
from tests.peers.bare import Bare


def test_no_broker_makes_a_hostile_message_good(broker, tmp_path):
    """Bytes and headers come through as they were; each is refused for its reason, twins are not."""
    receiver, cases = arena(tmp_path)
    queue = f"/queue/mcs.hostile.{uuid.uuid4().hex[:12]}"
    with Bare(broker) as sender, Bare(broker) as taker:
        sender.connect()
        taker.connect()
        taker.subscribe(queue, ack="auto")
        for case in cases:
            messages = [(case.hostile, case.reason), (case.twin, None)]
            if case.reason is Reason.REPLAYED:
                messages.reverse()
            for sealed, expected in messages:
                length = {"content-length": str(len(sealed.body))}
                sender.put("SEND", {"destination": queue, **length, **sealed.headers}, sealed.body)
                came = taker.get("MESSAGE")
                ours = {k: v for k, v in came.headers.items() if k in (SIGNATURE, CERTIFICATE)}
                got = SealedMessage(came.body, ours)
                assert got == sealed, case.name
                assert (case.name, receiver.refusal(got, case)) == (case.name, expected)
    receiver.replay_guard.close()


@pytest.mark.timeout(240)
def test_our_certificates_serve_the_brokers_tls(broker_kind, tmp_path):
    """Each broker starts with a certificate of `mcshell pki` and takes an operator's over TLS."""
    authority = Authority.init(tmp_path / "ca")
    pki = tmp_path / "pki"
    authority.issue("server", "node", pki, dns=["localhost"], ip=["127.0.0.1"])
    authority.issue("alice", "operator", pki)
    (pki / "ca.pem").write_bytes(authority.ca_pem)
    # `start` waits for a CONNECTED over TLS, with alice's certificate.
    running = brokers.start(broker_kind, tmp_path / "broker", pki)
    running.stop()
