"""The demo's past: a week in which its operator asked and its machines answered.

So that `@yesterday`, `--diff @7d`, `summary` and `report` have something to say on the first day. The
past is made up as the machines are, by the same means as the present: each request is signed by the
operator's key, each reply by a key of its node (certificates of the demo's CA that were good then),
after the action ran on the machine as it was that day. All of it is verified wherever the session
is taken, as whatever else is in it. It is about the emulated machines alone.
"""

from __future__ import annotations

import random
import time
from dataclasses import field, replace
from datetime import datetime, timedelta
from datetime import time as clock
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mcshell.client.messaging.sender import seal
from mcshell.client.session.session import Session
from mcshell.client.store.records import ReplyRecord, RequestRecord
from mcshell.ddl.ddl_library import shipped_dir
from mcshell.message import Filter, Reply, ReplySequence, Request, State, Via, new_request_id
from mcshell.node.agents.registry import load_agents
from mcshell.node.emulator.machines import named_by_role
from mcshell.node.emulator.pretended_system import PretendedSystem
from mcshell.node.execution.action import run_action
from mcshell.node.facts.machine_id import hashed
from mcshell.node.host import Host
from mcshell.node.verdicts import Admitted
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, digest_of, seal_reply
from mcshell.wire.documents.signatures import Signer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mcshell.node.emulator.machines import Machine
    from mcshell.pki import Authority

__all__ = ["write_history"]

_DAY: Final = 86400.0
_COLLECTIVE: Final = "mcs"
_SEED: Final = 1
_QUIET: Final = "no reply, and no answer to a probe within 1.5 s"
_OFF: Final = "expired after 1 d: it was off"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What was asked, when (epoch), of which role (any: ""), and who did not answer."""

    at: float
    agent: str
    action: str
    inputs: dict[str, Any] = field(default_factory=dict)
    role: str = ""
    via: Via = Via.BROADCAST
    absent: tuple[str, ...] = ()


def write_history(
    state: Path, authority: Authority, operator: Signer, count: int, began: float
) -> None:
    """Write the week into the session that the demo's prompt will take; one with a past keeps its own.

    `state` is the operator's state directory, `count` how many emulated nodes there are, `began` since
    when (epoch) the CA and the operator's certificate are good.
    """
    session = Session.open(state, operator.identity.callerid, _COLLECTIVE, None)
    try:
        if not session.asked:
            _Past(session, authority, operator, list(named_by_role(count, _SEED)), began).write()
    finally:
        session.close()


def _week(now: float) -> Iterator[_Question]:
    """What an operator of such a fleet asks in a week, oldest first."""
    today = datetime.fromtimestamp(now).astimezone().date()

    def on(days: int, hour: int, minute: int) -> float:
        moment = datetime.combine(today - timedelta(days=days), clock(hour, minute))
        return moment.astimezone().timestamp()

    look = partial(_Question, agent="package", action="status", inputs={"name": "openssl"})
    for days in (8, 7, 4, 2, 1):
        yield look(at=on(days, 9, 5), absent=("worker03",) if days == 4 else ())  # noqa: PLR2004 - one of them
    # Just before what the machines' own past has: those that were updated then.
    yield _Question(
        at=now - 3.02 * _DAY,
        agent="package",
        action="update",
        inputs={"name": "openssl"},
        role="web",
        via=Via.QUEUE,
        absent=("web02",),
    )
    yield _Question(at=on(2, 14, 20), agent="process", action="list", inputs={"limit": 5})
    yield _Question(
        at=on(1, 10, 0), agent="service", action="restart", inputs={"name": "nginx"}, role="web"
    )
    yield _Question(at=on(1, 16, 40), agent="rpcutil", action="ping", absent=("worker03",))


class _Past:
    """Writes one session's past."""

    def __init__(
        self,
        session: Session,
        authority: Authority,
        operator: Signer,
        machines: list[Machine],
        began: float,
    ) -> None:
        self._session = session
        self._operator = operator
        self._now = time.time()
        self._machines = {one.identity: one for one in machines}
        self._served = load_agents([shipped_dir()])
        self._signers = {
            name: Signer.from_pem(*authority.issue_pem(name, "node", renew=True, not_before=began))
            for name in self._machines
        }

    def write(self) -> None:
        """Write all of it, oldest first."""
        for question in sorted(_week(self._now), key=lambda one: one.at):
            names = [
                name
                for name, one in self._machines.items()
                if question.role in ("", one.facts["role"])
            ]
            if names:
                self._ask(question, sorted(names))

    def _ask(self, question: _Question, names: Sequence[str]) -> None:
        request = self._request(question)
        record = RequestRecord(
            id=request.id,
            agent=request.agent,
            action=request.action,
            via=request.via,
            collective=request.collective,
            created=request.created,
            expires=request.expires,
            filter=self._filter(question),
            data=dict(request.data),
        )
        durable = request.via is Via.QUEUE
        asked = [(name, replace(request, identity=name)) for name in names] if durable else []
        outgoing = [seal(key, one, self._operator) for key, one in asked or [("*", request)]]
        store = self._session.store
        store.add(record, names, outgoing)
        store.mark_sent(request.id, names, question.at)
        store.mark_confirmed(outgoing, question.at)
        bodies = {one.sender: one.body for one in outgoing}
        store.enter(
            [
                self._answer(question, request, name, bodies.get(name) or bodies["*"])
                for name in names
                if name not in question.absent
            ],
            durable=False,
        )
        gone = [(name, _OFF if durable else _QUIET) for name in names if name in question.absent]
        store.judge(request.id, gone, State.EXPIRED if durable else State.SILENT)

    def _filter(self, question: _Question) -> Filter:
        facts = (f"role={question.role}",) if question.role else ()
        return Filter(fact=facts, agent=(question.agent,))

    def _request(self, question: _Question) -> Request:
        caller = self._operator.identity.callerid
        requestid, nonce = new_request_id(caller)
        service = self._served.get(question.agent)
        assert service is not None
        durable = question.via is Via.QUEUE
        return Request(
            id=requestid,
            nonce=nonce,
            agent=question.agent,
            action=question.action,
            caller=caller,
            collective=self._session.collective,
            via=question.via,
            session=self._session.address,
            created=question.at,
            expires=question.at + (_DAY if durable else 60.0),
            data=service.ddl.action(question.action).check(question.inputs),
            filter=Filter() if durable else self._filter(question),
        )

    def _answer(self, question: _Question, request: Request, name: str, body: bytes) -> ReplyRecord:
        """What a machine said: the action, run on it as it was then, and signed by its key."""
        machine, service = self._machines[name], self._served.get(request.agent)
        assert service is not None
        age = (self._now - question.at) / _DAY
        host = Host(
            name,
            facts=lambda: machine.facts,
            served=self._served,
            classes=machine.classes,
            collectives=(request.collective,),
            system=PretendedSystem(machine, at=question.at, age=age),
        )
        action = service.ddl.action(request.action)
        outcome = run_action(Admitted(request, service, action), host, time.monotonic() + 60)
        dice = random.Random(f"{machine.seed}:{question.at}")  # noqa: S311 - made up, no secret
        at = question.at + dice.uniform(0.01, 0.06) + (0.4 if machine.trouble == "slow" else 0.0)
        reply = Reply(
            requestid=request.id,
            sender=name,
            sequence=ReplySequence.FINAL,
            statuscode=outcome.statuscode,
            statusmsg=outcome.statusmsg,
            data=outcome.data,
            created=at,
            state=outcome.state,
            digest=digest_of(body),
            machine=hashed(machine.seed),
        )
        sealed = seal_reply(reply, self._signers[name])
        return ReplyRecord(
            reply=reply,
            kept=at,
            body=sealed.body,
            signature=sealed.headers[SIGNATURE],
            certificate=sealed.headers[CERTIFICATE],
            target=name,
        )
