"""The rights of whoever has a certificate, brought to the broker while it runs: for `pki serve`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from mcshell.broker.config.options import rewrite
from mcshell.broker.config.site import holders_of, put
from mcshell.broker.config.writing import read_record
from mcshell.enrolment.programs import run_program
from mcshell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mcshell.config import Settings
    from mcshell.pki import Authority

__all__ = ["RightsInForce"]

_APPLIED: Final = ".applied"
"""Beside the configuration: the digest of the identities that the broker has taken over."""
_PATIENCE: Final = 300.0


class RightsInForce:
    """Writes a broker's configuration again when somebody is new, and has the broker take it over.

    Args:
        directory: what `broker config` has written.
        authority: who knows who has a certificate.
        settings: collectives and pools.
        reload: the command that makes the broker take it over.
    """

    def __init__(
        self, directory: Path, authority: Authority, settings: Settings, reload: Sequence[str]
    ) -> None:
        self._directory = directory
        self._authority = authority
        self._settings = settings
        self._command = list(reload)

    def bring_up_to_date(self) -> None:
        """Have the broker know everybody.

        Raises:
            ConfigError: the configuration cannot be written, or the broker has not taken it over.
        """
        wanted = self._wanted()
        if wanted - self._written():
            rewrite(self._directory, self._authority, self._settings)
        if not self._in_force():
            self._reload()
            put(self._directory / _APPLIED, self._digest())

    def in_force(self) -> set[str]:
        """Whom the broker knows now, as KIND:NAME; nobody while it has not taken over what is written."""
        return self._written() if self._in_force() else set()

    def _wanted(self) -> set[str]:
        holders = holders_of(self._authority, self._settings.pools)
        return {f"{one.kind}:{one.name}" for one in holders}

    def _written(self) -> set[str]:
        return set(read_record(self._directory).get("identities", ()))

    def _digest(self) -> str:
        return hashlib.sha256("\n".join(sorted(self._written())).encode()).hexdigest()

    def _in_force(self) -> bool:
        try:
            return (self._directory / _APPLIED).read_text(encoding="ascii") == self._digest()
        except FileNotFoundError:
            return False

    def _reload(self) -> None:
        name = self._command[0]
        try:
            code, said = run_program(self._command, errors=True, patience=_PATIENCE)
        except OSError as error:
            raise ConfigError(f"{name}: {error.strerror}") from error
        if code:
            lines = said.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else "without a word"
            raise ConfigError(f"{name} ended with {code}: {why}")
