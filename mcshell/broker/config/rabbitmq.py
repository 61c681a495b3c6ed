"""A configuration for RabbitMQ (3.10 and on): one directory, to be copied where it runs.

Everybody logs in with a certificate, by its first SAN URI, which is our identity (that of another
CA: by its common name). Rights are
regular expressions a user. Over STOMP a user who may make a queue may also delete it, and one who
may write to the default exchange may write to every queue; so a node has neither right for others'
queues. It writes to topics, which have rights of their own; `wire.dialects` knows the way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mcshell.broker.config import rabbitmq_enrolment
from mcshell.broker.config.rights import (
    Holder,
    NameMatch,
    Permission,
    Right,
    own_rights,
    role_rights,
)
from mcshell.broker.config.site import COOKIE, DAY, lines, put, template
from mcshell.pki.identity import uri_of

if TYPE_CHECKING:
    from mcshell.broker.config.site import Site

__all__ = ["definitions", "write"]

PARKED: Final = "mcs.unrouted"
"""Where replies go whose queue is not on this broker (`requeue` sends them on)."""

_BY_URI: Final = """\
ssl_cert_login_from = subject_alternative_name
ssl_cert_login_san_type = uri
ssl_cert_login_san_index = 0"""
_BY_COMMON_NAME: Final = """\
ssl_cert_login_from = common_name
ssl_options.depth = 5"""  # so many intermediates; Erlang's default is one

_EXCHANGE = "amq.topic"  # where `/topic/NAME` of STOMP leads
_DEFAULT = "amq.default"  # where `/queue/NAME` of STOMP leads
_SUBSCRIPTIONS = r"stomp-subscription-.*"  # what a topic's subscriber has; exclusive to it
_TAILS = {NameMatch.NOTHING: "", NameMatch.WORD: r"\.[a-z0-9_-]+", NameMatch.NAME: r"\..+"}


def write(site: Site) -> list[str]:
    """Write all but `server.pem`, `server.key` and `ca.pem`; returns notes, here none."""
    conf = site.directory
    values: dict[str, Any] = {"listen": site.listen, "port": site.port, "largest": site.largest}
    values["demanded"] = str(
        site.enrolment is None
    ).lower()  # of all: there is one set of TLS options
    values["login"] = _BY_COMMON_NAME if site.foreign else _BY_URI
    more = _write_cluster(site) if site.members else ""
    logins = [user for holder in site.holders for user in _users(holder)]
    if site.enrolment is not None:
        more += template("rabbitmq-enrolment.conf").format(
            listen=site.listen, port=site.enrolment.port
        )
        logins += rabbitmq_enrolment.LOGINS
    put(conf / "rabbitmq.conf", template("rabbitmq.conf").format_map(values) + more)
    # From 3.13 on a frame has a limit of its own, 4 MiB; an earlier one does not know the key.
    advanced = "rabbitmq-advanced-cluster" if site.members else "rabbitmq-advanced"
    put(conf / "advanced.config", template(advanced).format_map(values))
    put(conf / "enabled_plugins", "[rabbitmq_stomp,rabbitmq_shovel].\n")
    put(conf / "definitions.json", json.dumps(definitions(site), indent=1) + "\n")
    put(conf / "users", lines(logins))
    put(conf / "environment", template("rabbitmq-environment"))
    for name in ("start", "ctl", "reload", "requeue"):
        put(conf / name, template(f"rabbitmq-{name}"), script=True)
    return []


def _write_cluster(site: Site) -> str:
    """Write what makes this broker a member; returns the lines of its configuration."""
    conf, address = site.directory, site.listen
    names = {
        "member": site.member,
        "address": address,
        "interface": "{" + ",".join(address.split(".")) + "}",
        "long": str(any("." in member for member in site.members)).lower(),
    }
    put(conf / "cluster", template("rabbitmq-cluster").format_map(names))
    put(conf / "inter_node_tls.config", template("rabbitmq-inter_node_tls"))
    put(conf / COOKIE, site.secret, secret=True)
    text = template("rabbitmq-cluster.conf").format(size=len(site.members))
    return text + lines(
        f"cluster_formation.classic_config.nodes.{number} = mcshell@{member}"
        for number, member in enumerate(site.members, 1)
    )


def definitions(site: Site) -> dict[str, Any]:
    """What RabbitMQ imports at its start: users without a password, their rights, policies.

    Those of enrolment have a password, and no right beside the fleet's.
    """
    rights = {
        holder: [
            *role_rights(holder.kind, site.collectives),
            *own_rights(holder, site.collectives),
        ]
        for holder in site.holders
    }
    unrouted = {"name": PARKED, "vhost": "/", "durable": True, "auto_delete": False}
    fleet: dict[str, Any] = {
        "vhosts": [{"name": "/"}],
        "users": [_login(user) for holder in site.holders for user in _users(holder)],
        "permissions": [
            {"user": user, **_permissions(held, parked=holder.mover)}
            for holder, held in rights.items()
            for user in _users(holder)
        ],
        "topic_permissions": [
            {"user": user, **_topics(held)}
            for holder, held in rights.items()
            for user in _users(holder)
        ],
        "policies": _policies(site.retention, clustered=bool(site.members)),
        "exchanges": [{**unrouted, "type": "topic", "internal": False, "arguments": {}}],
        "queues": [{**unrouted, "arguments": {}}],
        "bindings": [
            {
                "source": PARKED,
                "vhost": "/",
                "destination": PARKED,
                "destination_type": "queue",
                "routing_key": "mcs.*.reply.#",
                "arguments": {},
            }
        ],
    }
    if site.enrolment is None:
        return fleet
    more = rabbitmq_enrolment.definitions(site.enrolment, site.collectives)
    return {name: [*fleet.get(name, ()), *more.get(name, ())] for name in {**fleet, **more}}


def _login(user: str) -> dict[str, Any]:
    """An empty hash is no password at all: only the certificate logs in."""
    how = {"password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256"}
    return {"name": user, **how, "tags": []}


def _permissions(rights: list[Right], *, parked: bool) -> dict[str, str]:
    """The right to make, write to and read queues and exchanges; also those that are parked.

    SEND to `/queue/NAME` makes the queue and writes to the default exchange. Replies go by topic
    (`replies_by_topic`): their readers make the queue and bind it, which is writing to it.
    """
    read = [_regex(right) for right in rights if _is(right, "queue", Permission.READ)]
    make, write = [_SUBSCRIPTIONS, *read], [_SUBSCRIPTIONS, _EXCHANGE.replace(".", r"\.")]
    sends = [
        right for right in rights if _is(right, "queue", Permission.WRITE) and not _is_reply(right)
    ]
    if sends:
        make += map(_regex, sends)
        write.append(_DEFAULT.replace(".", r"\."))
    write += [_regex(right) for right in rights if _is_reply(right) and right.do is Permission.READ]
    reads = [_SUBSCRIPTIONS, _EXCHANGE.replace(".", r"\."), *read]
    reads += [PARKED.replace(".", r"\.")] * parked
    said = {"configure": _any(make), "write": _any(write), "read": _any(reads)}
    return {"vhost": "/", **said}


def _topics(rights: list[Right]) -> dict[str, str]:
    """The topics that a user may write to and read; replies are among them."""
    said = {
        do.value: _any(
            [_regex(r) for r in rights if _is(r, "topic", do) or (_is_reply(r) and r.do is do)]
        )
        for do in Permission
    }
    return {"vhost": "/", "exchange": _EXCHANGE, **said}


def _policies(retention: float, *, clustered: bool) -> list[dict[str, Any]]:
    """How long messages are kept. No queue that may hold work or replies is ever removed:

    RabbitMQ would remove it with all that it holds. A node's direct queue holds what is worth
    seconds, and may go when it was unused for a day. The queues of a cluster would drop what was
    handed out twenty times: a node that dies while it has a request would lose it in the end.
    """
    direct, kept = (
        r"^mcs\.[a-z0-9_-]+\.node\.",
        r"^mcs\.([a-z0-9_-]+\.(work|pool|reply)\.|unrouted$)",
    )
    day = int(DAY * 1000)
    keep = {"message-ttl": int(retention * 1000)} | ({"delivery-limit": -1} if clustered else {})
    return [
        _policy("direct", direct, "queues", {"expires": day, "message-ttl": day}),
        _policy("kept", kept, "queues", keep),
        _policy("unrouted", r"^amq\.topic$", "exchanges", {"alternate-exchange": PARKED}),
    ]


def _policy(name: str, pattern: str, to: str, what: dict[str, Any]) -> dict[str, Any]:
    said = {"vhost": "/", "name": f"mcshell-{name}", "pattern": pattern, "apply-to": to}
    return {**said, "definition": what, "priority": 0}


def _is(right: Right, kind: str, do: Permission) -> bool:
    return right.kind == kind and right.do is do


def _is_reply(right: Right) -> bool:
    return right.name.split(".")[2] == "reply"


def _users(holder: Holder) -> list[str]:
    """The SAN URIs of its certificates; of another CA's their common names."""
    if holder.subjects:
        return list(dict.fromkeys(one.common_name for one in holder.subjects))
    return [uri_of(kind, holder.name) for kind in holder.certificates]


def _regex(right: Right) -> str:
    return right.name.replace(".", r"\.") + _TAILS[right.tail]  # no other character is special


def _any(patterns: list[str]) -> str:
    return f"^({'|'.join(patterns)})$" if patterns else "^$"
