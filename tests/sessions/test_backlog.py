"""A backlog of replies, some of them forged, that a session finds in its queue when it comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from mcshell import config
from mcshell.client.messaging import signature_process
from mcshell.client.messaging.signature_process import SignatureProcess
from mcshell.errors import Reason
from mcshell.message import Reply, State, new_request_id
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import SIGNATURE, SealedMessage, digest_of, seal_reply
from mcshell.wire.documents.signatures import Signer
from tests.peers.aio import AioConnection
from tests.peers.asked import keep_requests
from tests.peers.fleet import Fleet
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.brokers import Broker

NODES, REQUESTS = 40, 100
pytestmark = pytest.mark.timeout(240)


class Backlog:
    """A session that asked all nodes all requests, and what they have sealed for it."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet, self.name = fleet, name
        pems = [fleet.authority.issue_pem(f"{name}{number:02d}", "node") for number in range(NODES)]
        self.signers = [Signer.from_pem(*pem) for pem in pems]
        self.requests = [new_request_id("cert=alice")[0] for _ in range(REQUESTS)]
        names = [signer.identity.name for signer in self.signers]
        keep_requests(config.load(fleet.config), name, self.requests, names)

    def reply(self, request: str, signer: Signer, *, sender: str = "") -> SealedMessage:
        """A node's last reply to a request."""
        reply = Reply(
            requestid=request,
            sender=sender or signer.identity.name,
            sequence=2,
            statuscode=0,
            statusmsg="OK",
            data={"pong": 1},
            created=time.time(),
            state=State.OK,
            digest=digest_of(request.encode()),
        )
        return seal_reply(reply, signer)

    def send(self, forged: dict[tuple[int, int], SealedMessage]) -> None:
        """Put all replies into the queue, those at (request, node) in `forged` as they are there."""
        sealed = [
            forged.get((r, n)) or self.reply(request, signer)
            for r, request in enumerate(self.requests)
            for n, signer in enumerate(self.signers)
        ]
        queue = destinations.reply(self.fleet.collective, "cert=alice", self.name)
        broker = self.fleet.broker

        async def fill() -> None:
            link = await AioConnection.open(broker.url, user=broker.user, passcode=broker.passcode)
            for number, one in enumerate(sealed, 1):
                if number % 500 and number < len(sealed):
                    link.send(queue, one.body, one.headers, persistent=True)
                else:
                    await link.send_confirmed(queue, one.body, one.headers, persistent=True)
            await link.close()

        asyncio.run(fill())


@pytest.fixture(scope="module")
def fleet(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An operator and a CA; the nodes are their keys."""
    with Fleet(embedded, tmp_path_factory.mktemp("backlog")) as made:
        yield made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SignatureProcess]:
    """Whose process was asked, once for each group; it starts soon, as these backlogs are short."""
    monkeypatch.setattr(signature_process, "_BACKLOG", 1000)
    found: list[SignatureProcess] = []
    ask: Callable[..., bool] = SignatureProcess.ask

    def noted(self: SignatureProcess, group: list[object]) -> bool:
        if sent := ask(self, group):
            found.append(self)
        return sent

    monkeypatch.setattr(SignatureProcess, "ask", noted)
    return found


def changed(one: SealedMessage) -> SealedMessage:
    """The same with another word in it."""
    return SealedMessage(one.body.replace(b'"OK"', b'"KO"'), one.headers)


def test_what_is_forged_in_a_backlog_is_refused(
    fleet: Fleet, asked: list[SignatureProcess]
) -> None:
    """Each with its reason, and its row stays pending; all others are kept, checked by the process."""
    backlog = Backlog(fleet, "forged")
    first, second = backlog.signers[:2]
    revoked = backlog.signers[2]
    fleet.authority.revoke(revoked.identity.name)
    late = range(80, REQUESTS)  # when the process is at work
    forged = {(r, 2): backlog.reply(backlog.requests[r], revoked) for r in range(REQUESTS)}
    for r in late:
        request = backlog.requests[r]
        forged[r, 0] = changed(backlog.reply(request, first))
        forged[r, 1] = backlog.reply(request, first, sender=second.identity.name)
        honest, other = backlog.reply(request, backlog.signers[3]), backlog.reply(request, second)
        headers = {**honest.headers, SIGNATURE: other.headers[SIGNATURE]}
        forged[r, 3] = SealedMessage(honest.body, headers)
    backlog.send(forged)
    with fleet.client(session="forged") as client:
        store = client.session.store
        good = NODES * REQUESTS - len(forged)
        assert wait_until(lambda: store.latest() + client.junk.total() >= NODES * REQUESTS, 120)
        assert store.latest() == good
        assert client.junk == {
            Reason.REVOKED.value: REQUESTS,
            Reason.BAD_SIGNATURE.value: 2 * len(late),
            Reason.WRONG_SENDER.value: len(late),
        }
        assert asked, "no process was asked"
        states = [e.state for e in store.entries(backlog.requests[-1])]
        assert states == [State.PENDING] * 4 + [State.OK] * (NODES - 4)


def test_a_process_that_dies_loses_nothing(
    fleet: Fleet, asked: list[SignatureProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after each group that it was asked about: every reply is kept, and none for junk."""
    backlog = Backlog(fleet, "killed")
    backlog.send({})
    monkeypatch.setattr(signature_process, "_BACKLOG", 400)
    ask: Callable[..., bool] = SignatureProcess.ask

    def killed(self: SignatureProcess, group: list[object]) -> bool:
        if sent := ask(self, group):
            assert self._process is not None
            os.kill(self._process.pid, signal.SIGKILL)
        return sent

    monkeypatch.setattr(SignatureProcess, "ask", killed)
    with fleet.client(session="killed") as client:
        assert wait_until(lambda: client.session.store.latest() == NODES * REQUESTS, 120)
        assert not client.junk
        assert asked, "no process was asked"


def test_no_process_is_left(fleet: Fleet, asked: list[SignatureProcess]) -> None:
    """Whoever closes a client has its process ended."""
    backlog = Backlog(fleet, "closed")
    backlog.send({})
    with fleet.client(session="closed") as client:
        assert wait_until(lambda: client.session.store.latest() == NODES * REQUESTS, 120)
        process = asked[0]._process
        assert process is not None
    assert process.returncode is not None
