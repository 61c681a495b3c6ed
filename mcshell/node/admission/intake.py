"""From a message to a verdict: it is verified, its id is claimed, policy and DDL are asked.

One message may concern many nodes of one process (the emulator's): each verifies it for itself,
their claims are committed together, before anything runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mcshell.message import Request
    from mcshell.node.admission.controller import AdmissionController
    from mcshell.node.admission.replay import ReplayGuard
    from mcshell.node.host import Host
    from mcshell.node.verdicts import Admitted, Refusal
    from mcshell.wire.documents.envelope import Arrival

__all__ = ["MessageIntake"]


class MessageIntake:
    """Takes messages for the nodes of one process; called from one thread."""

    def __init__(self, controller: AdmissionController, replay_guard: ReplayGuard) -> None:
        self._controller = controller
        self._replay_guard = replay_guard

    def take(
        self,
        body: bytes,
        headers: Mapping[str, str],
        whom: Iterable[tuple[Host, Arrival]],
        now: float,
    ) -> Iterator[tuple[Host, Admitted | Refusal]]:
        """Yield a verdict for each node that it is for; the id is claimed on disk by then."""
        concerned: list[tuple[Host, Request]] = []
        for host, arrival in whom:
            request = self._controller.open(body, headers, arrival, host, now)
            if request is not None:
                concerned.append((host, request))
        if not concerned:
            return
        claimed = self._replay_guard.claim_many(
            [(host.identity, request.id, request.expires) for host, request in concerned], now
        )
        for (host, request), mine in zip(concerned, claimed, strict=True):
            if not mine:
                self._controller.refuse(
                    host, Reason.REPLAYED, "this id ran here before", request.id, request.via
                )
                continue
            host.journal.note(request.id, "received")
            yield host, self._controller.judge(request, host)
