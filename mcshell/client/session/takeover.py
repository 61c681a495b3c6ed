"""Who holds a named session's queue, agreed between the machines of one caller.

The newcomer claims it; the holder commits, lets go and answers with its row count. Without an
answer the newcomer goes on after two heart-beats and says so. A holder that was away asks when it
is back, and lets go if somebody claimed the session meanwhile (mcshell/README.md §8).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mcshell.errors import ConnectionLost, Rejected
from mcshell.wire import destinations
from mcshell.wire.documents.takeover import (
    HANDOVER,
    HOLDING,
    TAKEOVER,
    SessionClaim,
    open_claim,
    seal_claim,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.client.session.session import Session
    from mcshell.wire.credentials import Credentials
    from mcshell.wire.stomp.transport import Delivery, Transport

__all__ = ["Takeover"]

log = logging.getLogger(__name__)

_PATIENCE = 20.0  # two heart-beats


class Takeover:
    """Claims one session for this process, and gives it up when another claims it later.

    `let_go` stops taking from the queue; `tell` takes a notice for the operator.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        session: Session,
        *,
        let_go: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._session = session
        self._let_go = let_go
        self._tell = tell
        self._me = session.me
        # Later than any before, whatever the clocks of the two machines say.
        before = int(session.store.meta("epoch") or 0)
        self._epoch = max(int(time.time() * 1000), before + 1)
        self._topic = destinations.session(session.collective, credentials.signer.identity.callerid)
        self._inbox: SimpleQueue[Delivery | str | None] = SimpleQueue()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mcshell-takeover", daemon=True)

    def claim(self) -> None:
        """Claim the session; returns when its former holder has let go, or cannot be heard."""
        self._thread.start()
        self._transport.subscribe(self._topic, self._inbox, ack="auto")
        self._session.store.set_meta("epoch", str(self._epoch))
        self._say(TAKEOVER)
        former = self._session.left_by
        if not former or _is_dead(former):
            return
        if not self._answered.wait(_PATIENCE):
            self._tell(
                f"session {self._session.name}: {former} did not answer within {_PATIENCE:g} s; "
                "it may have replies that are not here (session import)"
            )

    def back(self) -> None:
        """Say that the connection is there again: the session may be another's by now."""
        self._inbox.put(HOLDING)

    def stop(self) -> None:
        """End the thread."""
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _say(self, kind: str, epoch: int | None = None) -> None:
        store = self._session.store
        claim = SessionClaim(
            kind=kind,
            caller=self._credentials.signer.identity.callerid,
            collective=self._session.collective,
            address=self._session.address,
            holder=self._me,
            epoch=self._epoch if epoch is None else epoch,
            rows=store.reply_count(),
            created=time.time(),
        )
        sealed = seal_claim(claim, self._credentials.signer)
        self._transport.send(self._topic, sealed.body, sealed.headers)

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            try:
                if isinstance(item, str):
                    self._say(item)
                else:
                    self._hear(item)
            except ConnectionLost as error:
                log.warning("session %s: %s", self._session.name, error)
            except Exception:
                log.exception("a word about session %s", self._session.name)

    def _hear(self, delivery: Delivery) -> None:
        caller = self._credentials.signer.identity.callerid
        try:
            claim = open_claim(
                delivery.body,
                delivery.headers,
                self._credentials.verifier,
                caller,
                now=time.time(),
            )
        except Rejected as refusal:
            log.warning("a word about sessions is refused: %s", refusal)
            return
        if claim.address != self._session.address or claim.holder == self._me:
            return
        if claim.kind == HANDOVER and claim.epoch == self._epoch:
            self._handed_over(claim)
        elif claim.kind == TAKEOVER and claim.epoch > self._epoch and self._session.holds:
            self._give_up(claim)
        elif claim.kind == HOLDING and claim.epoch < self._epoch and self._session.holds:
            self._say(TAKEOVER)

    def _give_up(self, claim: SessionClaim) -> None:
        """Stop taking from the queue first: the count that is told must be the last one."""
        self._let_go()
        self._session.yield_to(claim.holder)
        self._say(HANDOVER, claim.epoch)
        self._tell(f"session {self._session.name} was taken over by {claim.holder}")

    def _handed_over(self, claim: SessionClaim) -> None:
        have = self._session.store.reply_count()
        self._session.store.set_meta("told_rows", str(claim.rows))
        if claim.rows > have:
            self._tell(
                f"session {self._session.name}: {claim.holder} handed it over with {claim.rows} "
                f"replies, {have} are here: export it there and import it here"
            )
        self._answered.set()


def _is_dead(holder: str) -> bool:
    """Whether a holder was a process of this machine that runs no more."""
    host, pid, _word = (*holder.split(":"), "", "")[:3]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
