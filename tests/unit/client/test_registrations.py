"""What a listener verifies of the registrations that come, and what it spares itself."""

from __future__ import annotations

import time
from itertools import count

import pytest

from mcshell.client.discovery.node_cache import CachedNode, NodeCache
from mcshell.client.discovery.registrations import RegistrationListener
from mcshell.errors import Reason
from mcshell.message import Filter
from mcshell.pki import Authority
from mcshell.wire.documents.registration import Registration, seal_registration
from mcshell.wire.documents.signatures import Signer, Verifier
from mcshell.wire.stomp.transport import Delivery

NUMBERS = count()


class CountingVerifier(Verifier):
    """A verifier that counts how often it is asked."""

    asked = 0

    def verify(self, *args, **more):
        """Count, and verify."""
        self.asked += 1
        return super().verify(*args, **more)


class Ear:
    """A listener without a connection, that is handed deliveries; it never subscribes."""

    def __init__(self, folder):
        self.authority = Authority.init(folder / "ca")
        self.verifier = CountingVerifier(self.authority.ca_pem)
        self.known = NodeCache(folder / "nodes.sqlite", "realm")
        self.listener = RegistrationListener(None, self.verifier, self.known, "mcs")
        self.signers = {}

    def signer(self, name):
        """A node's key."""
        if name not in self.signers:
            self.signers[name] = Signer.from_pem(*self.authority.issue_pem(name, "node"))
        return self.signers[name]

    def message(self, name, *, signer=None, created=None, collectives=("mcs",), **more):
        """A registration as it comes in."""
        said = Registration(
            identity=name,
            created=created or time.time(),
            interval=60.0,
            collectives=collectives,
            version="1",
            **more,
        )
        sealed = seal_registration(said, self.signer(signer or name))
        ack = str(next(NUMBERS))
        return Delivery(
            destination="/topic/x",
            body=sealed.body,
            headers=sealed.headers,
            subscription="s",
            ack_id=ack,
            epoch=1,
        )

    def hear(self, *messages):
        """Hand over what came together."""
        self.listener._handle(list(messages))

    @property
    def names(self):
        """The nodes that are known now."""
        return [node.identity for node in self.known.nodes("mcs")]


@pytest.fixture
def ear(tmp_path):
    """A listener that knows nobody."""
    ear = Ear(tmp_path)
    yield ear
    ear.known.close()


def test_repeats_within_a_second_are_not_verified(ear):
    """The same node, again and again: one signature is checked."""
    ear.hear(ear.message("web1"), ear.message("web1"))
    ear.hear(ear.message("web1"))
    assert ear.names == ["web1"]
    assert ear.verifier.asked == 1


def test_what_another_process_has_kept_is_not_verified(ear):
    """A description as new is in the file already."""
    ear.known.learn("mcs", [CachedNode(identity="web1", seen=time.time() + 0.5)])
    ear.hear(ear.message("web1"))
    assert ear.verifier.asked == 0
    assert ear.listener.counts["repeated"] == 1


def test_a_forged_one_does_not_silence_the_true_one(ear):
    """Only what was verified makes a repeat."""
    ear.hear(ear.message("web1", signer="web2"))
    assert ear.names == []
    ear.hear(ear.message("web1"))
    assert ear.names == ["web1"]
    assert ear.listener.counts[Reason.WRONG_SENDER.value] == 1


def test_a_flood_costs_a_bounded_number_of_checks(ear, monkeypatch):
    """Past the limit of a second nothing is verified; later it is again."""
    monkeypatch.setattr(ear.listener._filter, "_most", 3)
    moment = time.time()
    monkeypatch.setattr("mcshell.client.discovery.registrations.time.time", lambda: moment)
    ear.hear(*(ear.message(f"web{number}", created=moment) for number in range(9)))
    assert ear.verifier.asked == 3
    moment += 1.5
    ear.hear(ear.message("web8", created=moment))
    assert ear.verifier.asked == 4


def test_a_node_of_another_collective_is_not_of_ours(ear):
    """What is said on our topic by a node that is no member is dropped."""
    ear.hear(ear.message("web1", collectives=("eu",)))
    assert ear.names == []


def test_a_replay_makes_nobody_seen_again(ear):
    """An old registration counts as of when it was written."""
    old = time.time() - 3600
    ear.hear(ear.message("web1", created=old))
    assert ear.known.node("mcs", "web1").seen == pytest.approx(old)


def test_how_often_a_node_registers_outlives_its_answers(ear):
    """An answer to discovery does not say it, and does not wipe it out."""
    ear.hear(ear.message("web1"))
    ear.known.learn("mcs", [CachedNode(identity="web1", seen=time.time() + 5, version="2")])
    node = ear.known.node("mcs", "web1")
    assert (node.version, node.interval) == ("2", 60.0)


def test_followers_hear_each_verified_one(ear):
    """Whoever follows is given what is new to him, even if a file has it already."""
    heard = []
    ear.listener.follow(heard.append)
    ear.known.learn("mcs", [CachedNode(identity="web1", seen=time.time() + 0.5)])
    ear.hear(ear.message("web1"))
    assert [node.identity for node in heard] == ["web1"]


def test_who_follows_no_more_hears_no_more(ear):
    """A follower that has gone costs nothing."""
    heard = []
    follower = heard.append
    ear.listener.follow(follower)
    ear.listener.unfollow(follower)
    ear.hear(ear.message("web1"))
    assert (heard, ear.names) == ([], ["web1"])


def test_a_clock_that_is_put_back_makes_no_repeats(ear, monkeypatch):
    """What nodes register after it counts at once, not only when the clock is where it was."""
    true = time.time()
    ear.signer("web1")  # its certificate is good by either
    monkeypatch.setattr("time.time", lambda: true + 3600)
    ear.hear(ear.message("web1", facts={"release": 1}))
    assert ear.known.matching("mcs", Filter(), since=0.0)
    monkeypatch.setattr("time.time", lambda: true)
    ear.hear(ear.message("web1", facts={"release": 2}))
    node = ear.known.node("mcs", "web1")
    assert (node.facts, node.seen) == ({"release": 2}, true)
    assert [*ear.known.matching("mcs", Filter(), since=true)] == ["web1"]
