"""The brokers under test are what the tests think they are."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from tests.peers.brokers import greet

if TYPE_CHECKING:
    from tests.peers.brokers import Broker


def test_wrong_passcode_is_refused(broker: Broker) -> None:
    """Each broker demands the login."""
    assert greet(broker.host, broker.port, broker.user, "wrong") != "CONNECTED"


def test_tls_port_wants_a_certificate(broker: Broker) -> None:
    """The TLS listener refuses a client without a certificate."""
    bare = ssl.create_default_context(cafile=str(broker.pki / "ca.pem"))
    assert greet(broker.host, broker.tls_port, broker.user, broker.passcode, bare) == ""


def test_killed_broker_comes_back(mortal_broker: Broker) -> None:
    """After kill -9 the broker is gone; after restart it serves on the same ports."""
    broker = mortal_broker
    before = broker.pid, broker.url, broker.tls_url
    broker.kill9()
    assert not broker.ready()
    broker.restart()
    assert broker.ready()
    assert (broker.url, broker.tls_url) == before[1:]
    assert broker.pid != before[0]
