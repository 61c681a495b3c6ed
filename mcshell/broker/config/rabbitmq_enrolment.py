"""RabbitMQ's part of enrolment: a virtual host with two logins, two topics, and limits.

The options of TLS are those of all its STOMP listeners, so with this one nobody has to show a
certificate at the fleet's port either. Who shows none has to say a passcode, and nobody but these
two logins has one; neither has any right in the fleet's virtual host.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

from mcshell.broker.config.enrolment import ANSWER, CONNECTIONS, KEPT
from mcshell.wire import destinations
from mcshell.wire.destinations import ENROL_LOGIN, ENROLMENT_SERVICE, ENROLMENT_VHOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.broker.config.enrolment import EnrolmentAccess

__all__ = ["LOGINS", "definitions"]

LOGINS: Final = (ENROL_LOGIN, ENROLMENT_SERVICE)

_QUEUES = r"stomp-subscription-[A-Za-z0-9_-]+"  # what a topic's subscriber has; exclusive to it
_EXCHANGE = r"amq\.topic"
_MOST_QUEUES: Final = 2 * CONNECTIONS
_MOST_MESSAGES: Final = 10_000
_MOST_BYTES: Final = 8 * ANSWER
_SPARE: Final = 10  # connections for who serves the CA


def definitions(access: EnrolmentAccess, collectives: Iterable[str]) -> dict[str, Any]:
    """What is imported beside the fleet's own."""
    names = list(collectives)
    asked, answered = _any(destinations.enrolment, names), _any(destinations.enrolled, names)
    vhost = {"vhost": ENROLMENT_VHOST}
    queues, use = f"^({_QUEUES})$", f"^({_QUEUES}|{_EXCHANGE})$"
    limits = {"max-connections": CONNECTIONS + _SPARE, "max-queues": _MOST_QUEUES}
    exchange = {"exchange": "amq.topic"}
    return {
        "vhosts": [{"name": ENROLMENT_VHOST}],
        "users": [
            _login(ENROL_LOGIN, ENROL_LOGIN) | {"limits": {"max-connections": CONNECTIONS}},
            _login(ENROLMENT_SERVICE, access.passcode),
        ],
        "permissions": [
            {"user": user, **vhost, "configure": queues, "write": use, "read": use}
            for user in LOGINS
        ],
        "topic_permissions": [
            {"user": ENROL_LOGIN, **vhost, **exchange, "write": asked, "read": answered},
            {"user": ENROLMENT_SERVICE, **vhost, **exchange, "write": answered, "read": asked},
        ],
        "policies": _policies(),
        "parameters": [
            {**vhost, "component": "vhost-limits", "name": "limits", "value": limits},
        ],
    }


def _policies() -> list[dict[str, Any]]:
    """How long what is kept. A policy holds for queues that know all that it says, so streams have one
    of their own: nobody needs any, and whoever makes one in spite of that has a small one.
    """
    kept = {
        "expires": int(KEPT * 1000),
        "message-ttl": int(KEPT * 1000),
        "max-length": _MOST_MESSAGES,
        "max-length-bytes": _MOST_BYTES,
    }
    streams = {
        "max-age": f"{KEPT:g}s",
        "max-length-bytes": _MOST_BYTES,
        "stream-max-segment-size-bytes": 2 * ANSWER,
    }
    every = {"vhost": ENROLMENT_VHOST, "pattern": ".*", "apply-to": "queues"}
    return [
        {**every, "name": "mcshell-kept", "definition": kept, "priority": 1},
        {**every, "name": "mcshell-streams", "definition": streams, "priority": 0},
    ]


def _login(user: str, passcode: str) -> dict[str, Any]:
    """A user with a passcode; written again for the same passcode it is the same."""
    salt = hashlib.sha256(f"{user} {passcode}".encode()).digest()[:4]
    digest = base64.b64encode(salt + hashlib.sha256(salt + passcode.encode()).digest())
    how = {"password_hash": digest.decode(), "hashing_algorithm": "rabbit_password_hashing_sha256"}
    return {"name": user, **how, "tags": []}


def _any(topic: Callable[[str], str], collectives: list[str]) -> str:
    """The regular expression of a topic of any collective."""
    names = (topic(one).removeprefix("/topic/").replace(".", r"\.") for one in collectives)
    return f"^({'|'.join(names)})$"
