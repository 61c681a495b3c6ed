"""RabbitMQ's part of enrolment: a virtual host with two logins, two topics, and limits.

The options of TLS are those of all its STOMP listeners, so with this one nobody has to show a
certificate at the fleet's port either. Who shows none has to say a passcode, and nobody but these
two logins has one; neither has any right in the fleet's virtual host.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

from mcshell.broker.config.enrolment import (
    ANSWER,
    CA_LOGIN,
    CONNECTIONS,
    KEPT,
    LOGIN,
    PASSCODE,
    VHOST,
)
from mcshell.wire import destinations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcshell.broker.config.enrolment import EnrolmentAccess

__all__ = ["LOGINS", "definitions"]

LOGINS: Final = (LOGIN, CA_LOGIN)

_QUEUES = r"stomp-subscription-.*"  # what a topic's subscriber has; exclusive to it
_EXCHANGE = r"amq\.topic"
_MOST_QUEUES: Final = 4 * CONNECTIONS
_MOST_MESSAGES: Final = 10_000
_SPARE: Final = 10  # connections for who serves the CA


def definitions(access: EnrolmentAccess, collectives: Iterable[str]) -> dict[str, Any]:
    """What is imported beside the fleet's own."""
    names = list(collectives)
    asked, answered = _any(destinations.enrolment, names), _any(destinations.enrolled, names)
    vhost = {"vhost": VHOST}
    queues, use = f"^({_QUEUES})$", f"^({_QUEUES}|{_EXCHANGE})$"
    limits = {"max-connections": CONNECTIONS + _SPARE, "max-queues": _MOST_QUEUES}
    kept = {
        "expires": int(KEPT * 1000),
        "message-ttl": int(KEPT * 1000),
        "max-length": _MOST_MESSAGES,
        "max-length-bytes": 16 * ANSWER,
    }
    policy = {"name": VHOST, "pattern": ".*", "apply-to": "queues", "priority": 0}
    exchange = {"exchange": "amq.topic"}
    return {
        "vhosts": [{"name": VHOST}],
        "users": [
            _login(LOGIN, PASSCODE) | {"limits": {"max-connections": CONNECTIONS}},
            _login(CA_LOGIN, access.passcode),
        ],
        "permissions": [
            {"user": user, **vhost, "configure": queues, "write": use, "read": use}
            for user in LOGINS
        ],
        "topic_permissions": [
            {"user": LOGIN, **vhost, **exchange, "write": asked, "read": answered},
            {"user": CA_LOGIN, **vhost, **exchange, "write": answered, "read": asked},
        ],
        "policies": [{**vhost, **policy, "definition": kept}],
        "parameters": [
            {**vhost, "component": "vhost-limits", "name": "limits", "value": limits},
        ],
    }


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
