"""A turn of a conversation as signed bytes, and the checks on the way back in.

An operator's turn goes to the node's direct queue, a node's to the reply queue of the session: so
turns lie beside requests and replies, and `envelope.kind_of` tells them apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import InputError, Reason, Rejected
from mcshell.message import Turn, made_id
from mcshell.wire.documents import fields, strict_json
from mcshell.wire.documents.envelope import (
    TURN,
    BodyLimits,
    SealedMessage,
    digest_of,
    document_of,
    of_operator,
    refuse_large,
    sealed,
    verified,
)
from mcshell.wire.documents.signatures import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.pki import Identity
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = [
    "ACK",
    "CLOSE",
    "MAX_DATA",
    "MAX_TURN",
    "OPEN",
    "RESET",
    "TURN",
    "check_data",
    "open_turn_of_node",
    "open_turn_of_operator",
    "seal_turn",
]

OPEN: Final = "open"
CLOSE: Final = "close"
ACK: Final = "ack"
RESET: Final = "reset"
NUMBERED: Final = frozenset({OPEN, TURN, CLOSE})
WORDS: Final = NUMBERED | {ACK, RESET}

MAX_TURN: Final = 256 * 1024
MAX_DATA: Final = MAX_TURN - 4096
_LIMITS: Final = BodyLimits(max_body=MAX_TURN)
_MOST: Final = 2**53


def check_data(data: Any) -> None:
    """Refuse what no turn can carry; raises InputError."""
    try:
        size = len(strict_json.dumps(data, max_depth=strict_json.MAX_DEPTH - 1))
    except strict_json.Unwritable as error:
        raise InputError(f"the turn cannot be sent: {error}") from error
    if size > MAX_DATA:
        raise InputError(f"the turn cannot be sent: {size} bytes; {MAX_DATA} are taken")


def seal_turn(turn: Turn, signer: Signer) -> SealedMessage:
    """Write and sign a turn whose data has passed `check_data`."""
    document = {
        "v": VERSION,
        "kind": TURN,
        "id": turn.id,
        "protocol": turn.protocol,
        "caller": turn.caller,
        "node": turn.node,
        "collective": turn.collective,
        "session": turn.session,
        "word": turn.word,
        "sequence": turn.sequence,
        "ack": turn.ack,
        "limit": turn.limit,
        "created": turn.created,
        "data": turn.data,
        "nonce": turn.nonce or None,
        "digest": turn.digest or None,
    }
    return sealed(strict_json.dumps(document), signer)


def open_turn_of_operator(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    *,
    collective: str,
    node: str,
    now: float,
) -> tuple[Turn, Identity]:
    """Check a turn that came to a node's own queue in a collective.

    The `digest` of an `open` is that of its bytes, which the node's turns are to carry.

    Raises:
        Rejected: TOO_LARGE; UNSIGNED, BAD_CERTIFICATE, FOREIGN_CA, CERT_EXPIRED, REVOKED,
            STALE_CRL, BAD_SIGNATURE; WRONG_KIND; NOT_JSON, TOO_DEEP, MALFORMED;
            CALLER_MISMATCH; FOREIGN_ID; WRONG_COLLECTIVE; MISROUTED.
    """
    document, identity = of_operator(TURN, body, headers, verifier, _LIMITS, now)
    turn = _turn(document)
    if turn.caller != identity.callerid:
        raise Rejected(Reason.CALLER_MISMATCH, f"{turn.caller!r} is signed by {identity.callerid}")
    if turn.collective != collective:
        raise Rejected(Reason.WRONG_COLLECTIVE, f"for {turn.collective}, came over {collective}")
    if turn.node != node:
        raise Rejected(Reason.MISROUTED, f"addressed to {turn.node}")
    if turn.word != OPEN:
        return turn, identity
    if turn.id != made_id(TURN, turn.caller, turn.nonce):
        raise Rejected(Reason.FOREIGN_ID, f"{turn.id} is no id of {turn.caller}")
    return replace(turn, digest=digest_of(body)), identity


def open_turn_of_node(
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    now: float,
    partner: Callable[[str], str | None],
) -> Turn:
    """Check a turn that came to a session's reply queue.

    `partner` gives the node with which a conversation is held, or None when there is none. Which
    `open` it answers is for the caller to check.

    Raises:
        Rejected: TOO_LARGE; NOT_JSON, TOO_DEEP, MALFORMED; UNKNOWN_REQUEST; WRONG_SENDER;
            UNSIGNED, BAD_CERTIFICATE, FOREIGN_CA, CERT_EXPIRED, REVOKED, STALE_CRL,
            BAD_SIGNATURE; WRONG_KIND.
    """
    refuse_large(body, _LIMITS)
    turn = _turn(document_of(body, _LIMITS, TURN))
    wanted = partner(turn.id)
    if wanted is None:
        raise Rejected(Reason.UNKNOWN_REQUEST, turn.id)
    if turn.node != wanted:
        raise Rejected(Reason.WRONG_SENDER, f"{turn.node!r} is not whom we talk to")
    identity = verified(body, headers, verifier, now)
    if identity.kind != "node":
        raise Rejected(Reason.WRONG_KIND, f"a node's turn signed by the operator {identity.name}")
    if identity.name != wanted:
        raise Rejected(Reason.WRONG_SENDER, f"{wanted!r} is signed by {identity.name}")
    return turn


def _turn(document: Mapping[str, Any]) -> Turn:
    turn = Turn(
        id=fields.request_id(document),
        protocol=fields.word(document, "protocol"),
        caller=fields.name(document, "caller"),
        node=fields.name(document, "node"),
        collective=fields.word(document, "collective"),
        session=fields.word(document, "session"),
        word=fields.text(document, "word"),
        sequence=fields.whole(document, "sequence", _MOST),
        ack=fields.whole(document, "ack", _MOST),
        limit=fields.whole(document, "limit", _MOST),
        created=fields.moment(document, "created"),
        data=document.get("data"),
        nonce=fields.optional(document, "nonce", fields.nonce) or "",
        digest=fields.optional(document, "digest", fields.digest) or "",
    )
    if turn.word not in WORDS:
        raise Rejected(Reason.MALFORMED, f"word: {turn.word[:20]!r} is none of ours")
    if (turn.word in NUMBERED) != (turn.sequence > 0):
        raise Rejected(Reason.MALFORMED, f"sequence: {turn.sequence} for {turn.word}")
    return turn
