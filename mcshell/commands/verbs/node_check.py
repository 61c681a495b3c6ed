"""`node --check`: what would be wrong with a node that started here, a line each; nothing is touched."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from mcshell import config, plugins
from mcshell.commands.output.result import Table
from mcshell.errors import ConfigError, MCShellError, Rejected
from mcshell.node.admission.policy import Authorisation, Policies
from mcshell.node.builtin.approval import no_approvals
from mcshell.node.builtin.job import no_jobs
from mcshell.node.reload import SelfKnowledge, policies_of, read_agents, unusable
from mcshell.private import UnsafeFile, check_obeyed
from mcshell.storage import SQLITE
from mcshell.wire.credentials import load_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcshell.config import Settings

__all__ = ["check"]

_WRONG = 1
"""The exit code where something is."""


def check(path: Path | None) -> Table:
    """One row for all that is wrong with the node that the configuration at `path` describes."""
    sys.dont_write_bytecode = True  # to load an agent is to look at it
    # What is wrong is in the rows: it would stand in the log once more.
    logging.getLogger("mcshell").addHandler(logging.NullHandler())
    try:
        settings = config.load(path)
    except (ConfigError, OSError) as error:
        found = [" ".join(str(error).split())]
    else:
        found = list(dict.fromkeys(_wrong(settings)))
    return Table(("wrong",), [(line,) for line in found], _WRONG if found else 0)


def _wrong(settings: Settings) -> Iterator[str]:
    yield from unusable(settings)
    yield from _certificate(settings)
    yield from _state(settings)
    yield from _plugins()
    folder = policies_of(settings)
    if folder.is_dir():
        yield from Authorisation(Policies(folder), {}).flaws()
    elif settings.node.policies is None:
        yield f"policies: {folder} is not there, so that everything is denied"
    agents = read_agents(settings, no_jobs, no_approvals)
    agents.configure(settings.agents)
    yield from agents.flaws()
    yield from SelfKnowledge.read(settings).flaws()


def _certificate(settings: Settings) -> Iterator[str]:
    """Whether others would believe the node: key, certificate, CA and revocation list fit together."""
    try:
        credentials = load_credentials(settings.pki)
        signer = credentials.signer
        body = b"check"
        credentials.verifier.verify(body, signer.sign(body), signer.certificate, now=time.time())
    except Rejected as refusal:
        yield f"{settings.pki.cert}: {refusal}"
    except MCShellError as error:
        yield " ".join(str(error).split())


def _state(settings: Settings) -> Iterator[str]:
    """Whether the state directory is there and ours, or could be made."""
    place = settings.state_dir / "node"
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        yield f"state: {place} is no folder"
    elif not os.access(place, os.W_OK | os.X_OK):
        yield f"state: {place} cannot be written"
    else:
        try:
            check_obeyed(place)
        except UnsafeFile as error:
            yield f"state: {error}"
        if place.name == "node":
            yield from _databases(place)


def _databases(folder: Path) -> Iterator[str]:
    """Files that a node could not open."""
    for path in sorted(folder.glob("*.sqlite")):
        try:
            with path.open("rb") as file:
                if file.read(len(SQLITE)) not in (b"", SQLITE):
                    yield f"state: {path} is no database: no node starts with it"
        except OSError as error:
            yield f"state: {path}: {error.strerror}"


def _plugins() -> Iterator[str]:
    """Authorisers and audit sinks that do not load: a node does not start without them."""
    for kind in ("authoriser", "audit"):
        try:
            plugins.find_all(kind)
        except MCShellError as error:
            yield " ".join(str(error).split())
