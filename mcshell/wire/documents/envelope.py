"""The envelope: a `Request` or a `Reply` as signed bytes, and the checks on the way back in.

The body is one UTF-8 JSON document, signed as the bytes it is; signature and certificate travel in
two headers. `open_request` checks in the order of mcshell/README.md §6: size, signature, kind,
caller, collective, routing, dates; replay, policy and DDL are the node's (`node/admission`).
`open_reply` asks first what costs little: size, JSON, is the request known; then the signature and
whose it is.

Unknown fields are signed like the others and are ignored, so that a later version can add what
older nodes may overlook; what must not be overlooked gets another `v`, which is refused.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mcshell.errors import AgentError, InputError, Reason, Rejected, UsageError
from mcshell.message import NATIVE, Reply, Request, Via, made_id, run_id
from mcshell.values import dataclass
from mcshell.wire.documents import fields, strict_json
from mcshell.wire.documents.signatures import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from mcshell.pki import Identity
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = [
    "CERTIFICATE",
    "CRL",
    "MAX_BODY",
    "RULE",
    "SIGNATURE",
    "TURN",
    "Arrival",
    "BodyLimits",
    "OpenedReply",
    "RequestReader",
    "SealedMessage",
    "digest_of",
    "document_of",
    "is_old",
    "kind_of",
    "of_operator",
    "open_reply",
    "open_request",
    "read_reply",
    "read_request",
    "refuse_foreign_id",
    "refuse_large",
    "seal_reply",
    "seal_request",
    "sealed",
    "verified",
    "version_of",
]

SIGNATURE: Final = "mcs-signature"
CERTIFICATE: Final = "mcs-certificate"
MAX_BODY: Final = 1 << 20
TURN: Final = "turn"
RULE: Final = "rule"
CRL: Final = "crl"
_STORED_VERSIONS: Final = (1, VERSION)
_BEGINNING: Final = f'{{"v":{VERSION},'.encode()
_KINDS: Final = (TURN, RULE, CRL)
# What begins so is this, or has a key twice, and is nothing.
_OTHERS: Final = tuple(
    f'{{"v":{VERSION},"kind":"{kind}",'.encode() for kind in ("reply", "request")
)
_MARKS: Final = tuple(f'"{kind}"'.encode() for kind in _KINDS)


@dataclass(frozen=True, slots=True)
class SealedMessage:
    """A message ready for SEND: the signed body and the two headers that vouch for it."""

    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What is taken at all: `max_body` in bytes, `max_depth` in levels, the others in seconds."""

    max_body: int = MAX_BODY
    max_depth: int = strict_json.MAX_DEPTH
    max_skew: float = 60.0
    max_ttl: float = 180 * 86_400.0


def is_old(body: bytes) -> bool:
    """Whether a stored body is of an earlier version; what we write ourselves says so at once."""
    if body.startswith(_BEGINNING):
        return False
    try:
        return version_of(body) != VERSION
    except Rejected:
        return False


def version_of(body: bytes) -> int:
    """The version that a body says it is of: 1 or 2, as a store may hold; raises Rejected."""
    document = strict_json.loads(body)
    _refuse_version(document, stored=True)
    return int(document["v"]) if isinstance(document, dict) else VERSION


def kind_of(body: bytes) -> str:
    """What a body is, by its own word: TURN, RULE, CRL, or "" for a request or a reply.

    Whose it is, and whether it is one, is for `open_turn`, `open_rule` or the CA's key to say.
    """
    if len(body) > MAX_BODY or body.startswith(_OTHERS):
        return ""
    if not any(mark in body for mark in _MARKS):
        return ""
    try:
        document = strict_json.loads(body)
    except Rejected:
        return ""
    kind = document.get("kind") if isinstance(document, dict) else None
    return kind if kind in _KINDS else ""


# What is in a store was measured when it came in, perhaps under other settings than today's.
_STORED: Final = BodyLimits(max_body=1 << 40)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request came in, as the receiver knows from its own subscription.

    `collective` and `via` are the destination's, `identity` the node's own name, `pool` the pool
    whose queue it was.
    """

    collective: str
    via: Via
    identity: str
    pool: str | None = None


class OpenedReply(NamedTuple):
    """A verified reply; `expected` says whether its sender was a target of the request."""

    reply: Reply
    identity: Identity
    expected: bool


def seal_request(request: Request, signer: Signer) -> SealedMessage:
    """Write and sign a request.

    Raises:
        InputError: an input that JSON cannot carry.
        UsageError: a field that no node would take, such as another's caller id.
    """
    if request.caller != signer.identity.callerid:
        mine = signer.identity.callerid
        raise UsageError(f"a request of {request.caller} cannot be signed by {mine}")
    document = {
        "v": VERSION,
        "kind": "request",
        "id": request.id,
        "nonce": request.nonce,
        "collective": request.collective,
        "via": request.via.value,
        "identity": request.identity,
        "pool": request.pool,
        "agent": request.agent,
        "action": request.action,
        "data": request.data,
        "filter": request.filter.as_dict(),
        "caller": request.caller,
        "session": request.session,
        "created": request.created,
        "expires": request.expires,
    }
    if request.emergency:
        document["emergency"] = request.emergency
    try:
        refuse_foreign_id(_request(document))
        return sealed(strict_json.dumps(document), signer)
    except Rejected as error:
        raise UsageError(f"the request cannot be sent: {error.detail}") from error
    except strict_json.Unwritable as error:
        raise InputError(f"the request cannot be sent: {error}") from error


def seal_reply(reply: Reply, signer: Signer) -> SealedMessage:
    """Write and sign a reply; AgentError (5) when its data cannot be carried by JSON."""
    document = {
        "v": VERSION,
        "kind": "reply",
        "id": reply.requestid,
        "sender": reply.sender,
        "sequence": reply.sequence,
        "statuscode": reply.statuscode,
        "statusmsg": reply.statusmsg,
        "data": reply.data,
        "created": reply.created,
        "state": reply.state.value,
        "digest": reply.digest or None,
    }
    if reply.job is not None:
        document.update(job=reply.job, run=reply.run)
    if reply.machine:
        document["machine"] = reply.machine
    try:
        _reply(document)
        return sealed(strict_json.dumps(document), signer)
    except Rejected as error:
        raise AgentError(f"the reply cannot be sent: {error.detail}", statuscode=5) from error
    except strict_json.Unwritable as error:
        raise AgentError(f"the reply cannot be sent: {error}", statuscode=5) from error


def open_request(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    arrival: Arrival,
    limits: BodyLimits,
    now: float,
    *,
    stale: bool = False,
    read: Callable[[bytes, BodyLimits], Request] | None = None,
) -> Request:
    """Check a request and return it; `now` (epoch) is when it came in.

    `stale`: the age of the revocation list is set aside, to see whether it brings a newer one. `read`: what
    reads the body once it is verified (`RequestReader`).

    Raises:
        Rejected: TOO_LARGE; UNSIGNED, BAD_CERTIFICATE, FOREIGN_CA, CERT_EXPIRED, REVOKED,
            STALE_CRL, BAD_SIGNATURE; WRONG_KIND; NOT_JSON, TOO_DEEP, MALFORMED;
            CALLER_MISMATCH; FOREIGN_ID; WRONG_COLLECTIVE; MISROUTED; EXPIRED, FROM_FUTURE.
    """
    identity = _operator("request", body, headers, verifier, limits, now, stale=stale)
    request = (read or _read)(body, limits)
    if request.caller != identity.callerid:
        raise Rejected(
            Reason.CALLER_MISMATCH, f"{request.caller!r} is signed by {identity.callerid}"
        )
    refuse_foreign_id(request)
    _check_route(request, arrival)
    _check_dates(request, limits, now)
    return request


class RequestReader:
    """Reads what one message asks: once, however many nodes of a process it is for.

    Each of them verifies it for itself; what the bytes say is the same for all. Inputs are each one's own.
    """

    __slots__ = ("_read",)

    def __init__(self) -> None:
        self._read: tuple[bytes, Request] | None = None

    def __call__(self, body: bytes, limits: BodyLimits) -> Request:
        """The request in a body; raises Rejected."""
        if self._read is None or self._read[0] is not body:
            self._read = body, _read(body, limits)
            return self._read[1]
        request = self._read[1]
        return replace(request, data=deepcopy(request.data)) if request.data else request


def _read(body: bytes, limits: BodyLimits) -> Request:
    return _request(document_of(body, limits, "request"), digest_of(body))


def open_reply(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    limits: BodyLimits,
    now: float,
    expected: Callable[[str], Container[str] | None],
    bound: Callable[[Reply], bool],
    *,
    ended: bool = False,
    checked: bool = False,
) -> OpenedReply:
    """Check a reply and return it; `now` (epoch) is when it came in, also for a stored one.

    `expected` gives the targets of a request id, or of "job:ID" those of a job (a run of it has
    an id that nobody here has seen), or None when nobody here asked. `bound` says whether a reply
    answers bytes that were signed here. A verified sender that is no target comes back with
    `expected=False`: the ledger makes it a row of its own. `ended`, `checked`: as in
    `Verifier.verify`.

    Raises:
        Rejected: TOO_LARGE; NOT_JSON, TOO_DEEP, MALFORMED; UNKNOWN_REQUEST; UNSIGNED,
            BAD_CERTIFICATE, FOREIGN_CA, CERT_EXPIRED, REVOKED, STALE_CRL, BAD_SIGNATURE;
            WRONG_KIND; WRONG_SENDER; UNBOUND.
    """
    refuse_large(body, limits)
    reply = _reply(document_of(body, limits, "reply"))
    targets = expected(reply.requestid)
    if targets is None and reply.job is not None:
        targets = expected(f"job:{reply.job}")  # the first reply about this run
    if targets is None:
        raise Rejected(Reason.UNKNOWN_REQUEST, reply.requestid)
    identity = verified(body, headers, verifier, now, ended=ended, checked=checked)
    if identity.kind != "node":
        raise Rejected(Reason.WRONG_KIND, f"a reply signed by the operator {identity.name}")
    if identity.name != reply.sender:
        raise Rejected(Reason.WRONG_SENDER, f"{reply.sender!r} is signed by {identity.name}")
    if not bound(reply):
        about = reply.digest or "nothing"
        raise Rejected(Reason.UNBOUND, f"{reply.sender} answers {about}, which was not asked")
    return OpenedReply(reply, identity, reply.sender in targets)


def read_reply(body: bytes, *, trust: str = NATIVE, limits: BodyLimits | None = None) -> Reply:
    """Read the body of a reply that was verified when it was stored; checks form, not signature."""
    document = document_of(body, limits or _STORED, "reply", stored=True)
    return _reply(document, trust)


def read_request(body: bytes, *, limits: BodyLimits | None = None) -> Request:
    """Read the body of a request of our own, or one verified when stored; checks form only."""
    document = document_of(body, limits or _STORED, "request", stored=True)
    return _request(document, digest_of(body))


def digest_of(body: bytes) -> str:
    """What a reply says that it answers: the SHA-256 of signed bytes, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def sealed(body: bytes, signer: Signer) -> SealedMessage:
    """Sign a body; for every kind of document."""
    return SealedMessage(body, {SIGNATURE: signer.sign(body), CERTIFICATE: signer.certificate})


def refuse_foreign_id(request: Request) -> None:
    """Refuse a request whose id is not its caller's; raises Rejected."""
    if request.id != made_id("request", request.caller, request.nonce):
        raise Rejected(Reason.FOREIGN_ID, f"{request.id} is no id of {request.caller}")


def refuse_large(body: bytes, limits: BodyLimits) -> None:
    """Refuse a body that is larger than what is taken; raises Rejected."""
    if len(body) > limits.max_body:
        raise Rejected(Reason.TOO_LARGE, f"{len(body)} bytes; {limits.max_body} are taken")


def verified(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    now: float,
    *,
    stored: bool = False,
    stale: bool = False,
    ended: bool = False,
    checked: bool = False,
) -> Identity:
    """Return who has signed a body, by its two headers; raises Rejected.

    What is of another version is signed in another way: it is told so, as WRONG_VERSION. What a
    store has held (`stored`) is verified by the rules of its own version. `stale`, `ended`,
    `checked`: as in `Verifier.verify`.
    """
    signature, certificate = headers.get(SIGNATURE, ""), headers.get(CERTIFICATE, "")
    if stored and signature:
        version = version_of(body)
        return verifier.verify(body, signature, certificate, now=now, version=version, ended=ended)
    try:
        return verifier.verify(
            body, signature, certificate, now=now, stale=stale, ended=ended, checked=checked
        )
    except Rejected as refusal:
        if refusal.reason is Reason.BAD_SIGNATURE:
            _refuse_version(strict_json.loads(body))
        raise


def of_operator(
    kind: str,
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    limits: BodyLimits,
    now: float,
    *,
    stored: bool = False,
) -> tuple[dict[str, Any], Identity]:
    """Return a document of this kind that an operator has signed, and who that is.

    Raises:
        Rejected: TOO_LARGE; UNSIGNED, BAD_CERTIFICATE, FOREIGN_CA, CERT_EXPIRED, REVOKED,
            STALE_CRL, BAD_SIGNATURE; WRONG_KIND; NOT_JSON, TOO_DEEP, MALFORMED.
    """
    identity = _operator(kind, body, headers, verifier, limits, now, stored=stored)
    return document_of(body, limits, kind, stored=stored), identity


def _operator(
    kind: str,
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    limits: BodyLimits,
    now: float,
    *,
    stored: bool = False,
    stale: bool = False,
) -> Identity:
    """Which operator has signed a body that is small enough to be read; raises Rejected."""
    refuse_large(body, limits)
    identity = verified(body, headers, verifier, now, stored=stored, stale=stale)
    if identity.kind != "operator":
        raise Rejected(Reason.WRONG_KIND, f"a {kind} signed by the node {identity.name}")
    return identity


def document_of(
    body: bytes, limits: BodyLimits, *kinds: str, stored: bool = False
) -> dict[str, Any]:
    """Read a body whose document is of one of these kinds and of our version; raises Rejected.

    What a store has held (`stored`) may be of an earlier one.
    """
    document = strict_json.loads(body, max_depth=limits.max_depth)
    if not isinstance(document, dict):
        raise Rejected(Reason.MALFORMED, "the document is no object")
    _refuse_version(document, stored=stored)
    if document.get("kind") not in kinds:
        found = str(document.get("kind"))[:20]
        raise Rejected(Reason.WRONG_KIND, f"a document of kind {found} where a {kinds[0]} belongs")
    return document


def _refuse_version(document: Any, *, stored: bool = False) -> None:
    """Refuse what says that it is of another version than ours; raises Rejected."""
    version = document.get("v") if isinstance(document, dict) else VERSION
    if type(version) is not int or version not in (_STORED_VERSIONS if stored else (VERSION,)):
        detail = f"version {str(version)[:20]}; {VERSION} is spoken here"
        raise Rejected(Reason.WRONG_VERSION, detail)


def _request(document: Mapping[str, Any], digest: str = "") -> Request:
    return Request(
        id=fields.request_id(document),
        agent=fields.word(document, "agent"),
        action=fields.action(document),
        caller=fields.name(document, "caller"),
        collective=fields.word(document, "collective"),
        via=fields.via(document),
        session=fields.word(document, "session"),
        created=fields.moment(document, "created"),
        expires=fields.moment(document, "expires"),
        data=fields.mapping(document, "data"),
        filter=fields.filter_of(document),
        identity=fields.optional(document, "identity", fields.name),
        pool=fields.optional(document, "pool", fields.word),
        nonce=fields.optional(document, "nonce", fields.nonce) or "",
        digest=digest,
        emergency=fields.optional(document, "emergency", fields.line) or "",
    )


def _reply(document: Mapping[str, Any], trust: str = NATIVE) -> Reply:
    reply = Reply(
        requestid=fields.request_id(document),
        sender=fields.name(document, "sender"),
        sequence=fields.whole(document, "sequence", fields.MAX_SEQUENCE),
        statuscode=fields.optional(document, "statuscode", fields.statuscode),
        statusmsg=fields.text(document, "statusmsg"),
        data=fields.mapping(document, "data"),
        created=fields.moment(document, "created"),
        state=fields.state(document),
        trust=trust,
        job=fields.optional(document, "job", fields.job_id),
        run="" if document.get("job") is None else fields.run(document),
        digest=fields.optional(document, "digest", fields.digest) or "",
        machine=fields.optional(document, "machine", fields.machine) or "",
    )
    fields.check_word_of_node(reply)
    if reply.job is not None and reply.requestid != run_id(reply.job, reply.run):
        raise Rejected(Reason.MALFORMED, "the id is not that of this run of this job")
    return reply


def _check_route(request: Request, arrival: Arrival) -> None:
    if request.collective != arrival.collective:
        raise Rejected(
            Reason.WRONG_COLLECTIVE,
            f"for {request.collective}, came in over {arrival.collective}",
        )
    if request.via is not arrival.via:
        raise Rejected(Reason.MISROUTED, f"sent by {request.via}, came in by {arrival.via}")
    addressed = request.via in (Via.DIRECT, Via.QUEUE)
    if request.identity != (arrival.identity if addressed else None):
        raise Rejected(Reason.MISROUTED, f"addressed to {request.identity or 'nobody'}")
    if request.pool != (arrival.pool if request.via is Via.POOL else None):
        raise Rejected(Reason.MISROUTED, f"addressed to the pool {request.pool or '(none)'}")


def _check_dates(request: Request, limits: BodyLimits, now: float) -> None:
    ttl = request.expires - request.created
    if not 0 < ttl <= limits.max_ttl:
        raise Rejected(Reason.MALFORMED, f"a ttl of {ttl:.0f} s; {limits.max_ttl:.0f} are taken")
    if request.created > now + limits.max_skew:
        ahead = request.created - now
        raise Rejected(Reason.FROM_FUTURE, f"made {ahead:.0f} s ahead: compare the clocks")
    if now > request.expires:
        raise Rejected(Reason.EXPIRED, f"{now - request.expires:.0f} s ago")
