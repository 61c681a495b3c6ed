"""What the three brokers want said differently: the one table, and nothing of it elsewhere.

The flavour is read from the `server` header of CONNECTED. Our own broker speaks ActiveMQ's
dialect, so that what is written against it holds in production. The table serves all versions from
ActiveMQ 5.17 and RabbitMQ 3.10 on; measured by `tests/broker_versions` against those named here:

    ActiveMQ 5.17.2, 6.1.7      no difference on the wire (6 wants Java 17, and log4j2.properties)
    RabbitMQ 3.10.8, 3.12       a body may have 128 MiB
    RabbitMQ 3.13 on            a frame has a limit of its own, 4 MiB where nothing else is configured
    RabbitMQ 4.0.5              quorum queues drop what was handed out 20 times, unless a policy says not;
                                a queue of another type than the default is refused by SEND and SUBSCRIBE
    RabbitMQ 4.3.6              what a lost member's connections held comes again after a timeout
    RabbitMQ 4.4                not out; its STOMP is written anew: `keeps_unacked` is to be measured again

3.12 and 3.13 are as read, not measured.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mcshell.errors import UnknownBroker
from mcshell.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ACTIVEMQ", "MCSHELL", "RABBITMQ", "VHOST", "Dialect", "dialect_of", "passing"]

VHOST = "/"
"""The `host` header of every CONNECT: RabbitMQ's default virtual host; the others do not care."""

_RABBITMQ_LONGEST = 315_360_000_000
"""Milliseconds (ten years): RabbitMQ 3.10 closes the connection over a longer `expiration`."""

_PASSING: Final = (
    *("is down or inaccessible", "due to timeout", "subscription not found"),
    *("store is full", "memory limit"),
)
"""In lower case. In a RabbitMQ cluster's ERROR: the member that holds a queue is away; or it was when we
subscribed, and what it did not confirm in time was taken back. In ActiveMQ's (`sendFailIfNoSpace`): it has
no room for any message.
"""

_REPLIES = re.compile(r"/queue/(mcs\.[a-z0-9_-]+\.reply\..+)")
"""Reply queues, by the names that `destinations.reply` makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one kind of broker is spoken to.

    Attributes:
        name: activemq, rabbitmq or mcshell.
        any_word: the wildcard for one word of a topic's name.
        any_rest: the wildcard for all further words.
        expiry_header: where a message says how long it is good for.
        expiry_relative: whether that is milliseconds from now, else since the epoch.
        prefetch_header: where SUBSCRIBE says how many unacknowledged messages it takes.
        replies_by_topic: whether replies reach their queue by a topic of its name. A RabbitMQ user
            who may SEND to a `/queue/` may also delete it, and write to every other one; a topic
            has rights of its own. So there a node may write to topics only, and the operator's
            SUBSCRIBE binds the durable queue to the topic.
        types_queues: whether a subscription to a topic says that its queue is a classic one. Where a
            cluster makes queues that a majority keeps, RabbitMQ would otherwise make it one that
            outlives the connection.
        keeps_unacked: whether, after an UNSUBSCRIBE, the connection keeps the messages that were
            not acknowledged; only a subscription of the same id can then acknowledge them.
        queue_patterns: whether a SUBSCRIBE to a queue may have wildcards.
    """

    name: str
    any_word: str
    any_rest: str
    expiry_header: str
    expiry_relative: bool
    prefetch_header: str
    replies_by_topic: bool = False
    types_queues: bool = False
    keeps_unacked: bool = False
    queue_patterns: bool = False

    def existing(self, destination: str) -> str:
        """A queue that is there, whatever it was made with: RabbitMQ would compare, or make one."""
        return f"/amq{destination}" if self.replies_by_topic else destination

    def confirms_apart(self, destination: str) -> bool:
        """Whether the frame behind a SUBSCRIBE is to ask for its receipt.

        ActiveMQ confirms a subscription before it gives it room, and then, of a pattern, looks at none of
        the queues that match; it makes one that is called so, and who may not read all is shut out.
        """
        return (
            self.queue_patterns and destination.startswith("/queue/") and destination.endswith(">")
        )

    def expiry_of(self, headers: Mapping[str, str], now: float) -> float | None:
        """When a message that came is over (epoch; None: it does not say).

        RabbitMQ keeps no time at which it came in: it is good again for as long as at first.
        """
        said = headers.get(self.expiry_header, "")
        if not (said.isascii() and said.isdigit()) or not int(said):
            return None
        return int(said) / 1000 + (now if self.expiry_relative else 0.0)

    def send_to(self, destination: str) -> str:
        """Where a SEND to a destination of ours goes on this broker."""
        found = _REPLIES.fullmatch(destination) if self.replies_by_topic else None
        return f"/topic/{found[1]}" if found else destination

    def subscribe_to(self, destination: str) -> dict[str, str]:
        """The headers by which a SUBSCRIBE names a destination of ours on this broker."""
        found = _REPLIES.fullmatch(destination) if self.replies_by_topic else None
        if found is not None:
            durable = {"durable": "true", "auto-delete": "false", "x-queue-name": found[1]}
            return {"destination": f"/topic/{found[1]}", **durable}
        typed = self.types_queues and destination.startswith("/topic/")
        return {"destination": destination, **({"x-queue-type": "classic"} if typed else {})}

    def send_headers(
        self, *, persistent: bool, expires: float | None, now: float
    ) -> dict[str, str]:
        """Headers of a SEND; `expires` and `now` are seconds since the epoch.

        The broker's expiry is housekeeping only, so a time too long for RabbitMQ is left out
        (the message then stays until it is taken or a policy of the broker ends it).
        """
        headers = {"persistent": "true"} if persistent else {}
        if expires is None:
            return headers
        if not self.expiry_relative:
            headers[self.expiry_header] = str(max(1, int(expires * 1000)))
            return headers
        left = max(1, int((expires - now) * 1000))
        if left <= _RABBITMQ_LONGEST:
            headers[self.expiry_header] = str(left)
        return headers

    def subscribe_headers(self, *, prefetch: int) -> dict[str, str]:
        """Headers of a SUBSCRIBE that takes `prefetch` unacknowledged messages at once."""
        return {self.prefetch_header: str(prefetch)}


ACTIVEMQ = Dialect(
    name="activemq",
    any_word="*",
    any_rest=">",
    expiry_header="expires",
    expiry_relative=False,
    prefetch_header="activemq.prefetchSize",
    queue_patterns=True,
)
MCSHELL = Dialect(
    name="mcshell",
    any_word="*",
    any_rest=">",
    expiry_header="expires",
    expiry_relative=False,
    prefetch_header="activemq.prefetchSize",
)
RABBITMQ = Dialect(
    name="rabbitmq",
    any_word="*",
    any_rest="#",
    expiry_header="expiration",
    expiry_relative=True,
    prefetch_header="prefetch-count",
    replies_by_topic=True,
    types_queues=True,
    keeps_unacked=True,
)

_SERVERS = {"ActiveMQ": ACTIVEMQ, "RabbitMQ": RABBITMQ, "mcshell": MCSHELL}


def dialect_of(server: str) -> Dialect:
    """Know a broker by the `server` header of its CONNECTED ("NAME/VERSION comment").

    Raises:
        UnknownBroker: it is none of ours.
    """
    name = re.match(r"[^/\s]*(?=/)", server)
    if name is None or name[0] not in _SERVERS:
        raise UnknownBroker(server)
    return _SERVERS[name[0]]


def passing(refusal: str) -> bool:
    """Whether what a broker says in an ERROR holds only for now, and the same may be asked again."""
    return any(words in refusal.lower() for words in _PASSING)
