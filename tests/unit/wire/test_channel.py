"""Both ends of a conversation without a wire: how it opens, ends, and what each is told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.errors import ConversationError, TurnTimeout
from mcshell.wire.conversation.channel import LINGER, LOST, Channel, ConversationId, reset

HEAD = ConversationId(
    id="0" * 32, protocol="echo", caller="cert=alice", node="web1", collective="mcs", session="s1"
)


class Pair:
    """An asking end and an answering one, and a link that may lose what it carries."""

    def __init__(self, seed=0, lost=0.0):
        self.chance = random.Random(seed)
        self.lost = lost
        self.now = 0.0
        self.ends = [Channel(HEAD, lambda: None, 0.0, asks=asks) for asks in (True, False)]
        self.said: list[str] = []

    def run(self, seconds, step=0.1):
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            for here in (0, 1):
                for turn in self.ends[here].due(self.now):
                    self.said.append(turn.word)
                    if self.chance.random() >= self.lost:
                        self.ends[1 - here].heard(turn, self.now)

    def until(self, condition):
        """Let time pass until something holds."""
        end = self.now + 900
        while not condition():
            assert self.now < end
            self.run(1)

    def opened(self):
        """Open it, and let the other end agree."""
        self.ends[0].put_open({"hello": 1})
        self.ends[1].put_open(None)
        self.until(lambda: self.ends[0].state == "open")
        return self


def taken(channel):
    """All turns that are there."""
    found = []
    while True:
        try:
            found.append(channel.receive(0))
        except ConversationError:
            return found


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    lost=st.floats(0, 0.3),
    counts=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    first=st.sampled_from([0, 1]),
)
def test_both_ends_part_in_peace(seed, lost, counts, first):
    """Whoever closes, over a link that loses much: all turns come, and both ends agree."""
    pair = Pair(seed, lost).opened()
    assert [end.state for end in pair.ends] == ["open", "open"]
    for here in (0, 1):
        for number in range(counts[here]):
            pair.ends[here].send(number, 0)
    found = [[], []]

    def all_there():
        for here in (0, 1):
            found[here] += taken(pair.ends[here])
        return [len(one) for one in found] == [counts[1], counts[0]]

    pair.until(all_there)
    assert found == [list(range(counts[1])), list(range(counts[0]))]
    pair.ends[first].close()
    pair.until(lambda: pair.ends[1 - first]._theirs)
    pair.ends[1].close()  # the handler's thread does, once it has read all
    pair.until(lambda: all(end.ended for end in pair.ends))
    assert [end.state for end in pair.ends] == ["closed", "closed"]
    assert not any(end.over(pair.now) for end in pair.ends)
    assert all(end.over(pair.now + LINGER) for end in pair.ends)
    for end in pair.ends:
        with pytest.raises(ConversationError) as over:
            end.receive(0)
        assert over.value.state == "closed"


@pytest.mark.parametrize("state", ["odd", ["denied"], {"a": 1}, None])
def test_an_odd_reset_ends_it_too(state):
    """Whatever the other end calls the state, it is over, for a reason of bounded length."""
    pair = Pair().opened()
    pair.ends[0].heard(reset(HEAD, state, "x" * 100_000), pair.now)
    assert pair.ends[0].state == "interrupted"
    assert len(pair.ends[0].reason) == 1000


def test_what_came_before_the_end_can_be_read():
    """A reset ends it at once; turns that had come are returned first, then its reason raises."""
    pair = Pair().opened()
    pair.ends[1].send("last words", 0)
    pair.run(1)
    pair.ends[1].end("failed", "as told")
    pair.run(1)
    assert pair.ends[0].receive(0) == "last words"
    for _ in range(2):
        with pytest.raises(ConversationError, match="failed: as told"):
            pair.ends[0].receive(0)
    with pytest.raises(ConversationError, match="failed: as told"):
        pair.ends[0].send("more", 0)


def test_who_has_closed_and_is_reset_rests():
    """An end that was closing while the other died has nothing more to send, and asks for no look at it."""
    pair = Pair().opened()
    pair.ends[0].send("never acknowledged")
    pair.ends[0].close()
    pair.ends[0].due(pair.now)
    pair.ends[0].heard(reset(HEAD, "interrupted", "it died"), pair.now)
    assert not pair.ends[0].over(pair.now)
    assert pair.ends[0].wake() == pair.now + LINGER


def test_no_reset_is_answered():
    """Two ends that have ended say nothing more to each other."""
    pair = Pair().opened()
    pair.ends[0].end("interrupted", "one")
    pair.ends[1].end("interrupted", "other")
    pair.run(5)
    assert pair.said.count("reset") == 2
    assert pair.ends[0].reason == "one"


def test_silence_ends_it():
    """After two minutes without a turn both ends give up, each for itself, and say so."""
    pair = Pair().opened()
    pair.lost = 1.0
    pair.run(LOST + 20, 1.0)
    assert [end.state for end in pair.ends] == ["interrupted", "interrupted"]
    assert pair.ends[0].reason == "no word of web1 for 120 s"


def test_quiet_is_not_silence():
    """An hour in which nobody has anything to say ends nothing."""
    pair = Pair().opened()
    pair.run(3600, 1.0)
    assert [end.state for end in pair.ends] == ["open", "open"]


def test_nobody_waits_longer_than_asked():
    """Waits that are over raise TurnTimeout, and change nothing."""
    pair = Pair().opened()
    with pytest.raises(TurnTimeout):
        pair.ends[0].receive(0)
    for number in range(32):
        pair.ends[0].send(number, 0)
    with pytest.raises(TurnTimeout, match="took nothing"):
        pair.ends[0].send("too much", 0)
    pair.run(5)
    found = taken(pair.ends[1])
    pair.run(5)
    assert found + taken(pair.ends[1]) == list(range(32))


def test_a_word_of_another_state_is_an_interruption():
    """A reset with a state that is none of ours is taken as an interruption."""
    pair = Pair().opened()
    pair.ends[1].end("nonsense", "?")
    pair.run(1)
    assert pair.ends[0].state == "interrupted"
