"""Replies that have outlived their certificates: held, asked about, and entered once, or never."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mcshell.client.session.session import folder_of
from mcshell.client.session.transfer import export_session
from mcshell.client.store.store import SessionStore
from mcshell.message import State
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, read_reply
from mcshell.wire.documents.signatures import Signer
from mcshell.wire.stomp.connector import Connector
from tests.peers.processes import wait_until

from .conftest import NAMES
from .test_moving import bring_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcshell.wire.stomp.transport import Delivery
    from tests.peers.fleet import Fleet

PATIENCE = 60.0
SCRIPT = Path(__file__).with_name("doomed_holder.py")
TOLD = "replies of n1 have outlived their certificates"


@pytest.fixture
def whole(fleet):
    """The fleet, with all of its nodes up again in the end."""
    yield fleet
    for name in NAMES:
        if name not in fleet.nodes:
            fleet.start(name)


def ended(fleet: Fleet, name: str) -> Signer:
    """What a node was before: its own key under a certificate that has ended."""
    key = load_pem_private_key((fleet.folder / f"{name}.key").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return Signer.from_pem(*under_ended(fleet, name, key))


def impostor(fleet: Fleet, name: str) -> Signer:
    """An ended certificate in a node's name, of another key."""
    return Signer.from_pem(*under_ended(fleet, name, Ed25519PrivateKey.generate()))


def under_ended(fleet: Fleet, name: str, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """Certificate and key (PEM), good for a minute that is over."""
    before = time.time() - 1000
    cert = fleet.authority.certify(
        name, "node", key.public_key(), renew=True, not_before=before, lifetime=60.0
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return cert, pem


class Answered:
    """A queued request of the session `later`, and its nodes' own answers, taken from its queue."""

    def __init__(self, fleet: Fleet, state: str, names: list[str]) -> None:
        self.fleet = fleet
        for name in names:
            fleet.pause(name)
        with fleet.client(state=state, session="later") as alice:
            replies = alice.rpc("rpcutil", "ping", via="queue", nodes=names, wait=False)
            assert replies.confirmed
            self.queue = destinations.reply(fleet.collective, alice.caller, alice.session.address)
        for name in names:
            fleet.resume(name)
        self.request = replies.requestid
        self.taken: list[Delivery] = []
        inbox: SimpleQueue[Delivery] = SimpleQueue()
        with self.link() as link:
            subscription = link.subscribe(self.queue, inbox, ack="client-individual", prefetch=100)
            while sum(read_reply(one.body).final for one in self.taken) < len(names):
                self.taken.append(inbox.get(timeout=PATIENCE))
                link.ack(self.taken[-1])
            link.unsubscribe(subscription)

    def link(self) -> Connector:
        """A connection of its own."""
        at = self.fleet.broker
        link = Connector([at.url], user=at.user, passcode=at.passcode)
        link.start(timeout=20)
        return link

    def put_back(self, signer: Callable[[Fleet, str], Signer] = ended) -> str:
        """Have them come in under certificates that have ended; returns the request's id."""
        with self.link() as link:
            for one in self.taken:
                old = signer(self.fleet, read_reply(one.body).sender)
                headers = {SIGNATURE: old.sign(one.body), CERTIFICATE: old.certificate}
                link.send(self.queue, one.body, {**headers, "persistent": "true"})
        return self.request


def outlive(fleet: Fleet, state: str, names: list[str]) -> str:
    """Queue a request that is answered under certificates which have ended; returns its id."""
    return Answered(fleet, state, names).put_back()


def test_a_reply_under_an_ended_certificate_is_entered_once_its_node_shows_the_next(whole, state):
    """Nobody else need ask anything: the client asks the nodes itself, and each row is there once."""
    asked = outlive(whole, state, ["n1", "n2"])
    with whole.client(state=state, session="later") as alice:
        replies = alice.replies(asked).wait(PATIENCE)
        assert replies.stats["ok"] == 2, (replies.ledger().to_dict(), alice.junk)
        assert replies.stats["duplicate"] == 0
        assert wait_until(lambda: not alice.session.store.strays.held(), PATIENCE)
        assert alice.session.store.strays.all() == []


def test_while_its_node_is_down_it_is_held_and_told(whole, state):
    """Over a restart of the client, too: one line each time, a cause in `explain`, and no stray."""
    asked = outlive(whole, state, ["n1"])
    whole.kill9("n1")
    for _ in range(2):
        with whole.client(state=state, session="later") as alice:
            assert wait_until(lambda: any(TOLD in one for one in alice.notices), PATIENCE)
            assert sum(TOLD in one for one in alice.notices) == 1
            assert alice.replies(asked).stats["ok"] == 0
            causes = [one.cause for one in alice.causes("n1", asked)]
            assert "the node's certificate has expired" in causes
            assert alice.session.store.strays.count() == 0
    whole.start("n1")
    with whole.client(state=state, session="later") as alice:
        assert alice.replies(asked).wait(PATIENCE).stats["ok"] == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR IGNORE INTO strays",
        "INSERT OR IGNORE INTO replies",
        "DELETE FROM strays WHERE request",
    ],
    ids=["as it is kept", "as it is entered", "before it is dropped"],
)
def test_a_client_that_is_killed_between_keeping_and_entering_loses_nothing(
    whole, state, statement
):
    """The next process enters what this one had kept, exactly once."""
    asked = outlive(whole, state, ["n1"])
    argv = [sys.executable, SCRIPT, whole.config, whole.folder / state, "later", statement]
    done = subprocess.run(argv, env=whole.environ, capture_output=True, text=True, check=False)
    assert done.returncode == -9, (done.stdout, done.stderr)
    with whole.client(state=state, session="later") as alice:
        replies = alice.replies(asked).wait(PATIENCE)
        assert wait_until(lambda: not alice.session.store.strays.all(), PATIENCE)
        stats = replies.stats
        assert (stats["ok"], stats["duplicate"]) == (1, 0), replies.ledger().to_dict()


def test_what_another_key_has_signed_is_never_entered(whole, state):
    """An ended certificate in the node's name is held, and stays so, for no good one has its key."""
    asked = Answered(whole, state, ["n1"]).put_back(impostor)
    with whole.client(state=state, session="later") as alice:
        assert wait_until(lambda: any(TOLD in one for one in alice.notices), PATIENCE)
        assert alice.rpc("rpcutil", "ping", nodes=["n1"]).stats["ok"] == 1
        genuine = alice.rpc("rpcutil", "ping", nodes=["n1"], via="queue", timeout=PATIENCE)
        assert genuine.stats["ok"] == 1
        assert [name for name, *_ in alice.session.store.strays.held()] == ["n1"]
        assert alice.replies(asked).stats["ok"] == 0


def test_an_imported_file_brings_them_along(whole, state):
    """What is held there is held here, and entered where somebody asks the node."""
    asked = outlive(whole, state, ["n1"])
    whole.kill9("n1")
    with whole.client(state=state, session="later") as alice:
        assert wait_until(lambda: alice.session.store.strays.held() != [], PATIENCE)
    path = export_session(whole.folder / state, "later", whole.folder / f"{state}.mcs")
    report = bring_in(whole, f"{state}-b", path)
    assert (report.held, report.strays, report.refused.total()) == (1, 0, 0)
    whole.start("n1")
    with whole.client(state=f"{state}-b", session="later") as alice:
        assert alice.replies(asked).wait(PATIENCE).stats["ok"] == 1
    path = export_session(whole.folder / f"{state}-b", "later", whole.folder / f"{state}-b.mcs")
    report = bring_in(whole, f"{state}-c", path)
    assert (report.held, report.refused.total()) == (0, 0)
    store = SessionStore(folder_of(whole.folder / f"{state}-c") / "later.sqlite")
    try:
        (entry,) = store.entries(asked)
        assert entry.state is State.OK
    finally:
        store.close()


def test_where_the_next_certificate_is_known_nothing_is_held(whole, state):
    """It is entered as it comes, and whoever imports the file without that knowledge holds it."""
    answered = Answered(whole, state, ["n1"])
    with whole.client(state=state, session="later") as alice:
        assert alice.causes("n1", answered.request)  # asks it, and keeps nothing of its answer
        asked = answered.put_back()
        assert alice.replies(asked).wait(PATIENCE).stats["ok"] == 1
        assert alice.session.store.strays.all() == []
    path = export_session(whole.folder / state, "later", whole.folder / f"{state}.mcs")
    report = bring_in(whole, f"{state}-b", path)
    assert (report.held, report.refused.total()) == (1, 0)
    with whole.client(state=f"{state}-b", session="later") as alice:
        assert alice.replies(asked).wait(PATIENCE).stats["ok"] == 1
