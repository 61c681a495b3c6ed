"""Who is next: callers go round, and each one's order is kept."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from mcshell.node.execution.caller_queue import CallerQueue, CallerRounds

callers = st.sampled_from("abcd")


@given(puts=st.lists(callers, max_size=60), without=st.frozensets(callers, max_size=3))
def test_nobody_is_passed_twice_by_another(puts: list[str], without: frozenset[str]) -> None:
    """Between two turns of one caller every other who waits has one; his own stay in order."""
    queue: CallerQueue[tuple[str, int]] = CallerQueue()
    for number, caller in enumerate(puts):
        queue.put(caller, (caller, number))
    assert len(queue) == len(puts)
    left = Counter(puts)
    turns: Counter[str] = Counter()
    taken: dict[str, list[int]] = {}
    while (item := queue.take(without)) is not None:
        caller, number = item
        taken.setdefault(caller, []).append(number)
        left[caller] -= 1
        turns[caller] += 1
        waiting = [one for one in left if left[one] and one not in without]
        assert all(turns[one] >= turns[caller] - 1 for one in waiting)
    assert taken == {
        one: [number for number, put in enumerate(puts) if put == one]
        for one in set(puts) - without
    }
    assert bool(queue) == any(one in without for one in puts)
    queue.clear()
    assert not queue


@given(waits=st.dictionaries(callers, st.integers(1, 30), min_size=1), slots=st.integers(1, 4))
def test_a_slot_goes_round(waits: dict[str, int], slots: int) -> None:
    """However much one has asked for, another's turn comes within a round of the slots."""
    rounds = CallerRounds()
    busy: deque[str] = deque()
    since = dict.fromkeys(waits, 0)
    left = dict(waits)
    while left:
        if len(busy) == slots:
            busy.popleft()
        chosen = rounds.next(left, Counter(busy))
        busy.append(chosen)
        for one in left:
            since[one] = 0 if one == chosen else since[one] + 1
            assert since[one] <= len(waits) + slots
        left[chosen] -= 1
        if not left[chosen]:
            del left[chosen]


def test_memory_of_turns_is_bounded() -> None:
    """Ten thousand callers are not all remembered; the newest are."""
    rounds = CallerRounds()
    for number in range(10_000):
        rounds.next([str(number)], {})
    assert len(rounds._last) <= 1000
    assert rounds.next(["9999", "0"], {}) == "0"
