"""Three RabbitMQ in network namespaces, members killed, stopped and cut off; wants root and RabbitMQ 4.

Beside the two nodes there is a crowd of emulated ones, which take most of what is queued.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.nemesis.place import Place
from tests.nemesis.script import ASKERS, NODES, Fault, Length
from tests.peers.cluster import Cluster, Hosts
from tests.peers.fleet import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Clustered"]

CROWD: Final = tuple(f"emu{number:04d}" for number in range(1, 11))
MEMBERS: Final = ("m1", "m2", "m3")


class Clustered(Place):
    """The cluster of `broker config rabbitmq --cluster`; `classic`: but with queues of one member each.

    Of the faults, `member-cut` takes a member away from everybody, `member-apart` from the other members
    alone, so that who is connected to it is on the side of the minority; `majority-gone` takes two away.
    In each run one member dies for good (`member-lost`): it comes back for the next.
    """

    length = Length(
        seconds=20.0,
        asks=60,
        faults=4,
        longest=20.0,
        bulk=440,
        crowd=CROWD,
        always=("member-lost",),
    )

    def __init__(self, folder: Path, *, classic: bool) -> None:
        super().__init__(folder)
        self._classic = classic
        self._lost: list[str] = []
        self.patience = 60.0 if classic else 300.0  # what is lost need not be waited for
        self.kinds = {
            "asker-killed": ASKERS,
            "machine-killed": NODES,
            "daemon-killed": NODES,
            "crowd-killed": ("crowd",),
            "member-killed": MEMBERS,
            "member-lost": MEMBERS,
            "member-stopped": MEMBERS,
            "member-cut": MEMBERS,
            "member-apart": MEMBERS,
            "majority-gone": ("cluster",),
        }

    def _enter(self) -> None:
        hosts = self._open.enter_context(Hosts(len(MEMBERS)))
        (self.folder / "cluster").mkdir()
        self.cluster = Cluster(hosts, self.folder / "cluster")
        self._open.callback(self.cluster.stop)
        self._enrol(self.cluster)
        self.cluster.configure(self.fleet)
        self.cluster.let_in("crowd")
        if self._classic:
            self._have_classic()
        self.cluster.start()
        self.fleet.start()
        effects = self.fleet.folder / "effects"
        settings = (
            f'agents = ["{ROOT}/tests/agents_for_tests"]\n[agents.effect]\nfolder = "{effects}"\n'
        )
        self.fleet.emulate(len(CROWD), name="crowd", more=settings)

    def _have_classic(self) -> None:
        """Have queues that lie on one member only."""
        for member in self.cluster.members:
            conf = self.folder / "cluster" / member / "rabbitmq.conf"
            before = conf.read_text()
            after = before.replace("default_queue_type = quorum", "default_queue_type = classic")
            assert after != before
            conf.write_text(after)

    def _member(self, fault: Fault) -> str:
        return self.cluster.members[MEMBERS.index(fault.victim)]

    @contextmanager
    def _member_killed(self, fault: Fault) -> Iterator[None]:
        self.cluster.kill9(self._member(fault))
        yield
        self.cluster.start(self._member(fault))

    @contextmanager
    def _member_lost(self, fault: Fault) -> Iterator[None]:
        self.cluster.kill9(self._member(fault))
        self._lost.append(self._member(fault))
        yield

    def meet(self, seed: int) -> None:
        """As of every place, with all members."""
        while self._lost:
            self.cluster.start(self._lost.pop())
        super().meet(seed)

    @contextmanager
    def _member_stopped(self, fault: Fault) -> Iterator[None]:
        self.cluster.pause(self._member(fault))
        yield
        self.cluster.resume(self._member(fault))

    @contextmanager
    def _member_cut(self, fault: Fault) -> Iterator[None]:
        self.cluster.hosts.cut(self._member(fault))
        yield
        self.cluster.hosts.join(self._member(fault))

    @contextmanager
    def _member_apart(self, fault: Fault) -> Iterator[None]:
        member = self._member(fault)
        others = [one for one in self.cluster.members if one != member]
        for other in others:
            self._route("add", member, other)
        yield
        for other in others:
            self._route("del", member, other)

    def _route(self, change: str, member: str, other: str) -> None:
        words = [
            "-n",
            self.cluster.hosts.names[member],
            "route",
            change,
            "blackhole",
            f"{other}/32",
        ]
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)

    @contextmanager
    def _majority_gone(self, _fault: Fault) -> Iterator[None]:
        gone = self.cluster.members[:2]
        for member in gone:
            self.cluster.hosts.cut(member)
        yield
        for member in gone:
            self.cluster.hosts.join(member)

    @contextmanager
    def _crowd_killed(self, _fault: Fault) -> Iterator[None]:
        assert self.fleet.emulator is not None
        self.fleet.emulator.kill9()
        yield
        self.fleet.emulate_again(len(CROWD), name="crowd")
