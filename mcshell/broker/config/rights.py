"""Who may read and write what on a broker: the one table, from which each broker's own is made.

It follows mcshell/README.md §7. Whatever no right names is refused. A node reads what is meant for
it and answers; an operator asks, and reads the answers to itself alone. Rights are for names, never
for patterns that a name could be chosen to fall into: an identity may hold dots, which brokers read
as structure, so that `mcs.C.reply.cert~3dalice.` followed by *any* words would also be the queue of
an operator called `alice.smith`. Hence `NameMatch`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from mcshell.values import dataclass
from mcshell.wire import destinations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcshell.broker.config.subject import CertificateSubject
    from mcshell.config import Pool
    from mcshell.pki import Kind

__all__ = ["Holder", "NameMatch", "Permission", "Right", "own_rights", "role_rights"]


SUPERVISORS = "inventory"
"""The pool that supervisors serve; whoever is a member of it may carry."""


class Permission(StrEnum):
    """What a right allows."""

    READ = "read"
    WRITE = "write"


class NameMatch(StrEnum):
    """What may follow the name of a right."""

    NOTHING = "nothing"
    WORD = "one word"
    NAME = "an identity: one word or more"


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that may be done to the destinations `/KIND/NAME`, or to those below NAME."""

    do: Permission
    kind: Literal["queue", "topic"]
    name: str
    tail: NameMatch = NameMatch.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An identity with a certificate, and the pools that it serves.

    `has_login`: there is a certificate of kind `login` of its name, which has the same rights.
    `mover`: it may take all that waits to another broker (`mcshell broker move`).
    `subjects`: those of its certificates, where another CA than mcshell's has issued them.
    """

    kind: Kind
    name: str
    pools: tuple[str, ...] = ()
    has_login: bool = False
    mover: bool = False
    subjects: tuple[CertificateSubject, ...] = ()

    @property
    def certificates(self) -> tuple[Kind, ...]:
        """The kinds of certificates that may log in as it."""
        return (self.kind, "login") if self.has_login else (self.kind,)

    @property
    def role(self) -> str:
        """The name of all that are of its kind."""
        return f"{self.kind}s"

    @classmethod
    def of(
        cls, kind: Kind, name: str, pools: Mapping[str, Pool], *, has_login: bool = False
    ) -> Holder:
        """Find the pools it serves."""
        served = tuple(pool for pool in sorted(pools) if name in pools[pool])
        return cls(kind=kind, name=name, pools=served, has_login=has_login)


def role_rights(kind: Kind, collectives: Iterable[str]) -> list[Right]:
    """What every operator may do, or every node."""
    rights = []
    for c in collectives:
        broadcast, registration = _of(destinations.broadcast(c)), _of(destinations.registration(c))
        if kind == "node":
            rights += [
                Right(Permission.READ, *broadcast),
                Right(Permission.WRITE, *registration),
                Right(Permission.WRITE, "queue", f"mcs.{c}.reply", NameMatch.NAME),
            ]
        else:
            rights += [
                Right(Permission.WRITE, *broadcast),
                Right(Permission.READ, *registration),
                Right(Permission.WRITE, "queue", f"mcs.{c}.node", NameMatch.NAME),
                Right(Permission.WRITE, "queue", f"mcs.{c}.work", NameMatch.NAME),
                Right(Permission.WRITE, "queue", f"mcs.{c}.pool", NameMatch.WORD),
            ]
    return rights


def own_rights(holder: Holder, collectives: Iterable[str]) -> list[Right]:
    """What this identity alone may do, beside its role's rights."""
    rights = []
    for c in collectives:
        if holder.kind == "node":
            rights += [
                Right(Permission.READ, *_of(destinations.node(c, holder.name))),
                Right(Permission.READ, *_of(destinations.work(c, holder.name))),
            ]
            if SUPERVISORS in holder.pools:  # it hears of nodes, and brings them what they lack
                rights += [
                    Right(Permission.READ, *_of(destinations.registration(c))),
                    Right(Permission.WRITE, "queue", f"mcs.{c}.node", NameMatch.NAME),
                ]
        else:
            caller = f"cert={holder.name}"
            session = _of(destinations.session(c, caller))
            replies = f"mcs.{c}.reply.{destinations.quote(caller)}"
            rights += [
                Right(Permission.READ, *session),
                Right(Permission.WRITE, *session),
                Right(Permission.READ, "queue", replies, NameMatch.WORD),
            ]
        rights += [
            Right(Permission.READ, *_of(destinations.pool(c, pool))) for pool in holder.pools
        ]
        if holder.mover or (
            holder.pools and holder.kind == "operator"
        ):  # who serves a pool answers
            rights.append(Right(Permission.WRITE, "queue", f"mcs.{c}.reply", NameMatch.NAME))
        if holder.mover:
            rights += [
                Right(Permission.READ, "queue", f"mcs.{c}.node", NameMatch.NAME),
                Right(Permission.READ, "queue", f"mcs.{c}.work", NameMatch.NAME),
                Right(Permission.READ, "queue", f"mcs.{c}.pool", NameMatch.WORD),
                Right(Permission.READ, "queue", f"mcs.{c}.reply", NameMatch.NAME),
            ]
    return rights


def _of(destination: str) -> tuple[Literal["queue", "topic"], str]:
    """Part "/queue/NAME" or "/topic/NAME"."""
    _, kind, name = destination.split("/", 2)
    return ("queue" if kind == "queue" else "topic"), name
