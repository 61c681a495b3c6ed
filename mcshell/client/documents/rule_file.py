"""A rule as its author writes it: YAML; and as it is kept, signed, in a file of its own.

::

    rule: web-base
    revision: 2                  # a new one takes the place of the old one, with its jobs
    where: role=web              # or a table: facts, classes, agents, identities, compound
    expires: 365d                # no machine takes it after that
    jobs:
      - job: motd
        ask: exec.run
        inputs: {command: ...}
      - job: rotate
        ask: service.restart
        inputs: {name: rsyslog}
        cron: "0 4 * * 1"
        splay: 1h
      - job: greet
        ask: service.start
        inputs: {name: greeter}
        after: {motd: ok}
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mcshell import schedule
from mcshell.client.documents.reader import load
from mcshell.client.jobs.times import WORDS, read_when, refuse_past
from mcshell.errors import UsageError
from mcshell.filters.nodes import no_groups
from mcshell.message import Duty, Rule, When
from mcshell.private import replace_file
from mcshell.wire.documents.authored import as_fields
from mcshell.wire.documents.envelope import CERTIFICATE, SIGNATURE, SealedMessage

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.client.documents.reader import Section
    from mcshell.ddl.ddl_library import Library
    from mcshell.filters.nodes import GroupLookup

__all__ = ["SUFFIX", "load_sealed", "read_rule_file", "save_sealed"]

SUFFIX: Final = ".rule"
_RULE: Final = ("rule", "revision", "collective", "where", "expires", "jobs")
_DUTY: Final = ("job", "ask", "inputs", *WORDS, "after", "retries", "backoff", "max_runtime")
_YEAR: Final = 365 * 86_400.0
_LATE: Final = 7 * 86_400.0


def read_rule_file(
    text: str,
    origin: str,
    ddls: Library,
    *,
    author: str,
    collective: str,
    now: float,
    groups: GroupLookup = no_groups,
) -> Rule:
    """Read a rule; `origin` is the file's name, for messages; `groups` gives the
    nodes of an `@GROUP`, which the signed document has by their names.

    Raises:
        UsageError: what is no rule, with its place; an unknown action or input.
    """
    document = load(text, origin, _RULE, groups)
    expires = now + document.seconds("expires", _YEAR)
    return Rule(
        name=document.text("rule"),
        revision=document.whole("revision", 1, 1),
        author=author,
        collective=document.text("collective", collective),
        created=now,
        expires=expires,
        filter=document.matching("where"),
        duties=tuple(_duty(part, ddls, now, expires) for part in document.parts("jobs", _DUTY)),
    )


def _duty(part: Section, ddls: Library, now: float, expires: float) -> Duty:
    agent, action, data = part.asked(ddls)
    return Duty(
        name=part.text("job"),
        agent=agent,
        action=action,
        data=data,
        when=_when(part, now, expires),
        after=tuple(f"{name}:{need}" for name, need in part.after().items()),
        retries=part.whole("retries", 0),
        backoff=part.seconds("backoff", 60.0),
        max_runtime=part.maybe_seconds("max_runtime"),
    )


def _when(part: Section, now: float, expires: float) -> When:
    """Its time; what recurs goes on for as long as the rule is taken, unless it says otherwise."""
    said = {word: part.get(word) for word in WORDS}
    try:
        when = read_when(said, now, _LATE)
        if when.recurs and said["until"] is None:
            when = replace(when, until=expires)
        refuse_past(when, now, [schedule.local_zone()])
    except (UsageError, TypeError) as error:
        raise UsageError(f"{part.place}: {error}") from error
    return when


def save_sealed(path: Path, sealed: SealedMessage) -> None:
    """Write a signed rule into a file, whole or not at all; OSError when it cannot be."""
    replace_file(path, f"{json.dumps(as_fields(sealed), indent=1)}\n".encode(), 0o666)


def load_sealed(path: Path) -> SealedMessage:
    """Read what `save_sealed` wrote; UsageError when it is something else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        words = [document[key] for key in ("document", "signature", "certificate")]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: no signed rule (mcshell supervisor sign makes one)") from error
    if not all(isinstance(word, str) for word in words):
        raise UsageError(f"{path}: no signed rule (mcshell supervisor sign makes one)")
    return SealedMessage(words[0].encode(), {SIGNATURE: words[1], CERTIFICATE: words[2]})
