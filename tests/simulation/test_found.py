"""What seeds have found, each as the shortest run in which it happens again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.history.checker import check, report
from tests.simulation.run import SETTLED, Settled
from tests.simulation.world import Question, World

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(300)

MOST = 200_000


def question(name: str, via: str, *, at: float = 1.0, **more: object) -> Question:
    """What is asked of n1, or of the pool; not safe to run twice."""
    values = {"action": "once", "before": 0.0, "after": 0.2, "wait": False, **more}
    target = "pool:pool" if via == "pool" else "n1"
    return Question(name=name, via=via, targets=(target,), at=at, **values)  # type: ignore[arg-type]


def played(
    questions: list[Question], script: Callable[[World], None], seed: int = 1
) -> tuple[World, dict[str, str]]:
    """Play a run in which `script` is called before each step; checked, with the states of its rows."""
    with World(random.Random(seed), questions, keeps_unacked=False, forgets=False) as world:
        scheduler = world.scheduler
        scheduler.before_step = lambda: script(world)
        world.tend()
        scheduler.run(Settled(world).look, SETTLED, MOST)
        scheduler.run(lambda: False, scheduler.now + 15.0, MOST)
        history = world.finish()
        assert not scheduler.flaws, scheduler.flaws
        assert not check(history), report(check(history))
        return world, {row.request: row.state for row in world.rows()}


def test_a_node_whose_connections_break_as_it_starts():
    """A node serves in the end, however often its line is cut before it has subscribed."""

    def script(world: World) -> None:
        for link in world.broker.links if world.scheduler.now < 1.5 else ():
            if link.process.name.startswith("n1") and not link.severed:
                link.sever(here=0.0, there=0.0, reason="the line was cut")

    _world, states = played([question("q", "queue")], script)
    assert states == {"q": "ok"}


def test_a_follower_that_takes_over_without_a_connection():
    """Who follows a session takes it over once there is a broker, when its holder died without one."""
    done: list[str] = []

    def script(world: World) -> None:
        if world.scheduler.now > 2.0 and not done:
            done.append("killed")
            (name,) = [one for one, client in world.clients.items() if client.session.holds]
            held = world.places[name]
            held.wanted = False
            world.kill(held)
            world.broker.stop()
            world.scheduler.at(world.scheduler.now + 25.0, world.broker.start)

    _world, states = played([question("q", "queue", before=3.0)], script)
    assert states == {"q": "ok"}
    assert done


def test_two_processes_of_a_session_ask_a_pool():
    """A request to a pool runs once, though two processes send what their session has unsent."""
    for seed in range(12):
        questions = [question(f"q{number}", "pool", at=1.0, after=0.0) for number in range(4)]
        _world, states = played(questions, lambda _world: None, seed)
        assert set(states.values()) == {"ok"}


def test_a_pool_request_whose_confirmation_is_lost():
    """It is sent once more, says so, and runs once: the worker of the copy does not begin it."""
    said = set()
    for seed in range(12):  # which copy another worker has is a matter of luck
        cut: list[float] = []

        def script(world: World, cut: list[float] = cut) -> None:
            there = world.broker.find(".pool.")
            if there is not None and not cut and not there.safe:
                cut.append(world.scheduler.now)
                for link in world.broker.links:
                    if link.process.name.startswith("client") and not link.severed:
                        link.sever(here=0.0, there=0.0, reason="the line was cut")

        world, states = played([question("q", "pool", before=0.5)], script, seed)
        assert cut
        assert states == {"q": "ok"}
        said |= {one.state for one in world.said}
    assert said == {"ok", "interrupted"}


def test_a_node_that_starts_on_a_full_disk_with_a_run_that_died():
    """It serves all else, and says what became of the run once there is room."""
    done: list[str] = []

    def script(world: World) -> None:
        place = world.places["n1"]
        if world.scheduler.now > 2.5 and not done:
            done.append("cut")
            world.power_cut(place.machine)
            world.disk.full.add(place.machine)
            later = world.scheduler.now + 30.0
            world.scheduler.at(later, lambda: world.disk.full.discard(place.machine))

    questions = [question("q", "queue", before=9.0), question("p", "pool", at=4.0)]
    _world, states = played(questions, script)
    assert states["q"] == "interrupted"
    assert states["p"] in {"ok", "failed"}
