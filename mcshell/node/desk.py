"""What is decided about a row of the spool: may it start, may it start again, how does it end.

The same for the daemon's shims and for the emulator's many nodes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mcshell.message import State, Status
from mcshell.node.act import Outcome
from mcshell.node.gate import Refusal
from mcshell.node.work import End
from mcshell.wire.envelope import CERTIFICATE, SIGNATURE, read_request

if TYPE_CHECKING:
    from mcshell.message import Request
    from mcshell.node.gate import Admitted, Gate
    from mcshell.node.host import Host
    from mcshell.node.words import Words
    from mcshell.node.work import Work

__all__ = ["ATTEMPTS", "LATE", "Desk", "interrupted"]

ATTEMPTS: Final = 3
"""How often an action that is safe to run again is started."""
LATE: Final = Outcome(State.EXPIRED, Status.UNKNOWN_ERROR, "expired before a slot was free")


def interrupted(why: str) -> Outcome:
    """The outcome of what died between its claim and its outcome."""
    return Outcome(State.INTERRUPTED, Status.UNKNOWN_ERROR, why)


class Desk:
    """Decides for one node; does not touch the spool."""

    def __init__(self, host: Host, gate: Gate, words: Words) -> None:
        self.host = host
        self._gate = gate
        self._words = words

    def judge(self, work: Work) -> tuple[Request, Admitted | Refusal]:
        """Ask again, at the start, all that was asked when it came in."""
        assert work.body is not None, "an open row has its envelope"
        request = read_request(work.body)
        if time.time() > work.expires:
            return request, Refusal(request, LATE.state, LATE.statuscode, LATE.statusmsg)
        headers = {SIGNATURE: work.signature or "", CERTIFICATE: work.certificate or ""}
        refusal = self._gate.still_trusted(work.body, headers, work.received, self.host)
        return request, refusal or self._gate.judge(request, self.host, "started")

    def may_again(self, work: Work) -> bool:
        """Whether what died in the middle may be started once more."""
        service = self.host.service(work.agent)
        action = service.ddl.actions.get(work.action) if service is not None else None
        return action is not None and action.rerun_safe and work.attempt < ATTEMPTS

    def end(self, work: Work, outcome: Outcome, attempt: int | None = None) -> End:
        """The end of a row, with its word; audited and counted."""
        assert work.body is not None, "an open row has its envelope"
        request = read_request(work.body)
        word = self._words.kept(request, outcome, attempt or work.attempt)
        self._gate.finished(request, self.host, outcome)
        self.host.journal.count(outcome.state.value)
        state, code, text = outcome.state.value, outcome.statuscode, outcome.statusmsg
        return End(work.key, state, code, text, time.time(), word)
