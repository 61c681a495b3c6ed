"""Conversations with a real daemon: turns in order, rights, ends of every kind."""

from __future__ import annotations

import inspect
import os
import re
import signal
import threading
import time
from dataclasses import replace
from datetime import timedelta
from queue import Empty, SimpleQueue

import pytest

from mcshell import config
from mcshell.client.messaging.conversations import Conversation
from mcshell.errors import ConversationError, InputError, TurnTimeout, UsageError
from mcshell.message import Turn, made_id, new_nonce
from mcshell.wire import destinations
from mcshell.wire.conversation.channel import Channel
from mcshell.wire.credentials import connector, load_credentials
from mcshell.wire.documents.strict_json import loads
from mcshell.wire.documents.turn import MAX_DATA, seal_turn
from tests.keys.conftest import Keyring
from tests.peers.processes import wait_until

WAIT = 60.0
VALUES = ["text", 1, 2**63, -1.5, None, True, b"\x00\xff", [1, [2]], {"$x": {"a": b"b"}}, {}]


def test_turns_come_back_as_they_were_sent(talkers):
    """Any JSON and bytes travel both ways, in order, and both ends part in peace."""
    with talkers.client() as client:
        talk = client.open("n1", "echo", {"greet": "hello"}, timeout=WAIT)
        assert talk.receive(WAIT) == {"from": "n1", "to": "cert=alice", "said": "hello"}
        for value in VALUES:
            talk.send(value, WAIT)
        assert [talk.receive(WAIT) for _ in VALUES] == VALUES
        assert talk.state == "open"
        talk.close(WAIT)
        assert talk.state == "closed"
        with pytest.raises(ConversationError) as over:
            talk.send("more")
        assert over.value.state == "closed"
    told = wait_until(lambda: len(events(talkers, talk.id)) == 2, WAIT)
    assert told, events(talkers, talk.id)
    accepted, finished = events(talkers, talk.id)
    assert (accepted["agent"], accepted["action"], accepted["caller"]) == (
        "converse",
        "echo",
        "cert=alice",
    )
    assert (finished["event"], finished["state"], finished["turns"]) == (
        "finished",
        "closed",
        len(VALUES),
    )


def test_the_node_may_talk_and_end_it(talkers):
    """One question, many answers: iteration takes all of them and ends when the node closes."""
    with talkers.client() as client, client.open("n1", "echo", timeout=WAIT) as talk:
        talk.send({"do": "count", "to": 200})
        talk.send({"do": "close"})
        assert list(talk) == list(range(200))
        assert talk.state == "closed"


def test_who_may_not_is_told_so(talkers):
    """Policy `converse` decides by protocol; a refusal names the rule and is audited."""
    refused = pytest.raises(ConversationError, match=r"denied by policy: converse\.policy:\d+")
    with talkers.client("bob", state="state-bob") as client, refused as denied:
        client.open("n1", "echo", timeout=WAIT)
    assert denied.value.state == "denied"
    last = [one for one in talkers.audit("n1") if one.get("caller") == "cert=bob"][-1]
    assert (last["event"], last["agent"], last["action"]) == ("denied", "converse", "echo")


@pytest.mark.parametrize(
    ("protocol", "words"), [("absent", "n1 has none"), ("broken", "broken on purpose")]
)
def test_a_handler_that_is_not_there_is_an_error(talkers, protocol, words):
    """No handler, or one that does not load, fails the conversation and says why."""
    with talkers.client() as client, pytest.raises(ConversationError, match=words) as failed:
        client.open("n1", protocol, timeout=WAIT)
    assert failed.value.state == "failed"


@pytest.mark.parametrize(
    ("order", "words"), [("crash", "ZeroDivisionError: as told"), ("fail", "no wish to go on")]
)
def test_a_handler_that_fails_ends_it(talkers, order, words):
    """What a handler raises is the reason that the caller gets, after all that it said before."""
    with talkers.client() as client:
        talk = client.open("n1", "echo", timeout=WAIT)
        talk.send("before")
        assert talk.receive(WAIT) == "before"
        talk.send({"do": order})
        with pytest.raises(ConversationError, match=words):
            talk.receive(WAIT)
        assert talk.state == "failed"
        with pytest.raises(ConversationError, match=words):
            list(talk)


def test_nobody_answers(talkers):
    """A node that is not there is an error after the wait, and so are names that mean nothing."""
    with talkers.client() as client:
        with pytest.raises(TurnTimeout, match="no answer from nobody"):
            client.open("nobody", "echo", timeout=1.0)
        with pytest.raises(UsageError, match="protocol"):
            client.open("n1", "Not This")
        talk = client.open("n1", "echo", timeout=WAIT)
        with pytest.raises(TurnTimeout):
            talk.receive("100ms")
        with pytest.raises(InputError, match="taken"):
            talk.send("x" * MAX_DATA)
        with pytest.raises(InputError):
            talk.send({1.5})
        talk.send("still there")
        assert talk.receive(WAIT) == "still there"


def test_a_send_that_nobody_takes_does_not_wait_for_ever():
    """Where no one says how long, both ends wait a minute."""
    for send in (Conversation.send, Channel.send):
        assert inspect.signature(send).parameters["timeout"].default == 60.0


def test_a_slow_handler_holds_up_nobody_else(talkers, tmp_path):
    """Its caller waits for room; other conversations and interactive requests do not."""
    go = tmp_path / "go"
    with talkers.client() as client:
        slow = client.open("n1", "echo", timeout=WAIT)
        slow.send({"do": "wait", "file": str(go)})
        fill = (slow.send(number, 0.3) for number in range(200))
        with pytest.raises(TurnTimeout, match="took nothing"):
            list(fill)
        reply = client.rpc("rpcutil", "ping", nodes=["n1"])
        quick = client.open("n1", "echo", timeout=WAIT)
        assert exchange(quick, "now") == "now"
        assert reply.stats["ok"] == 1
        with pytest.raises(TurnTimeout):
            slow.receive(0)
        go.touch()
        assert [slow.receive(WAIT) for _ in range(30)] == list(range(30))


def test_a_busy_conversation_holds_up_nobody_else(talkers):
    """While turns come as fast as they can, each ping is answered at once."""
    with talkers.client() as client, client.open("n1", "echo", timeout=WAIT) as busy:
        client.rpc("rpcutil", "ping", nodes=["n1"])
        quiet = threading.Event()

        def flood():
            while not quiet.is_set():
                busy.send("x" * 1000, WAIT)

        def drain():
            return sum(1 for _ in busy)

        threads = [threading.Thread(target=one, daemon=True) for one in (flood, drain)]
        for thread in threads:
            thread.start()
        replies = [client.rpc("rpcutil", "ping", nodes=["n1"]) for _ in range(20)]
        quiet.set()
        threads[0].join()
        lags = sorted(float(one.frame().lag[0]) for one in replies)
        assert [one.stats["ok"] for one in replies] == [1] * 20
        print(f"\npings beside a busy conversation: median {lags[10] * 1000:.0f} ms")
        assert lags[10] < 5.0
        talked = busy._channel.received
    assert talked > 100


def test_more_than_a_node_holds_are_refused(own):
    """A node holds 32 conversations; the next one is told so, and has room when one has ended."""
    with own.client() as client:
        talks = [client.open("n1", "echo", timeout=WAIT) for _ in range(32)]
        with pytest.raises(ConversationError, match="holds 32 conversations already"):
            client.open("n1", "echo", timeout=WAIT)
        talks[0].close(WAIT)
        assert wait_until(lambda: len(events(own, talks[0].id)) == 2, WAIT)
        one = client.open("n1", "echo", timeout=WAIT)
        assert exchange(one, 1) == 1


def test_a_killed_daemon_interrupts_it(own):
    """The new daemon does not know it: the caller gets a clear error, on both ways to find out."""
    with own.client() as client:
        asks = client.open("n1", "echo", timeout=WAIT)
        waits = client.open("n1", "echo", timeout=WAIT)
        own.kill9("n1")
        own.begin()
        with pytest.raises(ConversationError, match="n1 does not know it") as over:
            exchange(asks, "are you there?")
        assert over.value.state == asks.state == "interrupted"
        with pytest.raises(ConversationError):
            waits.receive(WAIT)  # it asks by itself
        assert waits.state == "interrupted"
        again = client.open("n1", "echo", timeout=WAIT)
        again.send(1)
        assert again.receive(WAIT) == 1


@pytest.mark.parametrize("who", ["alice", "n1"])
def test_a_key_that_is_away_for_a_while_loses_no_turn(own, agent, who):
    """What could not be signed is sent once it can be; the caller is told what hinders his own."""
    own.nodes["n1"].stop()
    kind = "operator" if who == "alice" else "node"
    key = Keyring(own).certify(who, f"ssh-agent:{agent.socket}", kind=kind)
    agent.add(key)
    own.begin()
    why = "did not sign" if who == "alice" else "no turn"
    with own.client() as client, client.open("n1", "echo", timeout=WAIT) as talk:
        agent.stop()
        talk.send("kept")
        with pytest.raises(TurnTimeout, match=why):
            talk.receive(timedelta(seconds=3))
        agent.start()
        agent.add(key)
        assert talk.receive(WAIT) == "kept"


def test_a_stopped_daemon_says_so(own, tmp_path):
    """SIGTERM ends conversations at once, on both ends."""
    note = tmp_path / "note"
    with own.client() as client:
        talk = client.open("n1", "echo", {"file": str(note)}, timeout=WAIT)
        os.kill(own.nodes["n1"].pid, signal.SIGTERM)
        with pytest.raises(ConversationError, match="daemon was stopped"):
            talk.receive(WAIT)
        assert talk.state == "interrupted"


def test_a_caller_who_leaves_interrupts_it(own, tmp_path):
    """The handler is told when the client is closed without a good-bye."""
    note = tmp_path / "note"
    with own.client() as client:
        client.open("n1", "echo", {"file": str(note)}, timeout=WAIT).send("one")
    assert wait_until(note.exists, WAIT)
    assert note.read_text().splitlines()[0] == "interrupted: the client was closed"


def test_a_right_that_is_withdrawn_ends_it(own):
    """Policy is asked again while they talk."""
    with own.client() as client:
        talk = client.open("n1", "echo", timeout=WAIT)
        (own.folder / "policies" / "converse.policy").write_text("policy default deny\n")
        with pytest.raises(ConversationError, match=r"denied by policy: converse\.policy:\d+"):
            talk.receive(WAIT)
        assert talk.state == "denied"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("*\techo\t1\tcert=bob", "1 approval wanted (converse.approvals:1), and a conversation"),
        ("*\techo\tone\tcert=bob", "converse.approvals:1: "),
    ],
)
def test_what_takes_approvals_is_not_had_by_conversation(own, line, reason):
    """Where a conversation takes approvals, or their file cannot be read, it is denied, also an open one."""
    with own.client() as client:
        talk = client.open("n1", "echo", timeout=WAIT)
        path = own.folder / "policies" / "converse.approvals"
        path.write_text(f"{line}\n")
        with pytest.raises(ConversationError, match=re.escape(f"denied: {reason}")):
            talk.receive(WAIT)
        with pytest.raises(ConversationError, match=re.escape(f"denied: {reason}")):
            client.open("n1", "echo", timeout=WAIT)
    last = [one for one in own.audit("n1") if one["event"] == "denied"][-1]
    assert (last["agent"], last["action"]) == ("converse", "echo")
    assert last["reason"].startswith(f"denied: {reason}")


def test_approvals_of_another_protocol_are_no_reason(own):
    """A file of approvals that names other protocols hinders nobody."""
    path = own.folder / "policies" / "converse.approvals"
    path.write_text("*\tother\t1\tcert=bob\nbreak-glass\tcert=alice\techo\n")
    with own.client() as client, client.open("n1", "echo", timeout=WAIT) as talk:
        talk.send("heard")
        assert talk.receive(WAIT) == "heard"


def test_a_revoked_caller_talks_no_more(own):
    """A newer revocation list ends the conversations of those whom it names."""
    with own.client("bob", state="state-bob") as carrier, own.client() as client:
        talk = client.open("n1", "echo", timeout=WAIT)
        own.authority.revoke("alice")
        crl = (own.folder / "pki" / "crl.pem").read_text()
        carrier._hub.queries.carry(own.collective, ["n1"], crl)
        with pytest.raises(ConversationError, match="revoked"):
            talk.receive(WAIT)


class Wire:
    """An operator's bare connection: seals turns as it likes, and sees what comes back."""

    def __init__(self, fleet, name):
        settings = config.load(fleet.folder / f"{name}.toml")
        self.signer = load_credentials(settings.pki).signer
        self.connection = connector(settings)
        self.connection.start()
        self.inbox = SimpleQueue()
        self.collective = fleet.collective
        queue = destinations.reply(fleet.collective, f"cert={name}", "bare")
        self.connection.subscribe(queue, self.inbox, ack="auto")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def turn(self, **other):
        """A turn of alice's to n1."""
        nonce = new_nonce()
        turn = Turn(
            id=made_id("turn", "cert=alice", nonce),
            nonce=nonce,
            protocol="echo",
            caller="cert=alice",
            node="n1",
            collective=self.collective,
            session="bare",
            word="open",
            sequence=1,
            ack=0,
            limit=33,
            created=time.time(),
        )
        return replace(turn, **other)

    def say(self, turn, times=1):
        """Send it, the same bytes so many times."""
        sealed = seal_turn(turn, self.signer)
        for _ in range(times):
            where = destinations.node(self.collective, "n1")
            self.connection.send(where, sealed.body, sealed.headers)

    def heard(self, word, seconds=WAIT):
        """The next turn of this kind; None when none comes."""
        end = time.monotonic() + seconds
        try:
            while True:
                document = loads(self.inbox.get(timeout=max(0.01, end - time.monotonic())).body)
                if document["word"] == word:
                    return document
        except Empty:
            return None


def test_what_is_played_again_is_heard_once(talkers, tmp_path):
    """The same signed turn, sent again and again by whoever saw it, reaches the handler once."""
    note = tmp_path / "note"
    with Wire(talkers, "alice") as wire:
        opening = wire.turn(data={"file": str(note)})
        wire.say(opening, 3)
        assert wire.heard("open")
        one = replace(opening, word="turn", sequence=2, ack=1, data="one")
        wire.say(one, 5)
        assert wire.heard("turn")["data"] == "one"
        wire.say(opening, 2)
        wire.say(one, 2)
        wire.say(replace(one, word="close", sequence=3, ack=2, data=None))
        assert wait_until(note.exists, WAIT)
    assert note.read_text().splitlines() == ["closed", "'one'"]


def test_an_old_opening_opens_nothing(talkers):
    """What was captured long ago is refused by its date, and the clocks are named."""
    with Wire(talkers, "alice") as wire:
        wire.say(wire.turn(created=time.time() - 3600))
        assert "compare the clocks" in wire.heard("reset")["data"]["reason"]
        unknown = wire.turn(word="turn", sequence=7, ack=3, data="lost?")
        wire.say(unknown)
        said = wire.heard("reset")
        assert (said["id"], said["data"]["state"]) == (unknown.id, "interrupted")


def test_nobody_speaks_in_anothers_conversation(talkers):
    """Another operator's turns are refused, whether he gives his own name or not."""
    with Wire(talkers, "alice") as wire, Wire(talkers, "bob") as bob:
        opening = wire.turn()
        wire.say(opening)
        assert wire.heard("open")
        forged = replace(opening, word="turn", sequence=2, data="forged")
        bob.say(forged)
        bob.say(replace(forged, caller="cert=bob"))
        bob.say(replace(opening, caller="cert=bob", word="reset", sequence=0))
        wire.say(replace(opening, word="turn", sequence=2, ack=1, data="true"))
        assert wire.heard("turn")["data"] == "true"
        refused = lambda: [  # noqa: E731 - asked twice
            one["reason"]
            for one in talkers.audit("n1")
            if one["requestid"] == opening.id and one["event"] == "refused"
        ]
        assert wait_until(lambda: len(refused()) == 3, WAIT)
        assert refused() == ["caller_mismatch"] * 3


def exchange(talk, data):
    """Say something and wait for the answer."""
    talk.send(data, WAIT)
    return talk.receive(WAIT)


def events(fleet, conversation):
    """What the node's audit says of a conversation."""
    return [one for one in fleet.audit("n1") if one.get("requestid") == conversation]
