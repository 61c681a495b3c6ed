"""Documents that outlive the message that carried them: jobs, rules, plans.

Each is signed by the operator whom it names as its author, is kept byte by byte, and is verified
again by whoever takes it up later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mcshell.errors import InputError, Reason, Rejected, UsageError
from mcshell.wire.documents import strict_json
from mcshell.wire.documents.envelope import (
    CERTIFICATE,
    SIGNATURE,
    SealedMessage,
    of_operator,
    sealed,
)
from mcshell.wire.documents.signatures import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcshell.wire.documents.envelope import BodyLimits
    from mcshell.wire.documents.signatures import Signer, Verifier

__all__ = ["as_fields", "of_fields", "open_authored", "seal_authored"]


class Authored(Protocol):
    """A document that names its author: a job, a rule, a plan."""

    @property
    def author(self) -> str:
        """The callerid of the operator who answers for it."""


_Kind = TypeVar("_Kind", bound=Authored)


def seal_authored(
    kind: str,
    document: Mapping[str, Any],
    read: Callable[[Any], Authored],
    signer: Signer,
    called: str,
) -> SealedMessage:
    """Write and sign a document; `called` is how messages speak of it.

    Raises:
        InputError: an input that JSON cannot carry.
        UsageError: what `read` would refuse; another's name as author.
    """
    author = document["author"]
    if author != signer.identity.callerid:
        raise UsageError(f"a {kind} of {author} cannot be signed by {signer.identity.callerid}")
    try:
        body = strict_json.dumps({"v": VERSION, "kind": kind, **document})
        read(strict_json.loads(body))
    except Rejected as error:
        raise UsageError(f"{called}: {error.detail}") from error
    except strict_json.Unwritable as error:
        raise InputError(f"{called}: {error}") from error
    return sealed(body, signer)


def as_fields(message: SealedMessage) -> dict[str, str]:
    """A signed document as three fields of what carries it: a request's inputs, a file."""
    return {
        "document": message.body.decode(),
        "signature": message.headers[SIGNATURE],
        "certificate": message.headers[CERTIFICATE],
    }


def of_fields(told: Mapping[str, str]) -> SealedMessage:
    """A signed document as `as_fields` has written it; whose it is, is still to be asked."""
    headers = {SIGNATURE: told["signature"], CERTIFICATE: told["certificate"]}
    return SealedMessage(told["document"].encode(), headers)


def open_authored(
    kind: str,
    read: Callable[[Any], _Kind],
    body: bytes,
    headers: Mapping[str, str],
    verifier: Verifier,
    limits: BodyLimits,
    now: float,
    *,
    stored: bool = False,
) -> _Kind:
    """Check a document and return what `read` makes of it; `now` (epoch) is when it came in.

    One that a store has held (`stored`) may be of an earlier version.

    Raises:
        Rejected: TOO_LARGE; UNSIGNED, BAD_CERTIFICATE, FOREIGN_CA, CERT_EXPIRED, REVOKED,
            STALE_CRL, BAD_SIGNATURE; WRONG_KIND; NOT_JSON, TOO_DEEP, MALFORMED; CALLER_MISMATCH.
    """
    document, identity = of_operator(kind, body, headers, verifier, limits, now, stored=stored)
    found = read(document)
    if found.author != identity.callerid:
        raise Rejected(Reason.CALLER_MISMATCH, f"{found.author!r} is signed by {identity.callerid}")
    return found
