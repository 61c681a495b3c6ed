"""What the session file remembers of a request, made into a ledger again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.flight import Flight
from mcshell.wire.envelope import read_reply

if TYPE_CHECKING:
    from mcshell.client.store import Record, Store

__all__ = ["restore"]


def restore(store: Store, record: Record) -> Flight:
    """Rebuild the ledger of a kept request from its targets, its words and its judgements."""
    targets = store.targets(record.id)
    flight = Flight(record, [sender for sender, *_ in targets])
    for sender, sent, _judged, _reason in targets:
        if sent is not None:
            flight.sent([sender], sent)
    judgements = sorted(
        (judged, sender, reason) for sender, _sent, judged, reason in targets if judged is not None
    )
    for stored in store.replies(record.id):
        while judgements and judgements[0][0] <= stored.kept:
            _judge(flight, judgements.pop(0))
        flight.words([(read_reply(stored.body, trust=stored.trust), stored.kept)])
    for judgement in judgements:
        _judge(flight, judgement)
    flight.finish()
    return flight


def _judge(flight: Flight, judgement: tuple[float, str, str]) -> None:
    _at, sender, reason = judgement
    if reason.startswith("not sent"):
        flight.note([sender], reason)
    else:
        flight.judge([sender], reason)
