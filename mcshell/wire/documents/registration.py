"""A registration: what a node says of itself unasked, signed as its replies are.

Its dates are not judged here: a node whose clock is off is there all the same, and what it says
is the evidence. Whoever keeps registrations counts them as of `seen`, which no replay can make
newer than it was (mcshell/README.md §9).
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Any

from mcshell.errors import AgentError, Reason, Rejected
from mcshell.values import dataclass
from mcshell.wire.documents import fields, strict_json
from mcshell.wire.documents.envelope import (
    SealedMessage,
    document_of,
    refuse_large,
    sealed,
    verified,
)
from mcshell.wire.documents.signatures import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.wire.documents.envelope import BodyLimits
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = [
    "MOST_FLAW",
    "MOST_FLAWS",
    "Registration",
    "open_registration",
    "read_registration",
    "seal_registration",
]

_MOST = 1 << 62
_MOST_RULES = 10_000
_MOST_REFUSED = 100
_MOST_WORD = 64
MOST_FLAWS = 50
MOST_FLAW = 500
"""Characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a node says about itself. `crl` is the number of the revocation list it works under.

    `machine` tells a machine from another of the same name, `rules` says which rules it has: the
    revision of each AUTHOR/NAME; `flaws` what cannot be used there (agents, policies), a line each;
    `agent_versions` that of each agent's schema; `refused` ids of messages that it has refused
    lately without an answer, each with the reason.
    `audit` is the head of its audit log: the number of a line in the chain, and the line's SHA-256
    in hex.

    `started` is when its daemon started, `created` when this was written (its own clock, seconds
    since the epoch); the next one comes within `interval` seconds.
    """

    identity: str
    created: float
    interval: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    collectives: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    version: str = ""
    started: float = 0.0
    crl: int | None = None
    machine: str = ""
    rules: Mapping[str, int] = field(default_factory=dict)
    audit: tuple[int, str] | None = None
    flaws: tuple[str, ...] = ()
    agent_versions: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[tuple[str, str], ...] = ()

    def seen(self, now: float) -> float:
        """As of when it counts: when it was written, but never later than now."""
        return min(self.created, now)


def seal_registration(registration: Registration, signer: Signer) -> SealedMessage:
    """Write and sign a registration; AgentError (5) for facts that JSON cannot carry."""
    document = {
        "v": VERSION,
        "kind": "registration",
        "identity": registration.identity,
        "created": registration.created,
        "interval": registration.interval,
        "facts": registration.facts,
        "classes": registration.classes,
        "agents": registration.agents,
        "collectives": registration.collectives,
        "pools": registration.pools,
        "version": registration.version,
        "started": registration.started,
        "crl": registration.crl,
        "machine": registration.machine,
        "rules": registration.rules,
        **_audit_field(registration.audit),
        "flaws": registration.flaws,
        "agent_versions": registration.agent_versions,
        "refused": registration.refused,
    }
    try:
        _registration(document)
        return sealed(strict_json.dumps(document), signer)
    except Rejected as error:
        raise AgentError(
            f"the registration cannot be sent: {error.detail}", statuscode=5
        ) from error
    except strict_json.Unwritable as error:
        raise AgentError(f"the registration cannot be sent: {error}", statuscode=5) from error


def read_registration(body: bytes, limits: BodyLimits, *, stored: bool = False) -> Registration:
    """Read a registration without believing it: who says so is still open.

    One that an inventory has held (`stored`) may be of an earlier version.

    Raises:
        Rejected: TOO_LARGE; NOT_JSON, TOO_DEEP, MALFORMED, WRONG_KIND.
    """
    refuse_large(body, limits)
    return _registration(document_of(body, limits, "registration", stored=stored))


def open_registration(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    limits: BodyLimits,
    now: float,
    *,
    stored: bool = False,
) -> Registration:
    """Check a registration and return it; `now` (epoch) is when it came in.

    Raises:
        Rejected: as `read_registration`; then UNSIGNED, BAD_CERTIFICATE, FOREIGN_CA,
            CERT_EXPIRED, REVOKED, STALE_CRL, BAD_SIGNATURE; WRONG_KIND; WRONG_SENDER.
    """
    registration = read_registration(body, limits, stored=stored)
    identity = verified(body, headers, verifier, now, stored=stored)
    if identity.kind != "node":
        raise Rejected(Reason.WRONG_KIND, f"a registration signed by the operator {identity.name}")
    if identity.name != registration.identity:
        raise Rejected(
            Reason.WRONG_SENDER, f"{registration.identity!r} is signed by {identity.name}"
        )
    return registration


def _registration(document: Mapping[str, Any]) -> Registration:
    return Registration(
        identity=fields.name(document, "identity"),
        created=fields.moment(document, "created"),
        interval=fields.moment(document, "interval"),
        facts=fields.mapping(document, "facts"),
        classes=_names(document, "classes"),
        agents=_names(document, "agents"),
        collectives=_names(document, "collectives"),
        pools=_names(document, "pools"),
        version=fields.text(document, "version"),
        started=fields.moment(document, "started"),
        crl=fields.optional(document, "crl", lambda of, key: fields.whole(of, key, _MOST)),
        machine=fields.optional(document, "machine", fields.text) or "",
        rules=_rules(document),
        audit=fields.optional(document, "audit", _audit),
        flaws=_flaws(document),
        agent_versions=_versions(document),
        refused=_refused(document),
    )


def _audit_field(audit: tuple[int, str] | None) -> dict[str, Any]:
    return {} if audit is None else {"audit": {"count": audit[0], "hash": audit[1]}}


def _audit(document: Mapping[str, Any], key: str) -> tuple[int, str]:
    value = fields.mapping(document, key)
    head = fields.text(value, "hash")
    if re.fullmatch(r"[0-9a-f]{64}", head) is None:
        raise Rejected(Reason.MALFORMED, f"{key}: no SHA-256: {head[:80]!r}")
    return fields.whole(value, "count", _MOST), head


def _rules(document: Mapping[str, Any]) -> dict[str, int]:
    value = fields.optional(document, "rules", fields.mapping) or {}
    if not all(isinstance(one, str) for one in value) or len(value) > _MOST_RULES:
        raise Rejected(Reason.MALFORMED, f"rules: at most {_MOST_RULES} names are meant")
    return {name: fields.whole(value, name, _MOST) for name in value}


def _versions(document: Mapping[str, Any]) -> dict[str, str]:
    value = fields.optional(document, "agent_versions", fields.mapping) or {}
    return {name: fields.text(value, name) for name in value}


def _refused(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found = document.get("refused") or ()
    pairs = isinstance(found, list | tuple) and all(map(_is_refusal, found))
    if not pairs or len(found) > _MOST_REFUSED:
        text = f"refused: at most {_MOST_REFUSED} pairs of an id and a reason are meant"
        raise Rejected(Reason.MALFORMED, text)
    return tuple((requestid, reason) for requestid, reason in found)


def _is_refusal(value: object) -> bool:
    match value:
        case [str(requestid), str(reason)]:
            return max(len(requestid), len(reason)) <= _MOST_WORD
    return False


def _flaws(document: Mapping[str, Any]) -> tuple[str, ...]:
    if document.get("flaws") is None:
        return ()
    found = _names(document, "flaws")
    if len(found) > MOST_FLAWS or any(len(line) > MOST_FLAW for line in found):
        raise Rejected(Reason.MALFORMED, f"flaws: at most {MOST_FLAWS} lines are meant")
    return found


def _names(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = document.get(key)
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise Rejected(Reason.MALFORMED, f"{key}: no list of names: {str(value)[:60]!r}")
    return tuple(value)
