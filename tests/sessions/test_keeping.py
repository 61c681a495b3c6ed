"""What cannot be kept is not acknowledged, what nobody wants any more is dropped."""

from __future__ import annotations

import sqlite3
import time

from mcshell.client.messaging import receiver
from mcshell.client.messaging.receiver import Receiver
from mcshell.client.store.store import SessionStore
from mcshell.message import State
from tests.peers.processes import wait_until

from .conftest import NAMES


def test_replies_that_cannot_be_kept_come_again(fleet, state, monkeypatch):
    """The file refuses two commits; the broker delivers those replies again, each ends up once."""
    enter = SessionStore.enter
    failures = []

    def refusing(self, words, **more):
        if len(failures) < 2:
            failures.append(len(words))
            raise sqlite3.OperationalError("database or disk is full")
        return enter(self, words, **more)

    monkeypatch.setattr(SessionStore, "enter", refusing)
    with fleet.client(state=state) as client:
        replies = client.rpc("rpcutil", "ping", via="queue", nodes=NAMES, wait=False)
        assert wait_until(lambda: replies.stats["ok"] == len(NAMES), 30)
        assert len(failures) == 2
        assert replies.stats["duplicate"] == 0


def test_an_answer_that_comes_as_its_asker_leaves_is_dropped(fleet, state, monkeypatch):
    """Discovery may end while answers to it are verified: that costs nobody the connection."""
    open_all = Receiver._open_all
    left = []

    def leaving(self, group, now):
        words = list(open_all(self, group, now))
        for requestid in {word.reply.requestid for word in words if word is not None}:
            if requestid in self._listeners.questions:
                left.append(requestid)
                self.unwatch(requestid)
        return words

    with fleet.client(state=state) as client:
        renewed = []
        monkeypatch.setattr(Receiver, "_open_all", leaving)
        monkeypatch.setattr(client._transport, "renew", renewed.append)
        client.discover(discovery_timeout=1)
        replies = client.rpc("rpcutil", "ping", nodes=NAMES)
        assert left
        assert replies.stats["ok"] == len(NAMES)
        assert renewed == []


def test_an_answer_to_what_is_forgotten_in_this_moment_accuses_nobody(fleet, state, monkeypatch):
    """What was signed is forgotten with the question: that no answer to it is bound is no one's fault."""
    bound = Receiver._bound
    left = []

    def leaving(self, reply):
        if reply.requestid in self._listeners.questions:
            left.append(reply.requestid)
            self.unwatch(reply.requestid)
        return bound(self, reply)

    with fleet.client(state=state) as client:
        began = time.time()
        monkeypatch.setattr(Receiver, "_bound", leaving)
        client.discover(discovery_timeout=1)
        assert client.rpc("rpcutil", "ping", nodes=NAMES, timeout=60).stats["ok"] == len(NAMES)
        assert left
        assert (dict(client.junk), client._hub.queries.refused.since(began)) == ({}, {})


def test_an_answer_that_comes_too_late_is_no_junk(fleet, state):
    """A node that was busy while it was asked who is there: what it says then is dropped, and not counted."""
    with fleet.client(state=state) as client:
        assert wait_until(lambda: set(client.discover(fresh=True).sender) == set(NAMES), 60)
        fleet.pause("n1")
        try:
            for _ in range(2):  # the second forgets the first one's question
                client.discover(fresh=True)
        finally:
            fleet.resume("n1")
        asked = client.rpc("rpcutil", "ping", nodes=["n1"], timeout=60)
        assert asked.stats["ok"] == 1  # it answers in turn
        assert dict(client.junk) == {}


def test_a_judgement_is_in_the_file_as_soon_as_it_is_made(fleet, state):
    """Who is silent in the first batch is so in the file while the second is yet to come."""
    with fleet.client(state=state) as client:
        nodes = ["nobody", "n1"]
        replies = client.rpc("rpcutil", "ping", nodes=nodes, batch=1, batch_sleep=60, wait=False)
        assert wait_until(lambda: replies.stats["silent"] == 1, 60)
        first, second = client.session.store.entries(replies.requestid)
        assert (first.state, second.state) == (State.SILENT, State.PENDING)
        assert first.reason
        replies.cancel()
        assert replies.wait(20).ledger().reason[1] == "not sent: stopped"


def test_a_shell_that_is_open_for_weeks_does_not_grow(fleet, state, monkeypatch):
    """Of what was asked long ago nothing stays in memory, and who answers it late answers what was signed."""
    monkeypatch.setattr(receiver, "_REMEMBERED", 5)
    with fleet.client(state=state) as client:
        fleet.pause("n1")
        try:
            early = client.rpc("rpcutil", "ping", via="queue", nodes=["n1"], wait=False).requestid
            job = client.jobs.submit("rpcutil", "ping", nodes=["n1"]).requestid
            for _ in range(30):
                assert client.rpc("rpcutil", "ping", nodes=["n2", "n3"]).stats["ok"] == 2
            kept = client._hub._listeners.digests
            assert not {early, job} & set(kept)
            assert len(kept) <= 5
            assert len(client._hub._receiver._about) <= 5
        finally:
            fleet.resume("n1")
        for requestid in (early, job):
            assert client.replies(requestid).wait(60).stats["ok"] == 1
        assert not client.junk
