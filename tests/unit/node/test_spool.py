"""The spool beside a slow model of itself, over any order of calls and reopenings."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mcshell.errors import ConfigError
from mcshell.node.store.records import FINAL, QUEUED, RUNNING, WorkResult
from mcshell.node.store.spool import Spool
from tests.unit.node.spool_rows import row, word

IDENTITIES = ("n1", "n2")
IDS = tuple(f"{number:032x}" for number in range(6))
keys = st.tuples(st.sampled_from(IDENTITIES), st.sampled_from(IDS))
moments = st.floats(0, 100)


class SpoolMachine(RuleBasedStateMachine):
    """Each call, on the spool and on a dict; the file is closed and opened in between."""

    @initialize()
    def begin(self) -> None:
        """An empty file."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "work.sqlite"
        self.spool = Spool(self.path)
        self.states: dict[tuple[str, str], str] = {}
        self.attempts: dict[tuple[str, str], int] = {}
        self.outbox: set[tuple[str, str, int]] = set()

    def teardown(self) -> None:
        """Close the file."""
        if hasattr(self, "spool"):
            self.spool.close()
            self.folder.cleanup()

    @rule(chosen=st.lists(keys, max_size=4), refused=st.booleans(), due=moments)
    def admit(self, chosen: list[tuple[str, str]], *, refused: bool, due: float) -> None:
        """Only an id that is new to the identity is taken, and only then its reply."""
        state = "denied" if refused else QUEUED
        rows = [row(name, int(one, 16), state=state, due=due) for name, one in chosen]
        words = [word(key) for key in chosen] if refused else []
        taken = self.spool.add(rows, words)
        for key, new in zip(chosen, taken, strict=True):
            assert new is (key not in self.states)
            if new:
                self.states[key], self.attempts[key] = state, 0
                if refused:
                    self.outbox.add((*key, 2))

    @rule(chosen=st.lists(keys, max_size=4))
    def start(self, chosen: list[tuple[str, str]]) -> None:
        """Only what is queued can be started, once."""
        for key, mine in zip(chosen, self.spool.start(chosen, 2.0), strict=True):
            assert mine is (self.states.get(key) == QUEUED)
            if mine:
                self.states[key] = RUNNING
                self.attempts[key] += 1

    @rule(key=keys, state=st.sampled_from(sorted(FINAL)), says=st.booleans())
    def finish(self, key: tuple[str, str], state: str, *, says: bool) -> None:
        """Only what is open can end, and only then its reply goes out."""
        end = WorkResult(
            key=key,
            state=state,
            statuscode=0,
            statusmsg="",
            ended=3.0,
            message=word(key) if says else None,
        )
        (mine,) = self.spool.finish([end])
        assert mine is (self.states.get(key) in (QUEUED, RUNNING))
        if mine:
            self.states[key] = state
            if says:
                self.outbox.add((*key, 2))

    @rule(key=keys)
    def again(self, key: tuple[str, str]) -> None:
        """Only what runs can wait again."""
        self.spool.requeue([key], 4.0)
        if self.states.get(key) == RUNNING:
            self.states[key] = QUEUED

    @rule(count=st.integers(1, 3))
    def said(self, count: int) -> None:
        """What the broker has is dropped, the oldest first."""
        words = self.spool.unconfirmed(limit=count)
        self.spool.confirmed([one.number or 0 for one in words])
        self.outbox -= {(one.identity, one.request, one.sequence) for one in words}

    @rule()
    def reopen(self) -> None:
        """The process dies and another opens the file."""
        self.spool.close()
        self.spool = Spool(self.path)

    @invariant()
    def agree(self) -> None:
        """Spool and model say the same of every row and of the outbox."""
        if not hasattr(self, "spool"):
            return
        assert self.spool.states(self.states) == self.states
        waiting = [key for key, state in self.states.items() if state == QUEUED]
        running = {key for key, state in self.states.items() if state == RUNNING}
        assert {one.key for one in self.spool.running()} == running
        for identity in IDENTITIES:
            due = self.spool.due(identity, 1000.0, 100)
            assert sorted(one.key for one in due) == sorted(k for k in waiting if k[0] == identity)
            assert [one.due for one in due] == sorted(one.due for one in due)
            assert self.spool.waiting(identity) == len(due)
        for key, attempts in self.attempts.items():
            found = self.spool.get(key)
            assert found is not None
            assert found.attempt == attempts
            assert (found.body is None) is (found.state in FINAL and found.state != "denied") or (
                found.state == "denied"
            )
        unsaid = self.spool.unconfirmed()
        assert {(one.identity, one.request, one.sequence) for one in unsaid} == self.outbox
        numbers = [one.number or 0 for one in unsaid]
        assert numbers == sorted(numbers)


SpoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty one."""
    return Spool(tmp_path / "work.sqlite")


def test_order_is_due_then_arrival(spool: Spool) -> None:
    """The oldest goes first; an agent whose slots are taken is passed over."""
    spool.add([row(number=1, due=5.0), row(number=2, due=3.0), row(number=3, due=3.0)])
    spool.add([row(number=4, due=1.0, agent="other"), row(number=5, due=99.0)])
    found = spool.due("n1", 10.0, 10, ["other"])
    assert [int(one.id, 16) for one in found] == [2, 3, 1]
    spool.close()


def test_seen_counts_those_before(spool: Spool) -> None:
    """The place in the spool is how many go before; an unknown id is None."""
    spool.add([row(number=number) for number in (1, 2, 3)])
    spool.add([row("n2", 9)])
    third = spool.seen("n1", row(number=3).id)
    assert third is not None
    assert (third["state"], third["place"]) == ("queued", 2)
    assert spool.seen("n1", "f" * 32) is None
    spool.close()


def test_overdue_and_purge(spool: Spool) -> None:
    """What waits past its ttl is found; what ended long ago is forgotten, open rows never."""
    spool.add([row(number=1, expires=10.0), row(number=2), row(number=3, expires=10.0)])
    spool.start([row(number=3).key], 5.0)
    assert [one.id for one in spool.overdue(20.0)] == [row(number=1).id]
    spool.finish(
        [WorkResult(key=row(number=1).key, state="expired", statuscode=5, statusmsg="", ended=20.0)]
    )
    assert spool.purge(5000.0, 10_000.0) == 0
    assert spool.purge(50_000.0, 10_000.0) == 1
    assert spool.get(row(number=3).key) is not None
    spool.close()


def test_forsaken_rows_of_pools_can_be_claimed_again(spool: Spool) -> None:
    """What a worker left without a reply may be begun again; what was answered never."""
    first, second = (row(number=n, via="pool", state=RUNNING, attempt=1) for n in (1, 2))
    assert spool.claim([first, second], []) == [True, True]
    assert spool.claim([first], []) == [False]
    spool.claim(
        [],
        [
            WorkResult(
                key=second.key,
                state="ok",
                statuscode=0,
                statusmsg="",
                ended=2.0,
                message=word(second.key),
            )
        ],
    )
    spool.abandon("n1", 3.0)
    assert spool.claim([replace(first, attempt=2), second], []) == [True, False]
    found = spool.get(first.key)
    assert found is not None
    assert (found.state, found.attempt) == (RUNNING, 2)
    spool.close()


def test_outbox_is_read_a_piece_at_a_time(spool: Spool) -> None:
    """Large replies are read some at a time, and one that is larger still alone."""
    rows = [row(number=number, state="ok") for number in range(4)]
    sizes = (3 << 20, 3 << 20, 5 << 20, 10)
    spool.add(rows, [word(r.key, size=size) for r, size in zip(rows, sizes, strict=True)])
    pieces = []
    while words := spool.unconfirmed():
        pieces.append(len(words))
        spool.confirmed([one.number or 0 for one in words])
    assert pieces == [1, 1, 1, 1]
    spool.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    path = tmp_path / "work.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match=r"work\.sqlite"):
        Spool(path)
