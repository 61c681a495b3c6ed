"""`pki init`, `issue`, `list`, `revoke`: the small CA; no broker, no client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.pki import Authority, read_public

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.local_options import (
        PKIInitOptions,
        PKIIssueOptions,
        PKIListOptions,
        PKIRevokeOptions,
    )

__all__ = ["init", "issue", "listing", "revoke"]


_LISTING = ("name", "kind", "status", "issued", "expires", "revoked", "serial")


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
    number = Authority.open(context.ca_dir(options.pki)).revoke(options.name, options.kind)
    return Table(("name", "crl"), [(options.name, number)])
