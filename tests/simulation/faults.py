"""What goes wrong in a run, and how often: before each step the seed may choose one thing of these."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from mcshell.message import Reply, ReplySequence, State
from mcshell.wire import destinations
from mcshell.wire.documents.envelope import read_request, seal_reply

if TYPE_CHECKING:
    import random

    from tests.simulation.world import Place, World

__all__ = ["Faults"]

WEIGHTS: Final = {
    "connection broken": 30,
    "message twice": 12,
    "false reply": 8,
    "node killed": 14,
    "client killed": 12,
    "broker restarted": 6,
    "power cut": 6,
    "session moved": 2,
    "disk full": 4,
    "clock jumped": 6,
    "slow network": 5,
}


class Faults:
    """Does them, and counts; `rate` is how probable one is before each step."""

    def __init__(self, world: World, dice: random.Random, rate: float, without: set[str]) -> None:
        self.done: Counter[str] = Counter()
        self._world = world
        self._dice = dice
        self._rate = rate
        self._names = [name for name in WEIGHTS if name not in without]
        self._weights = [WEIGHTS[name] for name in self._names]

    def before_step(self) -> None:
        """Perhaps do one."""
        if self._names and self._dice.random() < self._rate:
            (name,) = self._dice.choices(self._names, self._weights)
            if getattr(self, f"_{name.replace(' ', '_')}")():
                self.done[name] += 1

    def over(self) -> None:
        """Mend everything: from here on nothing fails."""
        world = self._world
        self._rate = 0.0
        world.disk.full.clear()
        world.broker.slow = 1.0
        if not world.broker.up:
            world.broker.start()
        for place in world.places.values():
            place.again_at = min(place.again_at, world.scheduler.now)
            place.machine.skew = 0.0

    def _later(self, seconds: float, work: object) -> None:
        self._world.scheduler.at(self._world.scheduler.now + seconds, work)  # type: ignore[arg-type]

    def _living(self, beginning: str) -> list[Place]:
        return [
            place
            for name, place in self._world.places.items()
            if name.startswith(beginning) and place.process is not None and place.process.alive
        ]

    def _connection_broken(self) -> bool:
        links = [one for one in self._world.broker.links if not one.severed]
        if not links:
            return False
        here, there = (self._dice.choice((0.0, 0.003, 0.05, 2.0, 12.0)) for _ in range(2))
        self._dice.choice(links).sever(here=here, there=there, reason="the line was cut")
        return True

    def _message_twice(self) -> bool:
        return self._world.broker.duplicate()

    def _false_reply(self) -> bool:
        """A node's signature below a reply that is not to what was asked here."""
        broker = self._world.broker
        asked = broker.find(".work.")
        if asked is None:
            return False
        about = json.loads(asked.body)
        request = read_request(asked.body)
        reply = Reply(
            requestid=request.id,
            sender=about["identity"],
            sequence=ReplySequence.FINAL,
            statuscode=0,
            statusmsg="OK",
            data={"tag": "false"},
            created=request.created,
            state=State.OK,
            digest="0" * 64,
        )
        sealed = seal_reply(reply, self._world.signer(reply.sender))
        where = destinations.reply(request.collective, request.caller, request.session)
        broker.put(where, sealed.body, {**sealed.headers, "persistent": "true"})
        return True

    def _kill(self, beginning: str) -> bool:
        living = self._living(beginning)
        if not living:
            return False
        again = self._dice.choice((0.0, 0.1, 1.0, 10.0))
        self._world.kill(self._dice.choice(living), again=again)
        return True

    def _node_killed(self) -> bool:
        return self._kill("n")

    def _client_killed(self) -> bool:
        return self._kill("client")

    def _broker_restarted(self) -> bool:
        broker = self._world.broker
        if not broker.up:
            return False
        broker.stop()
        self._later(self._dice.choice((0.1, 1.0, 15.0)), broker.start)
        return True

    def _power_cut(self) -> bool:
        machines = {id(one.machine): one.machine for one in self._world.places.values()}
        machine = self._dice.choice(list(machines.values()))
        self._world.power_cut(machine, again=self._dice.choice((0.5, 5.0, 30.0)))
        return True

    def _session_moved(self) -> bool:
        self._world.move(again=self._dice.choice((0.1, 5.0)))
        return True

    def _disk_full(self) -> bool:
        full = self._world.disk.full
        machine = self._dice.choice([one.machine for one in self._world.places.values()])
        if machine in full or machine.name.startswith("desk"):
            return False
        full.add(machine)
        self._later(self._dice.choice((0.5, 5.0, 20.0)), lambda: full.discard(machine))
        return True

    def _clock_jumped(self) -> bool:
        machine = self._dice.choice([one.machine for one in self._world.places.values()])
        machine.skew = self._dice.choice((0.0, -20.0, 20.0, -45.0, 45.0, -300.0, 300.0))
        return True

    def _slow_network(self) -> bool:
        broker = self._world.broker
        broker.slow = self._dice.choice((10.0, 50.0))
        self._later(self._dice.choice((1.0, 10.0)), lambda: setattr(broker, "slow", 1.0))
        return True
