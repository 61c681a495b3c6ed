"""Waves, failures and gates of a plan, without a fleet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcshell.client.plans.gates import NodeResult, cut, gate, in_order, stopped
from mcshell.message import State, Step

SHARES = st.one_of(
    st.integers(1, 50).map(str), st.integers(1, 100).map(lambda number: f"{number}%")
)


def step(name: str = "web", **more) -> Step:
    """A step of which only the order matters."""
    return Step(name=name, agent="mark", action="once", **more)


def outcomes(**states: str) -> list[NodeResult]:
    """Outcomes by name."""
    return [NodeResult(name, State(state), "so") for name, state in states.items()]


@given(st.integers(0, 300), st.lists(SHARES, max_size=5))
def test_waves_hold_every_node_once_and_in_order(count, shares):
    """However a step is cut, nobody is left out, nobody is twice, and no wave is empty."""
    names = [f"n{number}" for number in range(count)]
    waves = cut(names, [*shares, "rest"])
    assert [name for wave in waves for name in wave] == names
    assert all(waves)


def test_a_canary_then_a_tenth_then_the_rest():
    """Percentages are of all nodes, not of those that are left."""
    sizes = [len(wave) for wave in cut([f"n{n}" for n in range(25)], ("1", "10%", "rest"))]
    assert sizes == [1, 3, 21]


def test_the_order_is_the_written_one_where_nothing_says_otherwise():
    """A step moves behind those it waits for, and no further."""
    steps = [step("c", gates=(("a", "ok"),)), step("b"), step("a")]
    assert [one.name for one in in_order(steps)] == ["b", "a", "c"]


def test_so_many_failures_stop():
    """The limit is a number or a share; whoever gave no reply has failed, who may still has not."""
    some = outcomes(n1="ok", n2="failed", n3="expired", n4="running")
    assert stopped(step(stop="2"), some, 4).startswith("web: 2 of 4 failed, it stops at 2: n2")
    assert stopped(step(stop="3"), some, 4) == ""
    assert stopped(step(stop="50%"), some, 4) != ""
    assert stopped(step(stop="51%"), some, 4) == ""


def test_a_gate_says_why_it_stays_closed():
    """The step, what it wants, and who is in the way."""
    ends = {"db": outcomes(db1="ok", db2="denied")}
    why = gate(step(gates=(("db", "ok"),)), ends)
    assert why == "web wants db all ok, but 1 of 2 is not: db2 (denied: so)"
    assert gate(step(gates=(("db", "50%"),)), ends) == ""
    assert gate(step(gates=(("db", "51%"),)), ends) != ""
    assert gate(step(gates=(("db", "done"),)), ends) == ""
    assert gate(step(gates=(("db", "done"),)), {"db": outcomes(db1="running")}) != ""


def test_many_are_named_as_a_range():
    """A reason stays a line, however many have failed."""
    ends = {"db": outcomes(**{f"db{number}": "failed" for number in range(1, 41)})}
    assert "db[1-40] (db1: failed: so)" in gate(step(gates=(("db", "ok"),)), ends)
