"""The rules of a supervisor: signed files in a folder, read again when they change.

A file that is not to be believed is said so in the log, and not carried: nodes would refuse it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from mcshell.client.documents.rule_file import SUFFIX, load_sealed
from mcshell.errors import FilterError, Rejected, UsageError
from mcshell.filters import compile_filter
from mcshell.values import dataclass
from mcshell.wire.documents.envelope import BodyLimits
from mcshell.wire.documents.rule import open_rule

if TYPE_CHECKING:
    from pathlib import Path

    from mcshell.filters import Matcher
    from mcshell.message import Rule
    from mcshell.wire.documents.envelope import SealedMessage
    from mcshell.wire.documents.signatures import Verifier

__all__ = ["CarriedRule", "RuleFolder"]

log = logging.getLogger(__name__)

_AGAIN: Final = 30.0
"""Seconds after which what was refused is read once more."""


@dataclass(frozen=True, slots=True)
class CarriedRule:
    """A rule that is carried, with the bytes that are."""

    rule: Rule
    sealed: SealedMessage
    matcher: Matcher

    @property
    def key(self) -> str:
        """Its name in registrations: AUTHOR/NAME."""
        return f"{self.rule.author}/{self.rule.name}"


class RuleFolder:
    """The newest revision of each rule in a folder; `rules` by AUTHOR/NAME."""

    def __init__(self, path: Path, verifier: Verifier) -> None:
        self._path = path
        self._verifier = verifier
        self._stamp: object = None
        self.rules: dict[str, CarriedRule] = {}
        self._refused: dict[Path, str] = {}
        """The files that are not carried, and why."""
        self._again = 0.0
        """When (monotonic) they are read once more."""

    def move(self, path: Path) -> None:
        """Take them from this folder from now on, and read them again."""
        self._path = path
        self._stamp = None

    def refresh(self, now: float) -> bool:
        """Look whether something has changed (a file, the revocation list); whether it has.

        What was refused is read again now and then: a clock may be right by then, or a file readable.
        """
        stamp, clock = self._look(), time.monotonic()
        changed = stamp != self._stamp
        if changed:
            self._stamp = stamp
            self.rules, self._refused = {}, {}
            paths = sorted(self._path.glob(f"*{SUFFIX}"))
        elif self._refused and clock >= self._again:
            paths = sorted(self._refused)
        else:
            return False
        found = [self._take(path, now) for path in paths]
        changed = changed or any(found)
        self._again = clock + _AGAIN
        if changed:
            log.info("%d rules in %s", len(self.rules), self._path)
        return changed

    def _take(self, path: Path, now: float) -> bool:
        """Carry the rule of a file; whether it is another than was carried."""
        kept = self._read(path, now)
        if kept is None:
            return False
        self._refused.pop(path, None)
        before = self.rules.get(kept.key)
        if before is not None and before.rule.revision >= kept.rule.revision:
            return False
        self.rules[kept.key] = kept
        return True

    def _look(self) -> object:
        found = []
        for path in sorted(self._path.glob(f"*{SUFFIX}")):
            try:
                status = path.stat()
            except OSError:
                continue
            # of the times the one that a change of permissions moves, too
            found.append((path.name, status.st_ctime_ns, status.st_size, status.st_ino))
        return found, self._verifier.crl_number

    def _read(self, path: Path, now: float) -> CarriedRule | None:
        try:
            sealed = load_sealed(path)
            rule = open_rule(sealed.body, sealed.headers, self._verifier, BodyLimits(), now)
            return CarriedRule(rule, sealed, compile_filter(rule.filter))
        except Rejected as refusal:
            self._refuse(path, refusal.reason.value, f"{path} is not carried: {refusal}")
        except (UsageError, FilterError) as error:
            self._refuse(path, f"{error}", f"{error}")
        return None

    def _refuse(self, path: Path, why: str, text: str) -> None:
        """Say why a file is not carried, once."""
        if self._refused.get(path) != why:
            log.warning("%s", text)
        self._refused[path] = why
