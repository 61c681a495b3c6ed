"""Where MCollective's messages go: destinations and headers of its two connectors.

Pure functions of names, times in seconds. A node's `MCollectiveSubscription`s are its broadcasts (one for
each agent, or one with `agents_multiplex`) and what is directed to it; a client's is its reply
queue, where the broker wants one to be subscribed to.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import field
from typing import TYPE_CHECKING, Final, Protocol

from mcshell.errors import Reason, Rejected, UsageError
from mcshell.values import dataclass
from mcshell.wire.mcollective.keys import encode64

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "REGISTRATION",
    "ActiveMQ",
    "Layout",
    "MCollectiveSubscription",
    "RabbitMQ",
    "Stamp",
    "Target",
    "unwrap",
    "wrap",
]

REGISTRATION: Final = "registration"
"""The agent to which nodes send their registration."""

_GRACE: Final = 10
# Names become parts of destinations and of a selector's quoted text.
# No comma, * or >: ActiveMQ reads them as several destinations.
_REPLY_TO = re.compile(r"[A-Za-z0-9_.:/%+=~-]{2,512}")
_PART = re.compile(r"[A-Za-z0-9_.:-]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a SEND goes, with its headers."""

    destination: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What stands on every message: whose it is, how long it is good, where answers are to go."""

    sender: str
    ttl: int
    now: float
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class MCollectiveSubscription:
    """One SUBSCRIBE: destination, MCollective's id for it, and headers such as a selector."""

    destination: str
    id: str
    headers: dict[str, str] = field(default_factory=dict)


class Layout(Protocol):
    """What both connectors can say: where a message goes, and what to subscribe to."""

    def reply_to(self, collective: str, agent: str, client: str, sequence: int) -> str:
        """Where a client wants the replies to a request; `client` is IDENTITY_PID."""

    def replies(self, collective: str, reply_to: str) -> MCollectiveSubscription | None:
        """What to subscribe to for them; None where the broker does so by itself."""

    def broadcast(self, collective: str, agent: str, stamp: Stamp) -> Target:
        """A request to all that run an agent."""

    def direct(self, collective: str, agent: str, identity: str, stamp: Stamp) -> Target:
        """A request to one node."""

    def reply(self, reply_to: str, stamp: Stamp) -> Target:
        """A reply, to what the request said in `reply-to`."""

    def node(
        self, collectives: Iterable[str], agents: Iterable[str], identity: str
    ) -> list[MCollectiveSubscription]:
        """What a node listens to."""


@dataclass(frozen=True, slots=True)
class ActiveMQ:
    """The activemq connector. `priority` 0 leaves the header out."""

    agents_multiplex: bool = False
    priority: int = 0

    def reply_to(self, collective: str, agent: str, client: str, sequence: int) -> str:
        """A queue for each request."""
        del agent
        return f"/queue/{_part(collective)}.reply.{_part(client)}.{sequence}"

    def replies(self, collective: str, reply_to: str) -> MCollectiveSubscription | None:
        """The queue that `reply_to` names."""
        del collective
        return MCollectiveSubscription(reply_to, reply_to)

    def broadcast(self, collective: str, agent: str, stamp: Stamp) -> Target:
        """To the agent's topic, or the one for all agents."""
        return Target(self._topic(collective, agent), self._headers(stamp))

    def direct(self, collective: str, agent: str, identity: str, stamp: Stamp) -> Target:
        """To the one queue of all nodes, for the one whose selector matches."""
        del agent
        headers = self._headers(stamp)
        headers["mc_identity"] = _part(identity)
        return Target(f"/queue/{_part(collective)}.nodes", headers)

    def reply(self, reply_to: str, stamp: Stamp) -> Target:
        """To the queue that the request named, if it is one of replies."""
        return Target(
            checked_reply_to(reply_to, "/queue/", "/topic/", "/remote-temp-queue/"),
            self._headers(stamp),
        )

    def node(
        self, collectives: Iterable[str], agents: Iterable[str], identity: str
    ) -> list[MCollectiveSubscription]:
        """Topics of the agents, and the queue of all nodes with a selector for this one."""
        names = tuple(agents)
        made = []
        for collective in collectives:
            selector = {"selector": f"mc_identity = '{_part(identity)}'"}
            directed = f"{_part(collective)}_directed_to_identity"
            made.append(MCollectiveSubscription(f"/queue/{collective}.nodes", directed, selector))
            topics = dict.fromkeys(self._topic(collective, agent) for agent in names)
            made += [MCollectiveSubscription(topic, topic) for topic in topics]
        return made

    def _topic(self, collective: str, agent: str) -> str:
        if self.agents_multiplex:
            return f"/topic/{_part(collective)}.agents"
        return f"/topic/{_part(collective)}.{_part(agent)}.agent"

    def _headers(self, stamp: Stamp) -> dict[str, str]:
        headers = {"priority": str(self.priority)} if self.priority > 0 else {}
        headers["timestamp"] = str(int(stamp.now) * 1000)
        headers["expires"] = str((int(stamp.now) + stamp.ttl + _GRACE) * 1000)
        if stamp.reply_to is not None:
            headers["reply-to"] = stamp.reply_to
        return headers | {"mc_sender": stamp.sender}


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """The rabbitmq connector. `use_reply_exchange` as `plugin.rabbitmq.use_reply_exchange`."""

    agents_multiplex: bool = False
    use_reply_exchange: bool = False

    def reply_to(self, collective: str, agent: str, client: str, sequence: int) -> str:
        """A temp-queue that the broker makes for each agent, or a key of the reply exchange."""
        del collective
        if self.use_reply_exchange:
            return f"/exchange/mcollective_reply/{_part(client)}_{sequence}"
        return f"/temp-queue/mcollective_reply_{_part(agent)}"

    def replies(self, collective: str, reply_to: str) -> MCollectiveSubscription | None:
        """The key of the exchange; a temp-queue must never be subscribed to."""
        del collective
        return MCollectiveSubscription(reply_to, reply_to) if self.use_reply_exchange else None

    def broadcast(self, collective: str, agent: str, stamp: Stamp) -> Target:
        """To the collective's topic exchange, keyed by the agent unless multiplexed."""
        return Target(self._exchange(collective, agent), _expiring(stamp))

    def direct(self, collective: str, agent: str, identity: str, stamp: Stamp) -> Target:
        """To the collective's direct exchange, keyed by the node."""
        del agent
        destination = f"/exchange/{_part(collective)}_directed/{_part(identity)}"
        return Target(destination, _expiring(stamp))

    def reply(self, reply_to: str, stamp: Stamp) -> Target:
        """To what the broker made of the request's reply-to, if it is one of replies."""
        allowed = ("/reply-queue/", "/exchange/", "/queue/", "/amq/queue/", "/temp-queue/")
        return Target(checked_reply_to(reply_to, *allowed), _expiring(stamp))

    def node(
        self, collectives: Iterable[str], agents: Iterable[str], identity: str
    ) -> list[MCollectiveSubscription]:
        """The node's key of the direct exchange, and the agents' of the topic exchange."""
        names = tuple(agents)
        made = []
        for collective in collectives:
            directed = f"/exchange/{_part(collective)}_directed/{_part(identity)}"
            made.append(
                MCollectiveSubscription(directed, f"{collective}_{identity}_directed_to_identity")
            )
            if self.agents_multiplex:
                whole = f"/exchange/{collective}_broadcast"
                made.append(MCollectiveSubscription(whole, f"{collective}_broadcast"))
                continue
            for agent in names:
                key = f"/exchange/{collective}_broadcast/{_part(agent)}"
                made.append(MCollectiveSubscription(key, f"{collective}_broadcast_{agent}"))
        return made

    def _exchange(self, collective: str, agent: str) -> str:
        whole = f"/exchange/{_part(collective)}_broadcast"
        return whole if self.agents_multiplex else f"{whole}/{_part(agent)}"


def wrap(body: bytes) -> bytes:
    """What `plugin.activemq.base64` and `plugin.rabbitmq.base64` make of a body."""
    return encode64(body).encode()


def unwrap(body: bytes) -> bytes:
    """Undo `wrap`; Rejected MALFORMED when it is not base64."""
    try:
        return binascii.a2b_base64(re.sub(rb"\s", b"", body), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Rejected(Reason.MALFORMED, f"not base64: {error}") from error


def checked_reply_to(reply_to: str, *allowed: str) -> str:
    """Refuse a reply-to that is no queue: it is unsigned, and whoever wrote it may be anyone.

    Where requests or registrations go, a node must not be made to send.
    """
    name = reply_to.rpartition("/")[2]
    for_requests = re.search(r"\.(?:nodes|agents|agent)\Z", name) or re.match(
        r"/exchange/[^/]+_(?:broadcast|directed)(?:/|\Z)|/(?:queue|topic)/mcs\.", reply_to
    )
    if not reply_to.startswith(allowed) or for_requests or not _REPLY_TO.fullmatch(reply_to):
        raise Rejected(Reason.MISROUTED, f"reply-to {reply_to[:80]!r} is no place for replies")
    return reply_to


def _expiring(stamp: Stamp) -> dict[str, str]:
    headers = {} if stamp.reply_to is None else {"reply-to": stamp.reply_to}
    expiration = str((stamp.ttl + _GRACE) * 1000)
    return headers | {"expiration": expiration, "mc_sender": stamp.sender}


def _part(name: str) -> str:
    if not _PART.match(name):
        raise UsageError(f"{name!r} cannot be part of a destination of MCollective's")
    return name
