"""`pki init`, `issue`, `list`, `revoke`: the small CA; no broker, no client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.commands.output.result import Table
from mcshell.pki import Authority

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
    """Issue a certificate and its key, as NAME.pem and NAME.key; `--renew` writes over them."""
    authority = Authority.open(context.ca_dir(options.pki))
    out = Path(options.out) if options.out else Path.cwd()
    cert, key = authority.issue(options.name, options.kind, out=out, renew=options.renew)
    return Table(
        ("name", "kind", "cert", "key"), [(options.name, options.kind, str(cert), str(key))]
    )


def listing(context: Context, options: PKIListOptions) -> Table:
    """What the CA has issued, and what it has taken back."""
    found = Authority.open(context.ca_dir(options.pki)).listing()
    rows = [tuple(entry[column] for column in _LISTING) for entry in found]
    return Table(_LISTING, rows, times=("issued", "expires", "revoked"))


def revoke(context: Context, options: PKIRevokeOptions) -> Table:
    """Take a certificate back; the CRL's new number."""
    number = Authority.open(context.ca_dir(options.pki)).revoke(options.name)
    return Table(("name", "crl"), [(options.name, number)])
