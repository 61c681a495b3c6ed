"""`supervisor sign FILE`: a rule, checked and signed by the operator, for supervisors to carry."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcshell.client.documents.reader import read_text
from mcshell.client.documents.rule_file import SUFFIX, read_rule_file, save_sealed
from mcshell.commands.output.result import Table
from mcshell.errors import UsageError
from mcshell.storage import not_written
from mcshell.texts import expanded
from mcshell.wire.credentials import load_credentials
from mcshell.wire.documents.rule import rule_digest, seal_rule

if TYPE_CHECKING:
    from mcshell.commands.context import Context
    from mcshell.commands.grammar.session_options import RuleSignOptions

__all__ = ["sign"]


def sign(context: Context, options: RuleSignOptions) -> Table:
    """Write AUTHOR_NAME.rule into the folder; no broker is asked.

    Raises:
        UsageError: what is no rule, with its place; or the key is not an operator's.
    """
    settings = context.settings
    signer = load_credentials(settings.pki).signer
    if signer.identity.kind != "operator":
        raise UsageError(f"{settings.pki.cert} is a node's certificate: operators sign rules")
    path = expanded(options.file)
    rule = read_rule_file(
        read_text(path),
        options.file,
        context.ddls,
        author=signer.identity.callerid,
        collective=settings.collective.main,
        now=time.time(),
        groups=context.groups,
    )
    sealed = seal_rule(rule, signer)
    folder = expanded(options.out) if options.out else settings.supervisor.rules
    folder = folder or Path.cwd()
    target = folder / f"{signer.identity.name}_{rule.name}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_sealed(target, sealed)
    except OSError as error:
        raise not_written(target, error) from error
    note = (
        "a supervisor that has this file in its rules brings it at once to the nodes that it has heard "
        f"of, and to others when they register: as they start, then every {settings.node.register_every:g} s"
    )
    row = (rule.name, rule.revision, rule.author, len(rule.duties), rule.expires)
    return Table(
        ("rule", "revision", "author", "jobs", "expires", "digest", "file"),
        [(*row, rule_digest(sealed.body), str(target))],
        notes=(note,),
        times=("expires",),
    )
