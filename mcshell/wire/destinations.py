"""The names of our destinations on the broker, made for access rights (mcshell/README.md §7).

In an identity or a caller every UTF-8 byte outside `[a-z0-9._-]` becomes `~` and two hex digits,
so that a name is one segment that no wildcard of a broker reads as structure.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from mcshell.errors import UsageError
from mcshell.message import Via

if TYPE_CHECKING:
    from mcshell.message import Request

__all__ = [
    "ENROLMENT_SERVICE",
    "ENROLMENT_VHOST",
    "ENROL_LOGIN",
    "broadcast",
    "check_word",
    "enrolled",
    "enrolment",
    "node",
    "of",
    "pool",
    "quote",
    "registration",
    "reply",
    "session",
    "unquote",
    "work",
]

ENROL_LOGIN = "enrol"
"""Login and passcode of a machine without a certificate, at a broker's listener for those: no secret."""
ENROLMENT_SERVICE = "enrolment-ca"
"""The login of the CA's service there; its passcode is one."""
ENROLMENT_VHOST = "mcshell-enrolment"
"""RabbitMQ's virtual host for it, which has nothing of the fleet."""

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")
_WORD = re.compile(r"[a-z0-9_-]{1,128}")
_ESCAPE = re.compile(r"~([0-9a-f]{2})")


@lru_cache(maxsize=1024)
def quote(name: str) -> str:
    """Write an identity or a caller as one segment of a destination."""
    return "".join(chr(b) if b in _PLAIN else f"~{b:02x}" for b in name.encode())


def unquote(segment: str) -> str:
    """Read back what `quote` wrote."""
    raw = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), segment).encode("latin-1")
    return raw.decode()


def check_word(kind: str, word: str) -> str:
    """Return a collective's, agent's, pool's or session's name, or raise UsageError."""
    if not _WORD.fullmatch(word):
        raise UsageError(
            f"{kind} {word[:140]!r}: only a-z, 0-9, _ and - are allowed, 128 of them at most"
        )
    return word


def broadcast(collective: str) -> str:
    """The topic that every node of a collective listens to."""
    return f"/topic/mcs.{collective}.broadcast"


def registration(collective: str) -> str:
    """The topic to which nodes say that they are there."""
    return f"/topic/mcs.{collective}.registration"


def enrolment(collective: str) -> str:
    """The topic on which machines without a certificate ask for one."""
    return f"/topic/mcs.{collective}.enrol"


def enrolled(collective: str) -> str:
    """The topic on which a CA answers them."""
    return f"/topic/mcs.{collective}.enrolled"


def session(collective: str, caller: str) -> str:
    """The topic on which a caller's processes agree who holds a session."""
    return f"/topic/mcs.{collective}.session.{quote(caller)}"


def node(collective: str, identity: str) -> str:
    """The queue of one node's direct requests: short-lived."""
    return f"/queue/mcs.{collective}.node.{quote(identity)}"


def work(collective: str, identity: str) -> str:
    """The queue of one node's work: it waits for a node that is down."""
    return f"/queue/mcs.{collective}.work.{quote(identity)}"


def pool(collective: str, name: str) -> str:
    """The queue that the workers of a pool share."""
    return f"/queue/mcs.{collective}.pool.{name}"


def reply(collective: str, caller: str, session_name: str) -> str:
    """The durable queue of one session's replies."""
    return f"/queue/mcs.{collective}.reply.{quote(caller)}.{session_name}"


def of(request: Request) -> str:
    """Where a request goes: to all of its collective, to a pool, or to the node that it names."""
    if request.via is Via.BROADCAST:
        return broadcast(request.collective)
    if request.via is Via.POOL:
        return pool(request.collective, request.pool or "")
    place = work if request.via is Via.QUEUE else node
    return place(request.collective, request.identity or "")
