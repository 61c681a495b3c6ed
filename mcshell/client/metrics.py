"""What an operator's session tells Prometheus, for as long as a client has it open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mcshell.errors import Reason
from mcshell.metrics.exposition import Metric, exposition
from mcshell.metrics.file import MetricsThread
from mcshell.metrics.process import ProcessFigures, process_figures, process_metrics
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from mcshell.client.messaging.hub import SessionHub
    from mcshell.config import Settings
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.stomp.transport import Transport

__all__ = ["METRICS", "ClientFigures", "client_text", "metrics_thread"]

_PREFIX: Final = "mcshell_client"
METRICS: Final = (
    *process_metrics(_PREFIX),
    Metric(
        name="mcshell_client_requests_open",
        kind="gauge",
        help="Requests of the session of which a reply is still waited for.",
    ),
    Metric(
        name="mcshell_client_replies_kept",
        kind="gauge",
        help="Replies in the session's file.",
    ),
    Metric(
        name="mcshell_client_outbox_messages",
        kind="gauge",
        help="Messages of queued and pool requests that no broker has confirmed.",
    ),
    Metric(
        name="mcshell_client_junk_total",
        kind="counter",
        help="Replies that were refused and are in no table, by the reason.",
        label="reason",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFigures:
    """One open session as it stands."""

    process: ProcessFigures
    requests_open: int
    replies_kept: int
    unsent: int
    junk: Mapping[str, int]


def client_text(one: ClientFigures) -> str:
    """The figures in Prometheus' text format."""
    figures = {
        **process_figures(_PREFIX, one.process),
        "mcshell_client_requests_open": one.requests_open,
        "mcshell_client_replies_kept": one.replies_kept,
        "mcshell_client_outbox_messages": one.unsent,
        "mcshell_client_junk_total": {why.value: one.junk.get(why.value, 0) for why in Reason},
    }
    return exposition(METRICS, figures, one.process.about)


def metrics_thread(
    settings: Settings,
    hub: SessionHub,
    transport: Transport,
    credentials: Credentials,
    junk: Callable[[], Counter[str]],
) -> MetricsThread:
    """What writes them; it knows no client. The first time is after one interval.

    So a command that is soon over leaves the file to a session that is open for long.
    """
    started = time.time()

    def figures() -> ClientFigures:
        now, session, store = time.time(), hub.session, hub.session.store
        about = {"caller": credentials.signer.identity.callerid, "session": session.name}
        return ClientFigures(
            process=ProcessFigures.of(
                transport,
                credentials.verifier,
                about=about,
                now=now,
                started=started,
                certificate_end=credentials.signer.identity.not_after,
            ),
            requests_open=store.open_requests(),
            replies_kept=store.reply_count(),
            unsent=store.unconfirmed_count(now),
            junk=junk(),
        )

    return MetricsThread(
        settings.client, lambda: client_text(figures()), first=settings.client.metrics_every
    )
