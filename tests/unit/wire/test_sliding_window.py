"""Order and flow without a wire: whatever the network does, each turn comes once and in order."""

from __future__ import annotations

import heapq
import itertools
import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mcshell.wire.conversation.sliding_window import (
    AT_ONCE,
    FIRST_WAIT,
    LAZY,
    MOST_WAIT,
    Packet,
    SlidingWindow,
)

UNKIND = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "lost": st.floats(0, 0.6),
        "twice": st.floats(0, 0.5),
        "slow": st.floats(0.001, 3.0),
        "cuts": st.floats(0, 0.1),
        "lazy": st.floats(0, 0.8),
        "window": st.integers(1, 8),
        "count": st.tuples(st.integers(0, 60), st.integers(0, 60)),
    }
)


class World:
    """Two ends, a fake clock, and a network between them that loses, repeats, delays and breaks."""

    def __init__(self, seed, window, lost, twice, slow, cuts, lazy, count):
        self.chance = random.Random(seed)
        self.now = 0.0
        self.ends = [
            SlidingWindow(0.0, window=window, keepalive=10.0),
            SlidingWindow(0.0, window=window),
        ]
        self.trouble = {"lost": lost, "twice": twice, "cuts": cuts, "lazy": lazy}
        self.slow = slow
        self.count = count
        self.put = [0, 0]
        self.taken: list[list[int]] = [[], []]
        self.flying: list[tuple[float, int, int, Packet]] = []
        self.number = itertools.count()
        self.most = 0

    def happens(self, what):
        """Whether a trouble strikes now."""
        return self.chance.random() < self.trouble[what]

    def step(self):
        """Send, let time pass, receive, perhaps break, perhaps take."""
        for here, end in enumerate(self.ends):
            while self.put[here] < self.count[here] and not end.full:
                end.put(self.put[here])
                self.put[here] += 1
            for packet in end.due(self.now):
                for _copy in range(2 if self.happens("twice") else 1):
                    if not self.happens("lost"):
                        self.send(1 - here, packet)
            self.most = max(self.most, len(end._ready) + len(end._early))
        self.now = max(self.now, min(self.next_moment(), self.now + 1.0))
        while self.flying and self.flying[0][0] <= self.now:
            _at, _number, to, packet = heapq.heappop(self.flying)
            self.ends[to].heard(packet, self.now)
        for here, end in enumerate(self.ends):
            if self.happens("cuts"):  # what is under way to it is lost; only it knows
                self.flying = [one for one in self.flying if one[2] != here]
                heapq.heapify(self.flying)
                end.again()
            while not self.happens("lazy") and (item := end.take()) is not None:
                self.taken[here].append(item)

    def send(self, to, packet):
        """Put a packet under way."""
        at = self.now + self.chance.random() * self.slow
        heapq.heappush(self.flying, (at, next(self.number), to, packet))

    def next_moment(self):
        """When something happens next."""
        arrival = self.flying[0][0] if self.flying else math.inf
        return min(arrival, *(end.wake() for end in self.ends))

    @property
    def done(self):
        """Whether all that was sent has been taken."""
        return [len(one) for one in self.taken] == [self.count[1], self.count[0]]


@settings(deadline=None, max_examples=150)
@given(unkind=UNKIND)
def test_each_turn_comes_once_and_in_order(unkind):
    """Through loss, repetition, reordering and broken connections, both ways at once."""
    world = World(**unkind)
    for _ in range(3000):
        if world.done:
            break
        world.step()
        for here in (0, 1):
            assert world.taken[here] == list(range(len(world.taken[here])))
        assert world.most <= unkind["window"]
    world.trouble = dict.fromkeys(world.trouble, 0.0)
    for _ in range(5000):
        if world.done and all(end.all_acknowledged for end in world.ends):
            break
        world.step()
    assert world.done
    assert all(end.all_acknowledged for end in world.ends)


@settings(deadline=None)
@given(
    packets=st.lists(
        st.builds(
            Packet,
            st.integers(0, 100),
            st.integers(0, 100),
            st.integers(0, 2**53),
            st.none() | st.integers(),
        ),
        max_size=60,
    )
)
def test_nonsense_breaks_nothing(packets):
    """Whatever numbers another end makes up, nothing raises and nothing grows past the window."""
    end: SlidingWindow[int] = SlidingWindow(0.0, window=4)
    for number in range(3):
        end.put(number)
    for now, packet in enumerate(packets):
        end.heard(packet, float(now))
        end.due(float(now))
        end.wake()
        assert len(end._ready) + len(end._early) <= 4


def pair(window=4):
    """Two ends that have exchanged their first packets."""
    ends = [SlidingWindow(0.0, window=window, keepalive=10.0), SlidingWindow(0.0, window=window)]
    ends[0].put("open")
    exchange(ends, 0.0)
    assert ends[1].take() == "open"
    exchange(ends, 0.5)
    return ends


def exchange(ends, now):
    """Carry over what each has to say, until both are silent; returns how many packets went."""
    count = 0
    while packets := [(here, p) for here in (0, 1) for p in ends[here].due(now)]:
        for here, packet in packets:
            ends[1 - here].heard(packet, now)
            count += 1
    return count


def test_a_full_window_waits_and_goes_on():
    """Who takes nothing is sent a window and no more; once he takes, the rest comes."""
    ends = pair()
    for number in range(10):
        ends[0].put(number)
    exchange(ends, 1.0)
    assert len(ends[1]._ready) == 4
    assert ends[0].full
    assert [ends[1].take() for _ in range(4)] == [0, 1, 2, 3]
    exchange(ends, 2.0)
    assert [ends[1].take() for _ in range(4)] == [4, 5, 6, 7]


def test_a_lost_word_about_room_is_asked_for():
    """When the packet about new room is lost, the one who waits asks, and goes on."""
    ends = pair()
    for number in range(6):
        ends[0].put(number)
    exchange(ends, 1.0)
    while ends[1].take() is not None:
        pass
    assert ends[1].due(1.0)  # the packet about room, lost
    assert not ends[0].due(1.1)
    exchange(ends, 5.0)
    assert ends[1].take() == 4


def test_silence_is_asked_about():
    """After the keep-alive time the other end is made to answer; two quiet ends do no more."""
    ends = pair()
    exchange(ends, 1.0)
    assert exchange(ends, 5.0) == 0
    assert exchange(ends, 12.0) == 2
    assert ends[0].heard_at == 12.0


def test_acknowledgements_travel_with_answers():
    """A quick answer carries the acknowledgement; alone it waits a moment."""
    ends = pair(window=32)
    ends[0].put("question")
    for packet in ends[0].due(1.0):
        ends[1].heard(packet, 1.0)
    assert not ends[1].due(1.0)
    assert ends[1].wake() == 1.0 + LAZY
    ends[1].put("answer")
    assert [packet.ack for packet in ends[1].due(1.0)] == [2]
    assert ends[1]._ack_at is None


def test_resends_become_rarer_and_a_new_connection_sends_at_once():
    """Without an answer the pauses grow to their most; a new connection waits for nothing."""
    ends = pair()
    ends[0].put("lost")
    ends[0].due(0.5)
    moments = []
    for _ in range(8):
        now = ends[0].wake()
        moments.append(now)
        assert len(ends[0].due(now)) == 1
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MOST_WAIT
    ends[0].again()
    assert ends[0].wake() == AT_ONCE
    assert len(ends[0].due(moments[-1])) == 1


def test_a_new_connection_says_nothing_about_how_long_an_answer_takes():
    """What was acknowledged while we were away leaves the pauses as short as they were."""
    ends = pair()
    ends[0].put("turn")
    ends[0].due(1.0)
    ends[0].again()
    ends[0].heard(Packet(0, 2, 9), 1.1)
    ends[0].put("lost")
    ends[0].due(2.0)
    assert ends[0].wake() <= 2.0 + FIRST_WAIT
