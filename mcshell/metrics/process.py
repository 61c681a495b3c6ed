"""What node, supervisor and client have in common: version, start, broker, certificate, CRL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcshell.metrics.exposition import Metric
from mcshell.values import dataclass
from mcshell.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ProcessFigures", "process_figures", "process_metrics"]


class MeasuredConnection(Protocol):
    """A connection to a broker that comes back by itself (`wire.stomp.transport.Transport`)."""

    @property
    def connected(self) -> bool:
        """Whether it stands now."""

    @property
    def connections(self) -> int:
        """How many there have been."""

    @property
    def connected_at(self) -> float:
        """When the last was made (epoch); 0 where none was."""


class MeasuredTrust(Protocol):
    """Whom a process believes (`wire.documents.signatures.Verifier`)."""

    @property
    def crl_number(self) -> int | None:
        """The number of the revocation list in force."""

    @property
    def crl_dates(self) -> tuple[float, float] | None:
        """When it was issued, and when the next is due (epoch)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFigures:
    """One process; moments are seconds since the epoch. `about` are the labels that say who it is."""

    about: Mapping[str, str]
    now: float
    started: float
    certificate_end: float
    connected: bool
    connections: int
    connected_at: float = 0.0
    crl_number: int | None = None
    crl_dates: tuple[float, float] | None = None
    version: str = VERSION

    @classmethod
    def of(
        cls, connection: MeasuredConnection, trust: MeasuredTrust, **known: Any
    ) -> ProcessFigures:
        """As connection and trust stand; `known` are the other fields."""
        return cls(
            connected=connection.connected,
            connections=connection.connections,
            connected_at=connection.connected_at,
            crl_number=trust.crl_number,
            crl_dates=trust.crl_dates,
            **known,
        )


_COMMON: Final = (
    Metric(
        name="info",
        kind="gauge",
        help="Always 1; the label is the version of mcshell.",
        label="version",
    ),
    Metric(
        name="start_time_seconds",
        kind="gauge",
        help="When the process began to serve, epoch.",
    ),
    Metric(
        name="broker_connected",
        kind="gauge",
        help="Whether a connection to a broker stands, 0 or 1.",
    ),
    Metric(
        name="broker_reconnects_total",
        kind="counter",
        help="Connections to a broker after the first.",
    ),
    Metric(
        name="broker_last_connection_timestamp_seconds",
        kind="gauge",
        help="When the last connection to a broker was made, epoch.",
    ),
    Metric(
        name="certificate_end_timestamp_seconds",
        kind="gauge",
        help="When the certificate that signs ends, epoch.",
    ),
    Metric(
        name="crl_number",
        kind="gauge",
        help="Number of the revocation list in force; of several CAs the sum.",
    ),
    Metric(
        name="crl_age_seconds",
        kind="gauge",
        help="Age of that list; of several the oldest.",
    ),
    Metric(
        name="crl_next_update_timestamp_seconds",
        kind="gauge",
        help="When the next list is due at the latest, epoch.",
    ),
)


def process_metrics(prefix: str) -> tuple[Metric, ...]:
    """The declarations, for names that begin with `prefix`."""
    return tuple(replace(one, name=f"{prefix}_{one.name}") for one in _COMMON)


def process_figures(prefix: str, one: ProcessFigures) -> dict[str, float | Mapping[str, float]]:
    """The figures, by the names of `process_metrics`; what there is not (a CRL) is left out."""
    found: dict[str, float | Mapping[str, float]] = {
        "info": {one.version: 1},
        "start_time_seconds": one.started,
        "broker_connected": int(one.connected),
        "broker_reconnects_total": max(0, one.connections - 1),
        "certificate_end_timestamp_seconds": one.certificate_end,
    }
    if one.connected_at:
        found["broker_last_connection_timestamp_seconds"] = one.connected_at
    if one.crl_number is not None and one.crl_dates is not None:
        issued, due = one.crl_dates
        found["crl_number"] = one.crl_number
        found["crl_age_seconds"] = max(0.0, one.now - issued)
        found["crl_next_update_timestamp_seconds"] = due
    return {f"{prefix}_{name}": figure for name, figure in found.items()}
