"""Random schedules of drop, delay, duplicate, crash and restart, on a simulated broker and clock.

The broker is a list of messages under way; the clock is a number; the session file is a real
one. What is checked is the accounting: every target in one state, moves along the arrows of
mcshell/README.md §5 only, and what the file says is what a live ledger says.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mcshell.client.messaging.tracker import RequestTracker
from mcshell.client.store.ledger import LedgerEntry, judge
from mcshell.client.store.records import ReplyRecord, RequestRecord
from mcshell.client.store.store import SessionStore
from mcshell.message import Filter, Reply, State, Via

ID = "ab" * 16
TARGETS = ("a", "b", "c")
FINALS = {State.OK, State.FAILED, State.DENIED, State.INTERRUPTED}
ARROWS = {
    State.PENDING: {State.RECEIVED, State.RUNNING, State.EXPIRED, *FINALS},
    State.RECEIVED: {State.RUNNING, *FINALS},
    State.RUNNING: FINALS,
    State.EXPIRED: {State.RECEIVED, State.RUNNING, *FINALS},
    **{state: set() for state in FINALS},
}
SAYABLE = [State.RECEIVED, State.RUNNING, *sorted(FINALS)]
SEQUENCE = {State.RECEIVED: 0, State.RUNNING: 1}


class Schedule(RuleBasedStateMachine):
    """One durable request, its nodes, the messages under way and the client's two memories."""

    @initialize()
    def ask(self):
        """The request is committed; nothing has been heard."""
        self.folder = tempfile.TemporaryDirectory()
        self.store = SessionStore(Path(self.folder.name) / "s.sqlite")
        self.now = 100.0
        self.record = RequestRecord(
            id=ID,
            agent="exec",
            action="run",
            via=Via.QUEUE,
            collective="mcs",
            created=100.0,
            expires=1e12,
            filter=Filter(),
            data={},
        )
        self.store.add(self.record, TARGETS)
        self.tracker = RequestTracker(self.record, TARGETS)
        self.under_way: list[ReplyRecord] = []
        self.before = dict.fromkeys(TARGETS, State.PENDING)
        self.said = 0

    @rule(
        sender=st.sampled_from([*TARGETS, "stranger"]),
        states=st.lists(st.sampled_from(SAYABLE), min_size=1, max_size=3),
        attempt=st.integers(0, 2),
    )
    def say(self, sender, states, attempt):
        """A node says something; a reply of the same number may differ, as a clone's does."""
        for state in states:
            self._say(sender, state, attempt)

    def _say(self, sender, state, attempt):
        self.said += 1
        number = SEQUENCE.get(state, 2) + 3 * attempt
        code = None if state in SEQUENCE else int(state is not State.OK)
        reply = Reply(
            requestid=ID,
            sender=sender,
            sequence=number,
            statuscode=code,
            statusmsg="",
            data={},
            created=self.now,
            state=state,
        )
        document = {
            "v": 2,
            "kind": "reply",
            "id": ID,
            "sender": sender,
            "sequence": number,
            "statuscode": code,
            "statusmsg": "",
            "data": {"said": self.said},
            "created": self.now,
            "state": state.value,
        }
        body = json.dumps(document).encode()
        self.under_way.append(
            ReplyRecord(
                reply=reply, kept=0.0, body=body, signature="s", certificate="c", target=sender
            )
        )

    @rule(data=st.data())
    def deliver(self, data):
        """A group of messages arrives, in any order; it is kept, acknowledged and entered."""
        self._keep(self._some(data, take=True))

    @rule(data=st.data())
    def crash_before_the_acknowledgement(self, data):
        """A group is kept, the client dies: the broker delivers it again later."""
        self._keep(self._some(data, take=False))
        self.restart()

    @rule(data=st.data())
    def crash_before_the_commit(self, data):
        """The client dies with a group in hand: nothing of it is kept, all of it comes again."""
        self._some(data, take=False)
        self.restart()

    @rule(data=st.data())
    def drop(self, data):
        """Messages are lost for good."""
        self._some(data, take=True)

    @rule(data=st.data())
    def duplicate(self, data):
        """The broker delivers some messages twice."""
        self.under_way += self._some(data, take=False)

    @rule()
    def restart(self):
        """A new process makes its ledger from the file."""
        self.tracker = RequestTracker(self.record, entries=self.store.entries(ID))

    @rule()
    def expire(self):
        """The request's time is over: what is pending has expired, in both memories."""
        self.store.lapse(2e12)
        pending = self.tracker.pending(TARGETS)
        expired = [judge(LedgerEntry(sender=name), State.EXPIRED, "over") for name in pending]
        self.tracker.enter(expired, heard=False)

    def _some(self, data, *, take):
        numbers = st.integers(0, max(0, len(self.under_way) - 1))
        picks = data.draw(st.lists(numbers, unique=True, min_size=1, max_size=4))
        chosen = picks if self.under_way else []
        words = [self.under_way[i] for i in chosen]
        if take:
            self.under_way = [w for i, w in enumerate(self.under_way) if i not in chosen]
        return words

    def _keep(self, words):
        self.now += 1.0
        kept = [word._replace(kept=self.now) for word in words]
        self.tracker.enter(entry for _id, entry in self.store.enter(kept, durable=True))

    @invariant()
    def states_sum_to_the_targets(self):
        """Every target is in exactly one state, in the file's counts too."""
        stats = self.tracker.stats().as_dict()
        assert sum(stats[state.value] for state in State) == len(TARGETS)
        ((_record, counts),) = self.store.requests()
        assert sum(n for state, n in counts.items() if state != "unexpected") == len(TARGETS)
        assert counts.get("unexpected", 0) == stats["unexpected"]

    @invariant()
    def moves_follow_the_arrows(self):
        """A state only changes into one that §5 lets follow it (or several in a row)."""
        for name, entry in self.tracker._ledger.targets.items():
            before = self.before[name]
            assert entry.state is before or entry.state in _reachable(before), (before, entry)
            self.before[name] = entry.state

    @invariant()
    def file_and_ledger_agree(self):
        """A ledger made from the file is the live one."""
        fresh = RequestTracker(self.record, entries=self.store.entries(ID))
        mine = {e.sender: (e.state, e.late, e.duplicate, e.attempt) for e in self.tracker.entries()}
        kept = {e.sender: (e.state, e.late, e.duplicate, e.attempt) for e in fresh.entries()}
        assert mine == kept

    def teardown(self):
        """Close the file."""
        self.store.close()
        self.folder.cleanup()


def _reachable(state):
    found, todo = set(), {state}
    while todo:
        todo = {after for one in todo for after in ARROWS[one]} - found
        found |= todo
    return found


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
