"""`pki init`, `issue`, `list`, `revoke`, `rotate`: the small CA; no broker, no client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.pki import Authority, read_public

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import (
        PKIInitOptions,
        PKIIssueOptions,
        PKIListOptions,
        PKIRevokeOptions,
        PKIRotateOptions,
    )
    from mcshell.pki.rotation import KeyedCA

__all__ = ["init", "issue", "listing", "revoke", "rotate"]


_LISTING = ("name", "kind", "status", "issued", "expires", "revoked", "serial")
_CAS = ("ca", "role", "ends", "identities")
_NEXT = {
    "begin": "bring ca.pem to everybody and to the brokers before you say: mcshell pki rotate switch",
    "switch": "who renews gets a certificate of the CA that signs now; none but such left: mcshell pki "
    "rotate finish",
    "finish": "bring ca.pem to everybody and to the brokers once more: the old CA is not in it",
}


def init(_context: Context, options: PKIInitOptions) -> Table:
    """Make a CA in a directory of its own."""
    Authority.init(Path(options.dir), name=options.name)
    return Table(("ca",), [(str(Path(options.dir) / "ca.pem"),)])


def issue(context: Context, options: PKIIssueOptions) -> Table:
    """Issue a certificate and its key, as NAME.pem and NAME.key; `--renew` writes over them.

    With `--public` the key is elsewhere, and stays there.
    """
    authority = Authority.open(context.ca_dir(options.pki))
    out = Path(options.out) if options.out else Path.cwd()
    name, kind, renew = options.name, options.kind, options.renew
    if options.public is not None:
        public = read_public(options.public)
        cert, key = authority.issue_for(name, kind, public, out=out, renew=renew), None
    else:
        cert, key = authority.issue(name, kind, out=out, renew=renew)
    where = None if key is None else str(key)
    return Table(("name", "kind", "cert", "key"), [(name, kind, str(cert), where)])


def listing(context: Context, options: PKIListOptions) -> Table:
    """What the CA has issued, and what it has taken back; or whose last certificate ends soon."""
    authority = Authority.open(context.ca_dir(options.pki))
    found = authority.listing() if options.ending is None else authority.ending(options.ending)
    rows = [tuple(entry[column] for column in _LISTING) for entry in found]
    return Table(_LISTING, rows, times=("issued", "expires", "revoked"))


def revoke(context: Context, options: PKIRevokeOptions) -> Table:
    """Take certificates back; the CRL's new number."""
    authority = Authority.open(context.ca_dir(options.pki))
    found = options.serial and authority.of_serial(options.serial)
    name = options.name or (found and found.name) or ""
    number = authority.revoke(name, options.kind, found.serial if found else None)
    return Table(("name", "crl"), [(name, number)])


def rotate(context: Context, options: PKIRotateOptions) -> Table:
    """Go a step from one CA to the next; then, or without a step, who has certificates of which.

    Raises:
        UsageError: it is not the time for that step.
    """
    authority = Authority.open(context.ca_dir(options.pki))
    if options.step == "begin":
        authority.introduce(options.name)
    elif options.step == "switch":
        authority.switch()
    elif options.step == "finish":
        authority.retire(force=options.force)
    first, *others = authority.holders()
    rows = [_ca_row("signs", *first), *(_ca_row("is trusted", *one) for one in others)]
    note = _NEXT[options.step] if options.step else ""
    return Table(_CAS, rows, times=("ends",), notes=(note,) if note else ())


def _ca_row(role: str, ca: KeyedCA, holders: Collection[object]) -> tuple[object, ...]:
    name = ca.certificate.subject.rfc4514_string()
    return name, role, ca.certificate.not_valid_after_utc.timestamp(), len(holders)
