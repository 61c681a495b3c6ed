"""The rules of a supervisor: signed files in a folder, read again when they change.

A file that is not to be believed is said so in the log, and not carried: nodes would refuse it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

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

    def move(self, path: Path) -> None:
        """Take them from this folder from now on, and read them again."""
        self._path = path
        self._stamp = None

    def refresh(self, now: float) -> bool:
        """Look whether something has changed (a file, the revocation list); whether it has."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self.rules = {}
        for path in sorted(self._path.glob(f"*{SUFFIX}")):
            kept = self._read(path, now)
            if kept is None:
                continue
            before = self.rules.get(kept.key)
            if before is None or before.rule.revision < kept.rule.revision:
                self.rules[kept.key] = kept
        log.info("%d rules in %s", len(self.rules), self._path)
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
            log.warning("%s is not carried: %s", path, refusal)
        except (UsageError, FilterError) as error:
            log.warning("%s", error)
        return None
