"""A configuration for mcshell's own broker: one directory, for a lab or a first month.

It has no rights for each: whoever has a certificate of the CA may do all, and a new machine needs no new
configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.broker.config.enrolment import PASSCODE_FILE
from mcshell.broker.config.site import put, template

if TYPE_CHECKING:
    from mcshell.broker.config.site import Site

__all__ = ["write"]


def write(site: Site) -> list[str]:
    """Write all but `server.pem`, `server.key` and `ca.pem`; returns notes, here one."""
    listen = f"[{site.listen}]" if ":" in site.listen else site.listen
    enrolment = ""
    if site.enrolment is not None:
        port = site.enrolment.port
        enrolment = f'--enrol-listen {listen}:{port} --enrol-passcode-file "$here/{PASSCODE_FILE}"'
    values = {"listen": f"{listen}:{site.port}", "enrolment": enrolment}
    put(site.directory / "start", template("embedded-start").format_map(values), script=True)
    return ["whoever has a certificate may do all at this broker: what it signs is still checked"]
