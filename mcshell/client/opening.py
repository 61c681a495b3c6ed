"""What a client is made of: who may ask, what it has open, and in which order that is closed."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from mcshell.errors import UsageError
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from mcshell.client.discovery.node_cache import NodeCache
    from mcshell.client.fleet import FleetMonitor
    from mcshell.client.mcollective import Mixed
    from mcshell.client.messaging.hub import SessionHub
    from mcshell.client.rpc.interactive_run import BackgroundRequests
    from mcshell.config import Settings
    from mcshell.metrics.file import MetricsThread
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.documents.certificate_cache import CertificateCache
    from mcshell.wire.stomp.reconnect import ConnectionState
    from mcshell.wire.stomp.transport import Transport

__all__ = ["OpenParts", "Reconnections", "metrics_of", "old_wire", "operator_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenParts:
    """What a client has open, in the order in which it is closed; it does not know the client."""

    background: BackgroundRequests
    metrics: MetricsThread | None
    hub: SessionHub
    monitor: FleetMonitor
    old: Mixed | None
    transport: Transport
    known: NodeCache
    certificates: CertificateCache
    closed: list[bool] = field(default_factory=list)

    def close(self) -> None:
        """Disconnect and free the session; a second time changes nothing."""
        if self.closed:
            return
        self.closed.append(True)
        self.background.stop()
        if self.metrics is not None:
            self.metrics.stop(remove=True)
        self.hub.stop()
        self.monitor.stop()
        if self.old is not None:
            self.old.close()
        self.transport.close()
        self.hub.close()
        self.known.close()
        self.certificates.close()


class Reconnections:
    """Tells a session of each connection but the first."""

    def __init__(self, hub: Callable[[], SessionHub]) -> None:
        self._hub = hub
        self._epoch: int | None = None

    def heard(self, state: ConnectionState) -> None:
        """Take note of a change of the connection."""
        if state.connected and state.epoch != self._epoch:
            first, self._epoch = self._epoch is None, state.epoch
            if not first:
                self._hub().connected()


def operator_of(settings: Settings, credentials: Credentials) -> str:
    """The callerid of who asks; UsageError for a certificate that may not."""
    identity = credentials.signer.identity
    if identity.kind != "operator":
        raise UsageError(
            f"{settings.pki.cert} is the certificate of a {identity.kind}: "
            "requests need an operator's (mcshell pki issue NAME --kind operator)"
        )
    return identity.callerid


def metrics_of(
    settings: Settings,
    hub: SessionHub,
    transport: Transport,
    credentials: Credentials,
    junk: Callable[[], Counter[str]],
) -> MetricsThread | None:
    """What writes a session's metrics, where they are wanted."""
    if settings.client.metrics is None:
        return None
    from mcshell.client.metrics import metrics_thread  # noqa: PLC0415 - as `old_wire`

    return metrics_thread(settings, hub, transport, credentials, junk)


def old_wire(settings: Settings, known: NodeCache) -> Mixed | None:
    """MCollective's nodes beside ours, where they are wanted."""
    if not settings.mcollective.enabled:
        return None
    from mcshell.client.mcollective import Mixed  # noqa: PLC0415 - nothing of it is loaded while it is off

    return Mixed(settings, known)
