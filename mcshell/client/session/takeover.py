"""Who holds a named session's queue, agreed between the machines of one caller.

The newcomer claims it; the holder commits, lets go and answers with its row count. Without an
answer the newcomer goes on after two heart-beats and says so. A holder that was away asks when it
is back, and lets go if somebody claimed the session meanwhile (mcshell/README.md §8).

An address serves one session. Who has not the holder's file, be it under another name or before a
merge, would take replies that nothing in his own file asked for: a new session asks before it claims,
and a holder that has asked something does not let go for another session.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mcshell.client.broker_clock import TRIAL
from mcshell.client.session.session import holder_in_words, stores
from mcshell.errors import ConnectionLost, Rejected, SessionError
from mcshell.interrupts import wait
from mcshell.private import is_locked
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

__all__ = ["Takeover", "awaited_holder"]

log = logging.getLogger(__name__)

_PATIENCE = 20.0  # two heart-beats
_ASKING = 0.5
"""Seconds that a new session waits for one of its address that is held elsewhere."""
_MARKS = 100


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
        self._claimed = False
        self._other = ""
        """Who holds another session of this address."""
        self._thread = threading.Thread(target=self._run, name="mcshell-takeover", daemon=True)

    def claim(self) -> None:
        """Claim the session; returns when its former holder has let go, or cannot be heard.

        Raises:
            SessionError: it is new here, and its address is that of a session held elsewhere.
        """
        self._thread.start()
        self._transport.subscribe(self._topic, self._inbox, ack="auto")
        if self._session.is_new:
            self._ask()
        self._session.store.set_meta("epoch", str(self._epoch))
        self._claimed = True
        self._say(TAKEOVER)
        former = self._session.left_by
        if not former or _is_dead(former):
            return
        if not wait(self._answered, _PATIENCE):
            self._tell(
                f"session {self._session.name}: {former} did not answer within {_PATIENCE:g} s; "
                "it may have replies that are not here (session import)"
            )

    def _ask(self) -> None:
        """Ask whether somebody holds a session of this address."""
        self._say(HOLDING, 0)
        if wait(self._answered, _ASKING):
            raise SessionError(self._not_here(), self._session.name)

    def _not_here(self) -> str:
        name = self._session.name
        return (
            f"session {name} is held by {self._other}, and its file is not here: the replies to what "
            "was asked there go there. Export it there and import it here (session export, session "
            "import), or take another name"
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
            origins=self._session.origins[:_MARKS],
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
        if TRIAL in delivery.headers:
            return
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
        elif claim.kind == TAKEOVER and not self._claimed:
            self._held_elsewhere(claim)
        elif self._session.holds:
            self._heard_holding(claim)

    def _heard_holding(self, claim: SessionClaim) -> None:
        """Another one claims what this process holds, or says that he holds it: the higher epoch has it.

        The clock of who claims it later may be behind: he is told, and claims it above that. So does who
        is here when another one is back. A claim of before that is sent again is not made once more.
        """
        if claim.kind == TAKEOVER and claim.epoch > self._epoch:
            self._yield_or_keep(claim)
        elif claim.kind == TAKEOVER and claim.epoch < self._epoch and self._same(claim):
            self._say(HOLDING)
        elif claim.kind == HOLDING and claim.epoch < self._epoch:
            self._say(TAKEOVER)
        elif claim.kind == HOLDING and claim.epoch > self._epoch and self._same(claim):
            self._claim_above(claim)

    def _claim_above(self, claim: SessionClaim) -> None:
        self._epoch = claim.epoch + 1
        self._session.store.set_meta("epoch", str(self._epoch))
        self._say(TAKEOVER)

    def _held_elsewhere(self, claim: SessionClaim) -> None:
        """Somebody answers a new session that he holds one of its address."""
        if not self._same(claim):
            self._other = claim.holder
            self._answered.set()

    def _same(self, claim: SessionClaim) -> bool:
        """Whether a claim is to this very session; an earlier version does not say."""
        return not claim.origins or not set(claim.origins).isdisjoint(self._session.origins)

    def _yield_or_keep(self, claim: SessionClaim) -> None:
        """Let go for another process of this session; what another one claims is kept, if it is used.

        The answer to that is the very next epoch, by which whoever claimed it knows to yield.
        """
        if self._same(claim):
            self._let_go()  # first: the count that is told must be the last one
            self._session.yield_to(claim.holder)
            self._say(HANDOVER, claim.epoch)
            self._tell(f"session {self._session.name} was taken over by {claim.holder}")
        elif self._session.asked and claim.epoch != self._epoch + 1:
            self._claim_above(claim)
            name = self._session.name
            self._tell(
                f"session {name}: {claim.holder} has another one of this name, and was told so"
            )
        else:
            self._other = claim.holder
            self._let_go()
            self._session.yield_to(claim.holder)
            self._tell(self._not_here())

    def _handed_over(self, claim: SessionClaim) -> None:
        have = self._session.store.reply_count()
        self._session.store.set_meta("told_rows", str(claim.rows))
        if claim.rows > have:
            self._tell(
                f"session {self._session.name}: {claim.holder} handed it over with {claim.rows} "
                f"replies, {have} are here: export it there and import it here"
            )
        self._answered.set()


def awaited_holder(state_dir: Path, name: str) -> str:
    """Who is waited for, in words, when that session is taken up here; nobody where it is free or held here."""
    for store in stores(state_dir):
        if store.path.stem == name and not is_locked(store.path.with_suffix(".lock")):
            holder = store.meta("holder") or ""
            return "" if not holder or _is_dead(holder) else holder_in_words(holder)
    return ""


def _is_dead(holder: str) -> bool:
    """Whether a holder was a process of this machine that runs no more."""
    host, pid, _word = (*holder.split(":"), "", "")[:3]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except ProcessLookupError:
        return True
    except OSError:
        return False
    # A zombie: its parent has not asked for its end yet.
    return stat.rpartition(b")")[2].split()[:1] == [b"Z"]
